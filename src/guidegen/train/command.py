"""`guidegen train`."""

from pathlib import Path

import typer

from guidegen.errors import GuideGenError
from guidegen.stages import STAGES, Stage
from guidegen.study import Study


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("train")(train)


def train(
    stage: Stage | None = typer.Argument(
        None,
        help="What to train; `latents` stores the latents of all CTs for stage III.",
    ),
    preflight: bool = typer.Option(
        False,
        "--preflight",
        help="Train nothing: read every case once, list what is wrong, say what training will need.",
    ),
    study: Path = typer.Option(Path("."), "--study", help="Study folder."),
) -> None:
    """Train one stage on the prepared cohort, or go on where it was stopped.

    Killed at any moment and started again, it ends at the same weights. SIGTERM and SIGUSR1 make it write a checkpoint
    and exit with code 75: start it again.

    Example: `guidegen train semantic_synthesizer --study studies/demo`
    Before any GPU hour: `guidegen train --preflight --study studies/demo`
    """
    if preflight:
        from guidegen.train.run import run_preflight

        for line in run_preflight(Study.load(study), [stage] if stage else list(STAGES)):
            typer.echo(line)
        return
    if stage is None:
        raise GuideGenError(f"train: name a stage ({', '.join(STAGES)}) or give --preflight")
    from guidegen.provenance import record_job
    from guidegen.train.devices import is_leader
    from guidegen.train.run import TRAINERS, list_inputs
    from guidegen.train.signals import RequeueRequested

    opened = Study.load(study)
    output = opened.manifest("results", "models", stage)
    if is_leader():
        with record_job(opened, "train", {"stage": stage}, list_inputs(opened, stage), [output]):
            TRAINERS[stage](opened)
        return
    try:
        TRAINERS[stage](opened)
    except RequeueRequested:
        # the first process says so; a second exit code would end it in the middle of that
        raise typer.Exit from None
