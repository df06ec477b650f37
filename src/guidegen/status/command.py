"""`guidegen status`."""

import json
import time
from contextlib import suppress
from pathlib import Path

import typer

WATCH_S = 2.0
WATCH_QUEUE_S = 20.0
"""On a cluster the controller is asked less often than a local disk can be read."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("status")(status)


def status(
    study: Path = typer.Option(Path("."), "--study", help="Study folder."),
    watch: bool = typer.Option(False, "--watch", help="Stay and look again every few seconds, until Ctrl-C."),
    as_json: bool = typer.Option(False, "--json", help="Print one snapshot as JSON."),
) -> None:
    """Show where a study stands: jobs by phase, what runs where since when, what failed and why, time left.

    It reads the outputs, Snakemake's log, the jobs' logs and, on a cluster, SLURM's queue (jobs of this study only).
    It changes nothing, and works from a second terminal while the study runs, and after it ended or died.

    Example: `guidegen status --study studies/demo --watch`
    """
    import shutil

    from rich.console import Console
    from rich.live import Live

    from guidegen.status.display import render_snapshot
    from guidegen.status.snapshot import take_snapshot
    from guidegen.study import Study

    opened = Study.load(study)
    if as_json:
        typer.echo(json.dumps(take_snapshot(opened).as_json(), indent=1))
        return
    if not watch:
        Console().print(render_snapshot(take_snapshot(opened)))
        return
    pause = WATCH_QUEUE_S if shutil.which("squeue") else WATCH_S
    with (
        suppress(KeyboardInterrupt),
        Live(render_snapshot(take_snapshot(opened)), screen=True, auto_refresh=False) as live,
    ):
        while True:
            time.sleep(pause)
            live.update(render_snapshot(take_snapshot(opened)), refresh=True)
