"""`guidegen evaluate`."""

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def evaluate(study: Path = typer.Option(Path("."), "--study", help="Study folder.")) -> None:
        """Measure what was made, with 95 % intervals: training, segmentation, prompt adherence, HU.

        Writes `results/evaluation/{training,segmentation,adherence,intensity}.json`.

        Example: `guidegen evaluate --study my-study`
        """
        from guidegen.evaluate.run import evaluate_study, list_inputs, list_outputs
        from guidegen.provenance import record_job
        from guidegen.study import Study

        opened = Study.load(study)
        with record_job(opened, "evaluate", {}, list_inputs(opened), list_outputs(opened)):
            evaluate_study(opened)
