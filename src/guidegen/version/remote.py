"""Copies bulk objects between DVC's cache and the remote, and checks that they arrived.

`dvc push` and `dvc status --cloud` believe an index of what was once pushed and so overlook an object that was lost;
here the remote itself is asked. The objects lie where DVC puts and finds them: `dvc pull` works as ever.
"""

import json
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from guidegen.errors import GuideGenError
from guidegen.progress import track_progress
from guidegen.study import Study
from guidegen.version.inventory import take_inventory
from guidegen.version.patients import list_withdrawn_at
from guidegen.version.repository import DISK_FULL, REMOTE_NAME, Repository, hold_repository, set_remote

BATCH = 64
REQUESTS = 16
"""Requests to the remote at a time."""
DIRECTORY = ".dir"
DIRECTORY_OBJECT = r"[0-9a-f]{32}\.dir"


def push_bulk(repository: Repository, revisions: Sequence[str] = ()) -> int:
    """Copy to the remote what it lacks; return how many objects were copied.

    Args:
        repository: the study's repository.
        revisions: git revisions whose bulk is meant; none means the pointers on disk.

    Raises:
        GuideGenError: the remote cannot be reached, an object is not in the cache either, or did not arrive.
    """
    with open_stores(repository.root) as (cache, remote):
        folders = _list_folders(repository, revisions)
        not_here = find_missing(cache, folders)
        # A directory object at the remote means that all of it is there: a clone need not hold every run itself.
        complete = set(not_here) - set(find_missing(remote, not_here))
        names = _list_objects(cache, [oid for oid in folders if oid not in complete])
        lacking = find_missing(remote, names)
        lacking += _find_cut_short(cache, remote, set(names) - set(lacking))
        lost = find_missing(cache, lacking)
        if lost:
            raise GuideGenError(f"{repository.root}: not in DVC's cache, nor at the remote: {_tell(lost, names)}")
        # Contents go first, so that a directory object at the remote means that all of it is there.
        lacking.sort(key=lambda oid: oid.endswith(DIRECTORY))
        copy_objects(cache, remote, lacking, "push")
        absent = find_missing(remote, names)
        if absent:
            raise GuideGenError(f"{repository.root}: not at the remote after the push: {_tell(absent, names)}")
        return len(lacking)


def fetch_bulk(repository: Repository) -> int:
    """Copy from the remote what the cache lacks of the pointers on disk; return how many objects were copied.

    Raises:
        GuideGenError: the remote cannot be reached, or an object there is missing or not what its name says.
    """
    with open_stores(repository.root) as (cache, remote):
        folders = _list_folders(repository, ())
        copied = 0
        for names in ({oid: oid for oid in folders}, None):
            wanted = _list_objects(cache, folders) if names is None else names
            lacking = find_missing(cache, wanted)
            there = set(lacking) - set(find_missing(remote, lacking))
            copy_objects(remote, cache, sorted(there), "fetch", verify=True)
            copied += len(there)
            absent = find_missing(cache, lacking)
            if absent:
                raise GuideGenError(f"{repository.root}: missing or corrupted at the remote: {_tell(absent, wanted)}")
        return copied


def require_cached(repository: Repository) -> None:
    """Raise GuideGenError where the cache lacks bulk of the pointers on disk and no remote could bring it."""
    from dvc.repo import Repo

    with Repo(str(repository.root)) as repo:
        cache = repo.cache.local
        folders = _list_folders(repository, ())
        absent = find_missing(cache, folders) or find_missing(cache, _list_objects(cache, folders))
    if absent:
        raise GuideGenError(
            f"{repository.root}: {len(absent)} bulk object(s) of this run are not in the cache of this folder, and the "
            "run names no remote. Where it was made, set version.remote in config/config.yaml and commit again."
        )


