"""`guidegen retrieve`."""

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("retrieve")
    def retrieve(
        collection: str = typer.Option(..., "--collection", help="Collection id, as in config/collections.tsv."),
        shard: str = typer.Option("", "--shard", help="Shard of the collection, e.g. s000."),
        clinical: bool = typer.Option(False, "--clinical", help="Bring in the clinical table instead of a shard."),
        study: Path = typer.Option(Path("."), "--study", help="Study folder."),
    ) -> None:
        """Bring in the indexed series of one shard, or a collection's clinical table, and check every file.

        Example: `guidegen retrieve --study my-study --collection tcga_luad --shard s000`
        """
        from guidegen.errors import GuideGenError
        from guidegen.provenance import record_job
        from guidegen.retrieve.clinical import retrieve_clinical
        from guidegen.retrieve.disk import explain_disk_errors
        from guidegen.retrieve.shards import find_collection, retrieve_shard
        from guidegen.study import Study

        opened = Study.load(study)
        found = find_collection(opened, collection)
        if bool(shard) == clinical:
            raise GuideGenError("guidegen retrieve: give either --shard or --clinical")
        part = "clinical" if clinical else shard
        manifest = opened.manifest("data", "raw", collection, part)
        inputs = [opened.index_table(collection)]
        job = {"collection": collection, "shard": part}
        with explain_disk_errors(opened.root), record_job(opened, "retrieve", job, inputs, [manifest]):
            if clinical:
                retrieve_clinical(opened, found)
            else:
                retrieve_shard(opened, found, shard)
