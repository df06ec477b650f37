"""Compares the study with its last commit: what may only grow, what is frozen, and what follows from something else."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from guidegen.atomic import hash_file
from guidegen.index.withdrawn import read_withdrawn
from guidegen.manifest import list_files
from guidegen.version.findings import Finding
from guidegen.version.inventory import PROVENANCE, BulkFolder, Inventory
from guidegen.version.lineage import LINEAGE
from guidegen.version.remote import DIRECTORY_OBJECT
from guidegen.version.repository import Repository, is_repository

SPLITS = "data/cohort/splits.json"
CONFIG = "config/config.yaml"


def check_committed(root: Path, inventory: Inventory, *, pointers: bool = True) -> Iterator[Finding]:
    """Yield where lineage, splits, DVC's pointers or the config were changed behind the back of the last commit.

    Args:
        root: the study; nothing is yielded where it was never committed.
        inventory: what lies in it.
        pointers: check DVC's pointers, which `commit` writes anew.
    """
    repository = Repository(root)
    if not is_repository(root) or not repository.succeeds("rev-parse", "-q", "--verify", "HEAD"):
        return
    yield from _check_lineage(repository)
    yield from _check_splits(repository)
    yield from _check_config(repository)
    if pointers:
        yield from _check_pointers(repository, inventory)


def _show(repository: Repository, name: str) -> str:
    """Return a file of the last commit, "" where it has none."""
    return repository.git("show", f"HEAD:{name}", check=False)


def _check_lineage(repository: Repository) -> Iterator[Finding]:
    """Rows are added only; one that a later record of the same job replaces may change."""
    name = LINEAGE.as_posix()
    path = repository.root / name
    present = set(path.read_text(encoding="utf-8", errors="replace").splitlines()) if path.is_file() else set[str]()
    for number, line in enumerate(_show(repository, name).splitlines(), 1):
        committed = json.loads(line)
        record = _read_record(repository.root / PROVENANCE / committed["run"] / committed["file"])
        later = record is not None and record["start"] > committed["start"]
        job = f"{committed['run']}/{committed['file']}"
        if line not in present and not later:
            yield Finding("lineage", name, f"row {number} of the last commit ({job}) was changed")
        elif record and not later and record != {key: committed.get(key) for key in record}:
            place = f"{PROVENANCE.as_posix()}/{job}"
            yield Finding("lineage", place, f"not what row {number} of the last commit says of this job")


def _read_record(path: Path) -> dict[str, Any] | None:
    """Return a job's record, None where there is none or a damaged one, which is named elsewhere."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return record if isinstance(record["start"], str) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _check_splits(repository: Repository) -> Iterator[Finding]:
    withdrawn = {row["patient"] for row in read_withdrawn(repository.root)}
    before, now = _read_splits(_show(repository, SPLITS)), dict[str, str]()
    path = repository.root / SPLITS
    if path.is_file():
        now = _read_splits(path.read_text(encoding="utf-8", errors="replace"))
    for patient, split in sorted(before.items()):
        found = now.get(patient, "none")
        if found != split and patient not in withdrawn:
            yield Finding("split", SPLITS, f"patient {patient} was in {split} in the last commit, is in {found} now")


def _read_splits(text: str) -> dict[str, str]:
    try:
        return {patient: entry["split"] for patient, entry in json.loads(text)["patients"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}  # a damaged file is named where cohort and state are compared


def _check_config(repository: Repository) -> Iterator[Finding]:
    tags = repository.git("tag", "--points-at", "HEAD", "--list", "run/*").split()
    path = repository.root / CONFIG
    for tag in tags:
        stated = re.search(
            r"^Config: ([0-9a-f]{64})$", repository.git("tag", "--list", "--format=%(contents)", tag), re.M
        )
        if stated and hash_file(path) != stated[1]:
            yield Finding("config", CONFIG, f"not the config that {tag} was made with", warning=True)


def _check_pointers(repository: Repository, inventory: Inventory) -> Iterator[Finding]:
    """A pointer follows from its manifest: while that is as committed, the pointer is, and names the same files."""
    tracked = set(repository.git("ls-tree", "-r", "-z", "--name-only", "HEAD", "--", "data", "results").split("\0"))
    listing = repository.git("--no-optional-locks", "diff", "--name-only", "-z", "HEAD", "--", "data", "results")
    changed = set(listing.split("\0"))
    for entry in inventory.bulk:
        pointer = entry.pointer.relative_to(repository.root).as_posix()
        manifest = entry.manifest.relative_to(repository.root).as_posix()
        if pointer not in tracked or manifest not in tracked or manifest in changed:
            continue
        if pointer in changed:
            yield Finding("pointer", pointer, f"not the committed one, though {manifest} is")
        else:
            yield from _compare_pointer(repository, entry, pointer)


def _compare_pointer(repository: Repository, entry: BulkFolder, pointer: str) -> Iterator[Finding]:
    found = re.search(DIRECTORY_OBJECT, entry.pointer.read_text(encoding="utf-8", errors="replace"))
    if not found:
        yield Finding("pointer", pointer, "names no list of files")
        return
    listing = repository.root / ".dvc" / "cache" / "files" / "md5" / found[0][:2] / found[0][2:]
    if not listing.is_file():
        text = f"DVC's cache lacks its list of files ({found[0]}); `dvc fetch` brings it if the remote has it"
        yield Finding("pointer", pointer, text, warning=True)
        return
    folder = entry.folder.relative_to(repository.root).as_posix()
    stored = {f"{folder}/{row['relpath']}" for row in _read_listing(listing)}
    stated = {name for row in entry.read_rows() for _, name, _, _ in list_files(row)}
    for name in sorted(stored ^ stated):
        where = "is in DVC's list of files, not in the manifest" if name in stored else "is not in DVC's list of files"
        yield Finding("pointer", pointer, f"{name} {where}")


def _read_listing(path: Path) -> list[dict[str, Any]]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return []
