"""What every export starts from: a run that was committed, and a folder that appears whole or not at all."""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from guidegen.atomic import hash_file, replace_folder
from guidegen.errors import GuideGenError
from guidegen.export.licences import Source, read_sources
from guidegen.progress import track_progress
from guidegen.report.study_tables import StudyTables
from guidegen.study import Study
from guidegen.tables import write_tsv
from guidegen.version.history import Run, list_runs
from guidegen.version.patients import list_withdrawn_at
from guidegen.version.repository import Repository

LABEL_COLUMNS = ("id", "name", "colour")


@dataclass(frozen=True)
class Release:
    """A committed run that is exported."""

    study: Study
    run: Run
    sources: tuple[Source, ...]
    tables: StudyTables

    @property
    def title(self) -> str:
        """Name of the study and its run."""
        return f"{self.study.config.study.name} {self.run.tag}"

    @property
    def code(self) -> str:
        """Commit of the code that made the run."""
        return self.run.fields.get("Code", "unknown")


def open_release(study: Study) -> Release:
    """Return the run that lies in the study's folder.

    Raises:
        GuideGenError: the study has no committed run, is not as it was committed, or holds a patient who was withdrawn.
    """
    runs = {run.tag: run for run in list_runs(study.root)}
    repository = Repository(study.root)
    here = [tag for tag in repository.git("tag", "--points-at", "HEAD", "--list", "run/*").split() if tag in runs]
    changed = repository.git("status", "--porcelain", "--", "config", "data", "results").splitlines()
    if not here or changed:
        found = f"{len(changed)} change(s) since, the first is {changed[0][3:]}" if here else "HEAD is no run"
        raise GuideGenError(
            f"{study.root}: only a committed run is exported, so that everybody can name it ({found}); "
            "call `guidegen version commit` first, or `guidegen version restore` another run"
        )
    withdrawn = list_withdrawn_at(repository, here[-1])
    if withdrawn:
        named = ", ".join(f"{row['collection']}/{row['patient']}" for row in withdrawn)
        raise GuideGenError(f"{study.root}: {here[-1]} holds {named}, whose consent was withdrawn; it is not exported")
    return Release(study, runs[here[-1]], tuple(read_sources(study)), StudyTables(study))


@contextmanager
def write_folder(out: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `out`. Raises GuideGenError where `out` holds something already."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise GuideGenError(f"{out}: exists and is not empty; an export goes to a new folder")
    with replace_folder(out.resolve()) as folder:
        yield folder


@dataclass(frozen=True)
class Copy:
    """One file to copy: from where, to where (relative to the release), and the hash that its manifest states."""

    source: Path
    target: str
    sha256: str


def copy_files(copies: Iterable[Copy], folder: Path, title: str) -> None:
    """Copy bulk files into a release. Raises GuideGenError where a file is not what its manifest says."""
    listed = list(copies)
    with track_progress(title, len(listed), "files") as advance:
        for copy in listed:
            target = folder / copy.target
            target.parent.mkdir(parents=True, exist_ok=True)
            if not copy.source.is_file():
                raise GuideGenError(f"{copy.source}: not there; bring it back with `guidegen version restore`")
            shutil.copyfile(copy.source, target)
            if (found := hash_file(target)) != copy.sha256:
                raise GuideGenError(
                    f"{copy.source}: sha256 is {found}, its manifest says {copy.sha256}; see `guidegen version verify`"
                )
            advance(1, copy.target)


def write_labels(release: Release, folder: Path) -> None:
    """Write labels.tsv: the id, name and colour of each class."""
    rows = [{"id": entry.id, "name": entry.name, "colour": entry.colour} for entry in release.study.labels.classes]
    write_tsv(folder / "labels.tsv", LABEL_COLUMNS, rows)


def list_citations(sources: Iterable[Source]) -> list[str]:
    """Return the addresses of all DOIs of the sources, each once."""
    return sorted({f"https://doi.org/{doi}" for source in sources for doi in source.dois})


def count_by_split(rows: Iterable[Mapping[str, str]]) -> dict[str, int]:
    """Count the cohort's usable cases by split, in the order train, val, test."""
    splits = [row["split"] for row in rows if row["status"] == "ok"]
    return {name: splits.count(name) for name in ("train", "val", "test")}
