"""`guidegen version explain | affected | withdraw | repair`: where data comes from, where it went, setting it right."""

import json
import sys
from pathlib import Path

import typer

WIDE = 1000
"""Columns without a terminal."""
STUDY = typer.Option(Path("."), "--study", help="Study folder.")


def register(versions: typer.Typer) -> None:
    """Add the commands."""
    versions.command("explain")(explain)
    versions.command("affected")(affected)
    versions.command("withdraw")(withdraw)
    versions.command("repair")(repair)


def explain(
    file: str = typer.Argument(..., metavar="FILE", help="A file of the study, `TABLE#CASE`, or `FILE.json#a/b/c`."),
    study: Path = STUDY,
    as_json: bool = typer.Option(False, "--json", help="Print JSON: every node, its facts, its job, its origins."),
) -> None:
    """Say where a file comes from: back through models, cohort, prompts, label maps, CTs and series to licence and DOI.

    Works for every file that the study made, a single row of a table, and a single figure of an evaluation. Exit code 1
    where the file on disk is not the one that the study made.

    Examples: `guidegen version explain results/synthetic/train/s000/train-00003.ct.nii.gz`

    `guidegen version explain "results/evaluation/segmentation.json#arms/dice/real/liver/value"`

    `guidegen version explain data/ct/tcga_luad/s000/CASE.nii.gz --json | jq '.sources[].licences'`
    """
    from rich.console import Console

    from guidegen.study import Study
    from guidegen.version.explain import explain_file

    explanation = explain_file(Study.load(study), file)
    if as_json:
        typer.echo(json.dumps(explanation.as_json(), indent=1))
    else:
        # a tree is cut at the width, which is 80 where there is no terminal
        console = Console(soft_wrap=True, width=None if sys.stdout.isatty() else WIDE)
        console.print(explanation.draw_tree())
        for source in explanation.list_sources():
            licences, dois = ", ".join(source["licences"]), " ".join(f"https://doi.org/{doi}" for doi in source["dois"])
            counts = f"{len(source['patients'])} patient(s), {len(source['series'])} series"
            console.print(f"{source['name']}: {counts}, {licences} {dois}", markup=False)
    raise typer.Exit(1 if explanation.problem else 0)


def affected(
    patient: str = typer.Option(..., "--patient", help="PatientID, or `COLLECTION/PATIENT`."),
    study: Path = STUDY,
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """List everything that a patient's data touched: files, rows, models that learned from it, what these made, runs.

    Example: `guidegen version affected --patient TCGA-50-5044 --study studies/paper`
    """
    from guidegen.study import Study
    from guidegen.version.affected import find_affected

    found = find_affected(Study.load(study), patient)
    typer.echo(json.dumps(found.as_json(), indent=1) if as_json else found.describe())


def withdraw(
    patient: str = typer.Option(..., "--patient", help="PatientID, or `COLLECTION/PATIENT`."),
    reason: str = typer.Option("", "--reason", help="Kept in the tombstone, e.g. a file number; no personal data."),
    study: Path = STUDY,
    yes: bool = typer.Option(False, "--yes", help="Do it without asking."),
) -> None:
    """Take a patient whose consent was withdrawn out of the study, DVC's cache and the remote, for ever.

    Shows the plan and asks. A tombstone (`config/withdrawn.tsv` and a tag) stays in git: the index leaves the patient
    out from then on, and runs that hold the patient are not restored any more. The next `guidegen run` makes again what
    was made from the patient's data, and nothing else. May be interrupted: call it again.

    Example: `guidegen version withdraw --patient TCGA-50-5044 --reason "request 17" --study studies/paper`
    """
    from guidegen.study import Study
    from guidegen.version.withdraw import plan_withdrawal, withdraw_patient

    opened = Study.load(study)
    typer.echo(plan_withdrawal(opened, patient).describe())
    if not yes and not typer.confirm("Delete all this?"):
        raise typer.Exit(1)
    done = withdraw_patient(opened, patient, reason)
    typer.echo(f"{', '.join(done.owners)}: withdrawn. Next: `guidegen run`, then `guidegen version commit`")


def repair(
    study: Path = STUDY,
    remote: bool = typer.Option(False, "--remote", help="Heal the objects at the remote, too."),
) -> None:
    """Set aside what `verify` condemned, so that the next run makes it again; nothing is deleted.

    Files and tables move to `.guidegen/orphans/repair/`; index, splits, lineage and DVC's pointers come back from the
    last commit. Exit code 1 where something is left that needs a person.

    Example: `guidegen version repair && guidegen run && guidegen version verify`
    """
    from guidegen.study import Study
    from guidegen.version.repair import repair_study
    from guidegen.version.verify import verify_study

    opened = Study.load(study)
    done = repair_study(opened, verify_study(opened, remote=remote))
    typer.echo(done.describe())
    raise typer.Exit(1 if done.left else 0)
