"""`guidegen pair`."""

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("pair")(pair)


def pair(
    collection: str = typer.Option("", "--collection", help="Collection, e.g. tcga_kirc."),
    show: str = typer.Option("", "--show", metavar="CASE", help="Print prompts, statements and sources of one case."),
    study: Path = typer.Option(Path("."), "--study", help="Study folder."),
) -> None:
    """Word what is known about each case as prompts, every statement with its source.

    Joins the clinical table, DICOM headers and measurements on the label maps; writes `data/text/<collection>.tsv`.
    With `--show` nothing is written.

    Examples: `guidegen pair --collection tcga_kirc`, `guidegen pair --show tcga_kirc__TCGA-B0-4699__1a2b3c4d`
    """
    from guidegen.errors import GuideGenError
    from guidegen.pair.table import list_inputs, pair_collection, show_case
    from guidegen.provenance import record_job
    from guidegen.study import Study

    opened = Study.load(study)
    name = collection or show.split("__")[0]
    if not name:
        raise GuideGenError("guidegen pair needs --collection, or --show with a case id")
    if name not in opened.collections:
        raise GuideGenError(f"unknown collection '{name}'; the study has {', '.join(opened.collections)}")
    if show:
        typer.echo(show_case(opened, show))
        return
    target = opened.root / "data" / "text" / f"{name}.tsv"
    with record_job(opened, "pair", {"collection": name}, list_inputs(opened, name), [target]):
        pair_collection(opened, name)
