"""`guidegen mask`."""

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("mask")(mask)


def mask(
    collection: str = typer.Option("", "--collection", help="Collection, e.g. tcga_kirc."),
    shard: str = typer.Option("", "--shard", help="Shard, e.g. s000."),
    fetch_weights: bool = typer.Option(False, "--fetch-weights", help="Bring in TotalSegmentator's weights."),
    study: Path = typer.Option(Path("."), "--study", help="Study folder."),
) -> None:
    """Turn annotations and segmenters' output into label maps on the CT's grid.

    Reads `data/raw` and `data/ct`, writes `data/mask/<collection>/<shard>/` and its manifest. With `--fetch-weights` no
    masks are made: TotalSegmentator's weights are brought in and compared with, or written to, `data/mask/weights.tsv`.

    Examples: `guidegen mask --collection tcga_kirc --shard s000`, `guidegen mask --fetch-weights`
    """
    from guidegen.codehash import code_hash
    from guidegen.errors import GuideGenError
    from guidegen.manifest import process_items
    from guidegen.mask import weights
    from guidegen.mask.shard import COLUMNS, MaskWorker, list_items
    from guidegen.provenance import record_job
    from guidegen.study import Study

    opened = Study.load(study)
    if fetch_weights:
        typer.echo(f"weights: {weights.fetch_weights(opened.root, opened.config.mask.totalsegmentator)}")
        return
    if not collection or not shard:
        raise GuideGenError("guidegen mask needs --collection and --shard, or --fetch-weights")
    inputs = [opened.manifest("data", kind, collection, shard) for kind in ("raw", "ct")]
    digest = ""
    if opened.config.mask.uses("totalsegmentator", collection):
        digest = weights.check_weights(opened.root, opened.config.mask.totalsegmentator)
        inputs.append(weights.locate_table(opened.root))
    parts = ("data", "mask", collection, shard)
    job = {"collection": collection, "shard": shard}
    with record_job(opened, "mask", job, inputs, [opened.manifest(*parts)]):
        process_items(
            opened.shard(*parts),
            list_items(opened, collection, shard, digest),
            MaskWorker(opened.config.mask, opened.labels),
            fingerprint=code_hash("mask") + opened.config.hash_sections("mask"),
            columns=COLUMNS,
            max_failed_share=opened.config.study.max_failed_share,
        )
