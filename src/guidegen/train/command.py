"""`guidegen train`."""

from enum import StrEnum
from pathlib import Path

import typer


class Stage(StrEnum):
    """Stages in the order in which they can be trained; the first two do not need each other."""

    SEMANTIC_SYNTHESIZER = "semantic_synthesizer"
    CONTRAST_AUTOENCODER = "contrast_autoencoder"
    LATENTS = "latents"
    LATENT_GENERATOR = "latent_generator"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("train")(train)


def train(
    stage: Stage = typer.Argument(..., help="What to train, or `latents`: store the latents of all CTs for stage III."),
    study: Path = typer.Option(Path("."), "--study", help="Study folder."),
) -> None:
    """Train one stage on the prepared cohort, or go on where it was stopped.

    Killed at any moment and started again, it ends at the same weights. SIGTERM and SIGUSR1 make it write a checkpoint
    and exit with code 75: start it again.

    Example: `guidegen train semantic_synthesizer --study studies/demo`
    """
    from guidegen.provenance import record_job
    from guidegen.study import Study
    from guidegen.train.run import STAGES, list_inputs

    opened = Study.load(study)
    output = opened.manifest("results", "models", stage.value)
    with record_job(opened, "train", {"stage": stage.value}, list_inputs(opened, stage.value), [output]):
        STAGES[stage.value](opened)
