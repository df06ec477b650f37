"""`guidegen report`."""

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def report(study: Path = typer.Option(Path("."), "--study", help="Study folder.")) -> None:
        """Write `results/report/index.html`: one file with everything the study measured; opens offline.

        What was not run yet is named as missing, so that the page can be made at any time.

        Example: `guidegen report --study my-study`
        """
        from guidegen.provenance import record_job
        from guidegen.report.page import list_inputs, output_file, write_report
        from guidegen.study import Study

        opened = Study.load(study)
        with record_job(opened, "report", {}, list_inputs(opened), [output_file(opened)]):
            path = write_report(opened)
        typer.echo(f"report: {path} ({path.stat().st_size / 1e6:.1f} MB)")
