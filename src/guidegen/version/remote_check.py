"""Reads every object of a run at the remote and compares it with its name, which is its hash."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from guidegen.errors import GuideGenError
from guidegen.progress import track_progress
from guidegen.study import Study
from guidegen.version.findings import Finding
from guidegen.version.remote import DIRECTORY, list_pointed, open_stores
from guidegen.version.repository import Repository, set_remote

BLOCK = 1 << 20


def check_remote(study: Study, workers: int) -> Iterator[Finding]:
    """Yield each object of the pointers on disk that the remote lacks or that is not what its name says.

    Raises:
        GuideGenError: no remote is configured, or it does not answer.
    """
    repository = Repository(study.root)
    where = study.config.version.remote
    if not set_remote(repository, study.config.version):
        raise GuideGenError(f"{study.root}: --remote: version.remote is empty in config/config.yaml")
    with open_stores(study.root) as (cache, remote):
        names = list_pointed(repository, cache)
        with ThreadPoolExecutor(workers) as pool, track_progress("verify remote", len(names), "objects") as advance:
            for oid, found in pool.map(lambda oid: (oid, hash_object(remote, oid)), names):
                advance(1, names[oid])
                if not found:
                    yield Finding("remote", names[oid], f"not at {where} (object {oid})", case=oid)
                elif found != oid.removesuffix(DIRECTORY):
                    told = f"corrupted at {where}: object {oid} has md5 {found}"
                    yield Finding("remote", names[oid], told, case=oid)


def hash_object(store: Any, oid: str) -> str:
    """Return the md5 of an object as a store has it, "" where it has none.

    The object is read as it is: DVC's own question whether a folder has an object deletes a damaged one.
    """
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with store.fs.open(store.oid_to_path(oid), "rb") as stream:
            while block := stream.read(BLOCK):
                digest.update(block)
    except FileNotFoundError:
        return ""
    return digest.hexdigest()
