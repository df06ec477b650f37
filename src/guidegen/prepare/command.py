"""`guidegen prepare`."""

from collections import Counter
from pathlib import Path

import typer

from guidegen.provenance import record_job
from guidegen.study import Study


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def prepare(study: Path = typer.Option(Path("."), "--study", help="Study folder.")) -> None:
        """Join CTs, label maps and prompts into the cohort: table, splits, arrays and token states.

        Every case of the index becomes a row of data/cohort/cohort.tsv, with the reason where it is not used.
        Patients that have a split keep it for ever (data/cohort/splits.json).

        Example: `guidegen prepare --study demo`
        """
        from guidegen.prepare.join import list_inputs
        from guidegen.prepare.paraphrases import compare_wordings
        from guidegen.prepare.run import prepare_cohort

        opened = Study.load(study)
        folder = opened.root / "data" / "cohort"
        outputs = [folder / name for name in ("cohort.tsv", "splits.json", "arrays.tsv", "text.tsv")]
        with record_job(opened, "prepare", {}, list_inputs(opened), outputs):
            rows = prepare_cohort(opened)
        counts = Counter(row["split"] or row["status"] for row in rows)
        typer.echo("prepare: " + ", ".join(f"{count} {name}" for name, count in sorted(counts.items())))
        if compared := compare_wordings(opened):
            typer.echo(f"text encoder: {compared}")
