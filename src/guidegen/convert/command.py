"""`guidegen convert`."""

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("convert")
    def convert(
        collection: str = typer.Option(..., "--collection", help="Collection id, as in config/collections.tsv."),
        shard: str = typer.Option(..., "--shard", help="Shard of the collection, e.g. s000."),
        study: Path = typer.Option(Path("."), "--study", help="Study folder."),
    ) -> None:
        """Convert the retrieved CT series of one shard to NIfTI in HU, and prove each volume against its headers.

        Example: `guidegen convert --study my-study --collection tcga_luad --shard s000`
        """
        from guidegen.convert.shards import convert_shard
        from guidegen.provenance import record_job
        from guidegen.retrieve.disk import explain_disk_errors
        from guidegen.retrieve.shards import find_collection
        from guidegen.study import Study

        opened = Study.load(study)
        found = find_collection(opened, collection)
        inputs = [opened.index_table(collection), opened.manifest("data", "raw", collection, shard)]
        manifest = opened.manifest("data", "ct", collection, shard)
        job = {"collection": collection, "shard": shard}
        with explain_disk_errors(opened.root), record_job(opened, "convert", job, inputs, [manifest]):
            convert_shard(opened, found, shard)
