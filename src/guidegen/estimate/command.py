"""`guidegen estimate`."""

import json
from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("estimate")(estimate)


def estimate(
    study: Path = typer.Option(Path("."), "--study", help="Study folder; its index must have been built."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Say what a study will cost: download, disk, CPU hours and GPU hours by phase.

    From the frozen index, the sizes in the config, and costs per gigabyte, case and operation that were measured
    (`costs.tsv` beside this command's code says how). The index needs no download: `guidegen index` takes seconds.

    Example: `guidegen init paper && guidegen index --study paper && guidegen estimate --study paper`
    """
    from rich.console import Console

    from guidegen.estimate.display import render_estimate
    from guidegen.estimate.estimate import estimate_study
    from guidegen.study import Study

    found = estimate_study(Study.load(study))
    if as_json:
        typer.echo(json.dumps(found.as_json(), indent=1))
    else:
        Console().print(render_estimate(found))
