"""`guidegen index`."""

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("index")
    def index(
        study: Path = typer.Option(Path("."), "--study", help="Study folder."),
        explain: bool = typer.Option(False, "--explain", help="Show what each criterion leaves; writes nothing."),
        add: bool = typer.Option(False, "--add", help="Add patients that are new in the sources; old ones stay."),
        force: bool = typer.Option(False, "--force", help="Select again from scratch; shard counts are kept."),
    ) -> None:
        """List the series that the study uses, once, before the workflow.

        Writes `data/index/<collection>.tsv`, the series left out with the criterion that excluded them, and
        `index.json`. A collection that was indexed before is kept as it is.

        Example: `guidegen index --study my-study --explain`
        """
        from guidegen.index.build import build_index, read_state, state_file
        from guidegen.index.report import explain_selection, list_stale, summarise
        from guidegen.provenance import record_job
        from guidegen.study import Study

        opened = Study.load(study)
        if explain:
            typer.echo(explain_selection(opened))
            return
        tables = [opened.index_table(name) for name in opened.collections]
        inputs = [opened.root / "config" / "collections.tsv"]
        with record_job(opened, "index", {}, inputs, [*tables, state_file(opened)]):
            stale = [] if add or force else list_stale(opened, read_state(opened))
            built = build_index(opened, add=add, force=force)
        typer.echo(summarise(opened, built))
        for name in stale:
            typer.echo(f"{name}: kept, but the settings have changed since; `guidegen index --force` selects again")
