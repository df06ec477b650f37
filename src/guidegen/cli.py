"""The `guidegen` command: one subcommand per phase, and what starts and keeps a study."""

import importlib
import logging
import sys
from pathlib import Path

import typer

from guidegen import __version__
from guidegen.errors import GuideGenError

app = typer.Typer(
    help="GuideGen: full-torso label maps and CT volumes from free-text prompts, as a study that anyone can rerun.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
)
COMMANDS = (
    "guidegen.study_commands",
    "guidegen.phantom.command",
    "guidegen.index.command",
    "guidegen.retrieve.command",
    "guidegen.convert.command",
    "guidegen.mask.command",
    "guidegen.pair.command",
    "guidegen.prepare.command",
    "guidegen.train.command",
    "guidegen.synthesize.command",
    "guidegen.segment.command",
    "guidegen.evaluate.command",
    "guidegen.report.command",
    "guidegen.version.command",
    "guidegen.status.command",
    "guidegen.doctor.command",
    "guidegen.estimate.command",
    "guidegen.explore.command",
)
"""Modules with a function `register(app)`; they import nothing heavy at the top."""


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"guidegen {__version__} ({Path(__file__).parent})")
        raise typer.Exit


@app.callback()
def _set_up(
    verbose: bool = typer.Option(False, "--verbose", help="Log what is kept, skipped and repaired."),
    version: bool = typer.Option(False, "--version", help="Show the version.", callback=_print_version, is_eager=True),
) -> None:
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(levelname)s %(message)s", stream=sys.stderr
    )


for module in COMMANDS:
    importlib.import_module(module).register(app)


def main() -> None:
    """Run the command line; user errors are one clear message and an exit code, never a traceback."""
    try:
        app()
    except GuideGenError as error:
        typer.secho(f"guidegen: {error}", fg=typer.colors.RED, err=True)
        sys.exit(error.exit_code)
