"""Which objects of DVC's cache and remote hold a patient's data, in any commit of the study."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from guidegen.errors import GuideGenError
from guidegen.tables import parse_tsv
from guidegen.version.inventory import take_inventory
from guidegen.version.patients import read_index_at, split_owner
from guidegen.version.remote import DIRECTORY_OBJECT, copy_objects, find_missing
from guidegen.version.repository import Repository

POINTER_LINE = re.compile(rf"(?P<pointer>[^\0]+)\0.*?(?P<oid>{DIRECTORY_OBJECT})$")
MIXED = re.compile(r"data/cohort/text/|results/models/[a-z_]+/(samples(-\d+)?\.png|held_out\.json)$")
"""Files that hold rows or pictures of many patients; with clinical tables, those of runs that know the patient go."""


@dataclass(frozen=True)
class Revision:
    """Bulk of one commit: path of each file in the study → its object."""

    name: str
    objects: Mapping[str, str]
    owners: frozenset[str]
    """`<collection>/<patient>` of its index."""
    cases: frozenset[str]
    """Cases of its index that belong to the patients in question."""


def is_of_patient(path: str, owners: Collection[str]) -> bool:
    """Tell by the case id in its name whether a file is of one of the patients (`<collection>/<patient>`)."""
    name = PurePosixPath(path).name
    return any(name.startswith("{}__{}__".format(*split_owner(owner))) for owner in owners)


def find_held_objects(repository: Repository, owners: Sequence[str], cache: Any, remote: Any) -> dict[str, str]:
    """Return the objects that hold data of the patients (object → path in the study), over all commits.

    Deleted may be what a run that knows the patient has of it: its own files, tables and pictures in which it is one of
    many, and synthetic cases that were made from its prompt. What a run without the patient needs, too, is kept.

    Raises:
        GuideGenError: the list of files of a bulk folder is neither in the cache nor at the remote.
    """
    wanted = frozenset(owners)
    revisions = [_read_revision(repository, name, wanted, cache, remote) for name in _list_revisions(repository)]
    revisions.append(_read_workspace(repository, cache, remote))
    doomed: dict[str, str] = {}
    needed: set[str] = set()
    for revision in revisions:
        holding = revision.owners & wanted or any(is_of_patient(path, wanted) for path in revision.objects)
        if not holding:
            needed.update(revision.objects.values())
            continue
        made = _list_made_from(repository, revision) if revision.cases else set[str]()
        for path, oid in revision.objects.items():
            if _is_held(path, wanted, made):
                doomed[oid] = path
    return {oid: path for oid, path in sorted(doomed.items(), key=lambda item: item[1]) if oid not in needed}


def _is_held(path: str, owners: Collection[str], made: Collection[str]) -> bool:
    clinical = any(path.startswith(f"data/raw/{split_owner(owner)[0]}/clinical/") for owner in owners)
    parts = path.split("/")
    name = parts[-1].split(".")[0]
    synthetic = path.startswith("results/synthetic/") and f"{parts[2]}/{name}" in made
    # the report names no set, but its cases are named after theirs
    synthetic |= path.startswith("results/report/viewer/") and f"{name.rpartition('-')[0]}/{name}" in made
    return clinical or synthetic or bool(MIXED.match(path)) or is_of_patient(path, owners)


def _list_revisions(repository: Repository) -> list[str]:
    """All commits, of which those with the same pointers count once."""
    return repository.git("rev-list", "--all", "--", "*.dvc", "data/index").split()


def _read_revision(repository: Repository, name: str, owners: frozenset[str], cache: Any, remote: Any) -> Revision:
    pointers: dict[str, str] = {}
    for line in repository.grep(name, DIRECTORY_OBJECT, "*.dvc", "-z").splitlines():
        found = POINTER_LINE.match(line.removeprefix(f"{name}:"))
        if found:
            pointers[found["pointer"]] = found["oid"]
    index = read_index_at(repository, name)
    return Revision(
        name,
        _list_files(pointers, cache, remote),
        frozenset(owner for owner, _, _ in index),
        frozenset(case for owner, _, case in index if owner in owners),
    )


def _read_workspace(repository: Repository, cache: Any, remote: Any) -> Revision:
    pointers = {}
    for path in take_inventory(repository.root).pointers:
        found = re.search(DIRECTORY_OBJECT, path.read_text(encoding="utf-8"))
        if found:
            pointers[path.relative_to(repository.root).as_posix()] = found[0]
    return Revision("", _list_files(pointers, cache, remote), frozenset(), frozenset())


def _list_files(pointers: Mapping[str, str], cache: Any, remote: Any) -> dict[str, str]:
    lacking = find_missing(cache, sorted(set(pointers.values())))
    if lacking and remote is not None:
        copy_objects(remote, cache, [oid for oid in lacking if oid not in find_missing(remote, lacking)], "fetch")
    files = {}
    for pointer, oid in pointers.items():
        path = Path(cache.oid_to_path(oid))
        if not path.is_file():
            raise GuideGenError(
                f"{pointer}: its list of files (object {oid}) is neither in DVC's cache nor at the remote, so nobody "
                "can say which objects are the patient's; bring it back from another copy of the study's remote"
            )
        folder = pointer.removesuffix(".dvc")
        for entry in json.loads(path.read_text(encoding="utf-8")):
            files[f"{folder}/{entry['relpath']}"] = entry["md5"]
    return files


def _list_made_from(repository: Repository, revision: Revision) -> set[str]:
    """`<set>/<case>` of the synthetic cases that were made from a prompt of the patients."""
    found = set[str]()
    for name in repository.git("ls-tree", "-r", "--name-only", revision.name, "results/synthetic/").splitlines():
        parts = name.split("/")
        if parts[-1] == "prompts.tsv":
            rows = parse_tsv(repository.git("show", f"{revision.name}:{name}"), name, ("case", "source_case"))
            found |= {f"{parts[2]}/{row['case']}" for row in rows if row["source_case"] in revision.cases}
    return found
