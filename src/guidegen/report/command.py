"""`guidegen report`."""

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def report(study: Path = typer.Option(Path("."), "--study", help="Study folder.")) -> None:
        """Write `results/report/`: a page with everything the study measured and a viewer of volumes; opens offline.

        What was not run yet is named as missing, so that the page can be made at any time. NiiVue, the viewer, is
        fetched once from the npm registry; without a network the page is written without it.

        Example: `guidegen report --study my-study`
        """
        from guidegen.provenance import record_job
        from guidegen.report.page import list_inputs, list_outputs, write_report
        from guidegen.study import Study

        opened = Study.load(study)
        with record_job(opened, "report", {}, list_inputs(opened), list_outputs(opened)):
            path = write_report(opened)
        total = sum(file.stat().st_size for file in path.parent.rglob("*") if file.is_file())
        typer.echo(f"report: {path} (folder: {total / 1e6:.1f} MB)")
