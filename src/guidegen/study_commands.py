"""`guidegen init` and `guidegen run`: make a study folder, run it."""

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("init")(init)
    app.command("run", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(run)


def init(
    folder: Path = typer.Argument(..., metavar="DIR", help="Folder to make; must not exist or be empty."),
    preset: str = typer.Option("paper", "--preset", help="`demo` (minutes), `demo-long` (an hour), `smoke`, `paper`."),
) -> None:
    """Make a study folder: documented config, git and DVC repository.

    Example: `guidegen init studies/demo --preset demo`, then `guidegen run --study studies/demo`.
    """
    from guidegen.init import make_study

    make_study(folder, preset)
    typer.echo(f"Study in {folder}. Edit {folder / 'config' / 'config.yaml'}, then: guidegen run --study {folder}")


def run(
    context: typer.Context,
    study: Path = typer.Option(Path("."), "--study", help="Study folder."),
    cores: int = typer.Option(0, "--cores", help="CPU cores for local jobs; 0 takes all."),
) -> None:
    """Run the whole study: embedded archive and index if they are not there yet, then the Snakemake workflow.

    What is done is kept: run it again after an interruption or a change and only what is needed runs. Everything
    after `--` goes to Snakemake.

    Examples: `guidegen run --study studies/demo`; a dry run: `guidegen run -- -n`; only the data:
    `guidegen run -- data`; on a cluster: `guidegen run -- --workflow-profile workflow/profiles/slurm`.
    """
    from guidegen.run import run_study

    raise typer.Exit(run_study(study, cores, context.args))
