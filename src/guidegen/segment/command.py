"""`guidegen segment`."""

from pathlib import Path

import typer

from guidegen.provenance import record_job
from guidegen.study import Study


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def segment(
        arm: str = typer.Option(
            ..., "--arm", help="Arm of the config (`segment.arms`), or a run of it: real, synthetic-n50, both-s1."
        ),
        study: Path = typer.Option(Path("."), "--study", help="Study folder."),
    ) -> None:
        """Train a segmenter on real cases, synthetic cases or both, and segment the real test patients with it.

        Example: `guidegen segment --arm synthetic --study demo`
        """
        from guidegen.segment.run import segment_arm

        opened = Study.load(study)
        cohort = opened.root / "data" / "cohort"
        inputs = [cohort / "cohort.tsv", cohort / "arrays.tsv"]
        run = opened.config.segment.list_runs().get(arm)
        settings = opened.config.segment.arms[run.arm] if run else None
        if settings and settings.synthetic:
            folder = opened.root / "results" / "synthetic" / settings.synthetic
            inputs += sorted(folder.glob("*.tsv"))
        outputs = [opened.manifest("results", "segmentation", arm)]
        with record_job(opened, "segment", {"arm": arm}, inputs, outputs):
            rows = segment_arm(opened, arm)
        predicted = sum(row["role"] == "prediction" for row in rows)
        reasons = sorted({row["reason"] for row in rows if row["status"] != "ok"})
        typer.echo("; ".join([f"segment: arm {arm}: {predicted} test cases segmented", *reasons]))
