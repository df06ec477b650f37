"""`guidegen doctor`."""

import json
from pathlib import Path

import typer

PROFILE = Path("workflow/profiles/slurm")
MARKS = {
    "ok": ("ok     ", typer.colors.GREEN),
    "warning": ("warning", typer.colors.YELLOW),
    "problem": ("PROBLEM", typer.colors.RED),
}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor(
    study: Path = typer.Option(Path("."), "--study", help="Study folder; without one only the machine is checked."),
    slurm: bool = typer.Option(False, "--slurm", help="Check the cluster as well, and send it two trivial jobs."),
    profile: Path = typer.Option(PROFILE, "--profile", help="Folder of the Snakemake profile, with --slurm."),
    as_json: bool = typer.Option(False, "--json", help="Print the checks as JSON."),
) -> None:
    """Check what a study needs: programs, packages, GPUs, disk, weights, encoder, remote, scheduler.

    Each line is ok, a warning or a problem; below the latter two stands what to do. Exit code 1 if there is a problem.
    Nothing is changed, and nothing is written but the two jobs' folder, which is removed when they succeeded.

    Examples: `guidegen doctor --study paper`; on a login node: `guidegen doctor --study paper --slurm`
    """
    from dataclasses import asdict

    from guidegen.doctor.run import check_all, check_slurm

    checks = check_all(study) + (check_slurm(study, profile) if slurm else [])
    if as_json:
        typer.echo(json.dumps([asdict(check) for check in checks], indent=1))
    else:
        for check in checks:
            mark, colour = MARKS[check.level]
            typer.secho(mark, fg=colour, nl=False)
            typer.echo(f"  {check.name}: {check.found}")
            if check.advice:
                typer.echo(f"         -> {check.advice}")
    raise typer.Exit(1 if any(check.level == "problem" for check in checks) else 0)
