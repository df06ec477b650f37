"""Files appear whole or not at all, and what a killed writer left goes when its target is written again."""

import hashlib
import os
import platform
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it onto `path` when the block ends without an error.

    The temporary name keeps the suffixes of `path`, because writers choose formats by them. It is removed on error.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover, host, pid in _list_leftovers(path):
        if host == platform.node() and not psutil.pid_exists(pid):
            leftover.unlink(missing_ok=True)
    temporary = path.parent / _name_temporary(path)
    try:
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with replace_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def replace_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside `path`; swap it in for `path` when the block ends without an error.

    A folder has one writer at a time; what an earlier one left beside it is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover, _, _ in _list_leftovers(path):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary = path.parent / _name_temporary(path)
    temporary.mkdir()
    try:
        yield temporary
        if path.exists():
            old = path.parent / _name_temporary(path)
            path.rename(old)
            temporary.rename(path)
            shutil.rmtree(old)
        else:
            temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _name_temporary(path: Path) -> str:
    return f".tmp-{platform.node()}-{os.getpid()}-{secrets.token_hex(4)}-{path.name}"


def _list_leftovers(path: Path) -> list[tuple[Path, str, int]]:
    """Return the temporary files or folders of `path`, each with the host and the process id of its writer."""
    pattern = re.compile(r"\.tmp-(.+)-(\d+)-[0-9a-f]{8}-" + re.escape(path.name))
    matches = [pattern.fullmatch(other.name) for other in path.parent.iterdir()]
    return [(path.parent / match[0], match[1], int(match[2])) for match in matches if match]


def hash_file(path: Path) -> str:
    """Return the sha256 of a file's bytes, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