def push_runs(study: Study) -> str:
    """Push the bulk of all committed runs, but not of those that hold a withdrawn patient; return what was done.

    Raises:
        GuideGenError: no remote is configured, or an object cannot be pushed.
    """
    with hold_repository(study.root) as repository:
        if not set_remote(repository, study.config.version):
            path = study.root / "config" / "config.yaml"
            raise GuideGenError(f"{path}: version.remote is empty; name a folder, s3://… or ssh://…")
        tags = [tag for tag in repository.list_tags() if not list_withdrawn_at(repository, tag)]
        copied = push_bulk(repository, tags) if tags else 0
        return f"{len(tags)} run(s) are at {study.config.version.remote}, {copied} object(s) were missing there"


@contextmanager
def open_stores(root: Path, *, remote: bool = True) -> Iterator[tuple[Any, Any]]:
    """Yield DVC's local cache and the remote that `set_remote` named (None where not wanted); translate what fails."""
    import asyncssh
    from botocore.exceptions import BotoCoreError, ClientError
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(root)) as repo:
            yield repo.cache.local, repo.cloud.get_remote_odb(REMOTE_NAME) if remote else None
    except (OSError, BotoCoreError, ClientError, DvcException, asyncssh.Error) as error:
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            raise
        raise GuideGenError(
            f"{root}: the remote does not answer as it should: {type(error).__name__}: {error}"
        ) from None


def _list_folders(repository: Repository, revisions: Sequence[str]) -> list[str]:
    """Names of the directory objects that pointers name, on disk or in git revisions."""
    if not revisions:
        texts = [pointer.read_text(encoding="utf-8") for pointer in take_inventory(repository.root).pointers]
    else:
        texts = [repository.grep(revision, DIRECTORY_OBJECT, "*.dvc", "-h") for revision in revisions]
    return sorted({oid for text in texts for oid in re.findall(DIRECTORY_OBJECT, text)})


def list_pointed(repository: Repository, cache: Any) -> dict[str, str]:
    """Map every object of the pointers on disk to a name that people know."""
    return _list_objects(cache, _list_folders(repository, ()))


def _list_objects(cache: Any, folders: Sequence[str]) -> dict[str, str]:
    """Map every object of the given directory objects, themselves included, to a name that people know."""
    names = {oid: oid for oid in folders}
    for oid in folders:
        path = Path(cache.oid_to_path(oid))
        if not path.is_file():
            raise GuideGenError(f"{path}: DVC's cache lacks this directory object; bring it back with `dvc fetch`")
        for entry in json.loads(path.read_text(encoding="utf-8")):
            names[entry["md5"]] = entry["relpath"]
    return names


def find_missing(store: Any, oids: Sequence[str] | dict[str, str]) -> list[str]:
    """Return those of the objects that a store does not have."""
    present = set(store.oids_exist(list(oids))) if oids else set()
    return [oid for oid in oids if oid not in present]


def _find_cut_short(cache: Any, remote: Any, oids: set[str]) -> list[str]:
    """Return the objects that are shorter or longer at the remote than in the cache.

    DVC uploads over SSH straight to the final name, so that a killed push leaves half an object under it; a folder and
    S3 have an object whole or not at all.
    """
    if "ssh" not in remote.fs.protocol:
        return []
    held = sorted(oids - set(find_missing(cache, sorted(oids))))
    with ThreadPoolExecutor(REQUESTS) as pool:
        sizes = pool.map(lambda oid: remote.fs.size(remote.oid_to_path(oid)), held)
        return [oid for oid, size in zip(held, sizes, strict=True) if size != cache.fs.size(cache.oid_to_path(oid))]


def copy_objects(source: Any, target: Any, oids: Sequence[str], title: str, *, verify: bool = False) -> None:
    """Copy objects from one store to another; with `verify` each is hashed on arrival."""
    if not oids:
        return
    with track_progress(title, len(oids), "objects") as advance:
        for start in range(0, len(oids), BATCH):
            part = list(oids[start : start + BATCH])
            paths = [source.oid_to_path(oid) for oid in part]
            target.add(paths, source.fs, part, hardlink=False, check_exists=False, verify=verify)
            advance(len(part))


def _tell(oids: Sequence[str], names: dict[str, str]) -> str:
    shown = ", ".join(f"{names[oid]} (md5 {oid})" for oid in oids[:5])
    return f"{len(oids)} object(s): {shown}" + (", …" if len(oids) > 5 else "")
