"""`guidegen phantom`."""

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("phantom")(phantom)


def phantom(
    out: Path = typer.Option(..., "--out", help="Folder of the archive; new, empty or an unfinished archive."),
    patients: int = typer.Option(8, "--patients", min=1, help="Patients per collection."),
    seed: int = typer.Option(1, "--seed", help="Seed of the phantoms; equal seeds give equal bytes."),
    collections: str = typer.Option("", "--collections", help="Collection ids, joined by commas; default: the twelve."),
    processes: int = typer.Option(1, "--processes", min=1, help="Patients written at the same time."),
    size: str = typer.Option("demo", "--size", help="`demo` (104 pixels, 5 mm slices) or `small` (72 pixels, 8 mm)."),
) -> None:
    """Make the embedded archive: parametric torso phantoms as DICOM CT, DICOM SEG and clinical tables.

    Interrupted, it goes on where it stopped. What the phantoms were made from stands in truth.tsv; no phase reads it.

    Example: `guidegen phantom --out archive --patients 8 --seed 1`.
    """
    from guidegen.errors import GuideGenError
    from guidegen.phantom.archive import ArchivePlan, build_archive
    from guidegen.phantom.patient import list_collections, list_default_collections
    from guidegen.phantom.study_writer import SIZES

    known = list_collections()
    wanted = [name.strip() for name in collections.split(",") if name.strip()] or list_default_collections()
    for name in wanted:
        if name not in known:
            raise GuideGenError(f"--collections: unknown collection '{name}'; known are {', '.join(known)}")
    if size not in SIZES:
        raise GuideGenError(f"--size: '{size}' is not one of {', '.join(SIZES)}")
    plan = ArchivePlan(tuple(sorted(set(wanted))), patients, seed, size)
    fresh = build_archive(out, plan, processes)
    note = "" if fresh else ", already complete"
    typer.echo(f"{out}: {len(plan.collections)} collections x {patients} patients{note}")
