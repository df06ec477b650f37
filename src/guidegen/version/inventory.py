"""What lies in a study: manifests with their bulk folders, tables, pointers; and hashing it all."""

import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from guidegen.atomic import hash_file
from guidegen.errors import GuideGenError
from guidegen.manifest import BASE_COLUMNS
from guidegen.tables import read_tsv

ROOTS = ("data", "results")
PROVENANCE = Path("results", "provenance")
RUN_FACTS = Path("results", "report", "run.js")
"""Times and machines, as the page shows them; like the job records no part of what a run consists of."""


@dataclass(frozen=True)
class BulkFolder:
    """A bulk folder and the manifest beside it."""

    manifest: Path
    folder: Path

    @property
    def pointer(self) -> Path:
        """The small file in git that names the version of the folder in DVC."""
        return Path(f"{self.folder}.dvc")

    def read_rows(self) -> list[dict[str, str]]:
        """Rows of the manifest. Raises GuideGenError where it is no valid table."""
        return read_tsv(self.manifest, BASE_COLUMNS)

    def list_present(self) -> list[Path]:
        """Every file and link in the folder."""
        return [path for path in sorted(self.folder.rglob("*")) if path.is_symlink() or not path.is_dir()]


@dataclass
class Inventory:
    """Everything below `data/` and `results/`, except the job records and what the page shows of them."""

    bulk: list[BulkFolder] = field(default_factory=list)
    tables: list[Path] = field(default_factory=list)
    pointers: list[Path] = field(default_factory=list)

    @property
    def manifests(self) -> list[Path]:
        """Every manifest, in order."""
        return [entry.manifest for entry in self.bulk]

    @property
    def stray_pointers(self) -> list[Path]:
        """DVC pointers whose manifest is gone."""
        return sorted(set(self.pointers) - {entry.pointer for entry in self.bulk})


def take_inventory(root: Path) -> Inventory:
    """List manifests, bulk folders, tables and DVC pointers of a study; bulk folders are not walked."""
    found = Inventory()
    for top in ROOTS:
        for folder, folders, names in os.walk(root / top):
            here = Path(folder)
            if here.relative_to(root) == PROVENANCE:
                folders.clear()
                continue
            for name in sorted(names):
                path = here / name
                if name.endswith(".dvc"):
                    found.pointers.append(path)
                elif is_manifest(path):
                    found.bulk.append(BulkFolder(path, path.with_suffix("")))
                elif name != ".gitignore" and not name.startswith(".tmp-") and path != root / RUN_FACTS:
                    found.tables.append(path)
            owned = {entry.folder.name for entry in found.bulk if entry.folder.parent == here}
            owned |= {path.stem for path in found.pointers if path.parent == here}
            folders[:] = sorted(set(folders) - owned)
    found.bulk.sort(key=lambda entry: entry.manifest)
    found.tables.sort()
    return found


def is_manifest(path: Path) -> bool:
    """Tell by the header whether a table is a manifest; a damaged one beside its DVC pointer or folder counts, too."""
    if path.suffix != ".tsv":
        return False
    with path.open("rb") as stream:
        header = stream.readline().decode("utf-8", "replace").rstrip("\r\n").split("\t")
    return tuple(header[: len(BASE_COLUMNS)]) == BASE_COLUMNS or path.with_suffix("").is_dir()


def hash_files(paths: Iterable[Path], workers: int) -> Iterator[tuple[Path, str | OSError]]:
    """Yield each path with its sha256, or with the error that reading it gave, in the order given.

    Threads are enough: hashing and reading release the interpreter lock.
    """
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(_try_hash, paths)


def _try_hash(path: Path) -> tuple[Path, str | OSError]:
    try:
        return path, hash_file(path)
    except OSError as error:
        return path, error


def parse_size(row: Mapping[str, str], column: str, manifest: Path) -> int:
    """Return the number of bytes that a row states. Raises GuideGenError where it is no number."""
    if not row[column].isdecimal():
        raise GuideGenError(f"{manifest}: case {row['case']}: {column} is '{row[column]}', expected a number of bytes")
    return int(row[column])
