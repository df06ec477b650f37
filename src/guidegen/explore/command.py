"""`guidegen explore`."""

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def explore(
        study: Path = typer.Option(Path("."), "--study", help="Study folder with trained models."),
        port: int = typer.Option(0, "--port", min=0, max=65535, help="Port of 127.0.0.1; 0 takes a free one."),
    ) -> None:
        """Open a local page: type a prompt, see the label map and the CT that the study's models draw from it.

        The page is for this machine and this user only: it answers at 127.0.0.1, under an address that nobody can
        guess. From another machine: `ssh -L PORT:127.0.0.1:PORT HOST`, with `--port PORT`.

        Example: `guidegen explore --study my-study`
        """
        from guidegen.explore.server import serve_explorer
        from guidegen.study import Study

        serve_explorer(Study.load(study), port, typer.echo)
