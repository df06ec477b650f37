"""Exports a committed run in one form."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from guidegen.errors import GuideGenError
from guidegen.export.benchmark import export_benchmark
from guidegen.export.cards import export_cards
from guidegen.export.croissant import export_croissant
from guidegen.export.release import Release, open_release
from guidegen.export.ro_crate import export_ro_crate
from guidegen.study import Study

FORMS: dict[str, tuple[Callable[[Release, Path], int], str]] = {
    "ro-crate": (export_ro_crate, "files and the lineage of all jobs"),
    "croissant": (export_croissant, "synthetic cases with croissant.json"),
    "benchmark": (export_benchmark, "cases; README.md shows how to read them"),
    "cards": (export_cards, "cards"),
}
PACKAGES = {"ro-crate": "rocrate", "croissant": "mlcroissant"}


def export_run(root: Path, forms: Sequence[str], out: Path) -> str:
    """Write the committed run in `root` in one form; return what was written.

    Raises:
        GuideGenError: not exactly one form, the package it needs is not installed, the run is in no commit, or what the
            form itself raises.
    """
    if len(forms) != 1:
        listed = ", ".join(f"--{form}" for form in FORMS)
        raise GuideGenError(f"choose exactly one of {listed}; found {', '.join(forms) or 'none'}")
    form = forms[0]
    package = PACKAGES.get(form)
    if package and not find_spec(package):
        raise GuideGenError(f"--{form} needs the package {package}: pip install 'guidegen[export]'")
    release = open_release(Study.load(root))
    export, told = FORMS[form]
    return f"{release.run.tag}: {export(release, out)} {told}, in {out}"
