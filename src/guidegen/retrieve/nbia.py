"""Source `nbia`: one zip per series from TCIA's own service, each file checked against the MD5 hash beside it."""

import csv
import hashlib
import io
import re
import zipfile
import zlib
from pathlib import Path

import requests

from guidegen.atomic import replace_file
from guidegen.errors import ItemError
from guidegen.retrieve.settings import RetrieveSettings
from guidegen.services import ServiceError, TemporaryError, ask_service, read_stream

LOCATION = re.compile(r"getImageWithMD5Hash\?SeriesInstanceUID=[0-9.]{1,64}")
MEMBER = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9]+)?")
HASHES = "md5hashes.csv"
NOT_DATA = {HASHES, "LICENSE"}
"""Members of a zip that are no images."""
LARGEST_EXCESS = 2.0
"""A zip, or what it unpacks to, may be this many times as large as the index says, and `SPARE_BYTES` more."""
SPARE_BYTES = 16_000_000


def download_series(location: str, size: int, folder: Path, settings: RetrieveSettings) -> Path:
    """Download the zip of a series, whole and with the right hashes; one from before is kept.

    The service makes the zip while it sends it and cannot send a part of it, so a transfer that breaks starts again.

    Args:
        location: `getImageWithMD5Hash?SeriesInstanceUID=<uid>`.
        size: bytes of the series as the index says.
        folder: where the zip survives a killed job.
        settings: address of the service, attempts, time limit.

    Raises:
        ItemError: the service has no such series or refuses it, or the zip is still broken at the last attempt.
    """
    if not LOCATION.fullmatch(location):
        raise ItemError(f"'{location}' is no series of the NBIA; expected getImageWithMD5Hash?SeriesInstanceUID=<uid>")
    most = _limit_bytes(size)
    path = folder / "series.zip"
    if path.is_file():
        try:
            read_zip(path, size)
        except ItemError:
            path.unlink()
        else:
            return path

    def store(response: requests.Response) -> Path:
        with replace_file(path) as temporary, temporary.open("wb") as stream:
            for piece in read_stream(response, settings.timeout_minutes * 60):
                stream.write(piece)
                if stream.tell() > most:
                    raise ServiceError(f"{response.url}: sends more than {most} bytes, the index says {size}")
        if not path.stat().st_size:
            path.unlink()
            raise ServiceError(f"{response.url}: empty reply, so the service has no such series (any more)")
        read_zip(path, size)
        return path

    return ask_service("GET", f"{settings.nbia_url.rstrip('/')}/{location}", store, attempts=settings.attempts)


def _limit_bytes(size: int) -> int:
    return round(size * LARGEST_EXCESS) + SPARE_BYTES


def read_zip(path: Path, size: int) -> list[tuple[str, bytes]]:
    """Return name and bytes of each image of a series' zip, all of them named in its list of MD5 hashes.

    Args:
        path: the zip.
        size: bytes of the series as the index says.

    Raises:
        TemporaryError: it is cut off, or a file is missing, unlisted or not what its hash says.
        ItemError: a member's name is a path, or it unpacks to far more than the index says.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            for member in members:
                if not MEMBER.fullmatch(member.filename):
                    raise ItemError(f"zip member '{member.filename}' is refused: expected a plain file name")
            unpacked = sum(member.file_size for member in members)
            if unpacked > _limit_bytes(size):
                raise ItemError(f"zip unpacks to {unpacked} bytes, the index says {size}")
            if not members:
                raise TemporaryError("the zip is empty")
            files = {member.filename: archive.read(member) for member in members}
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, OSError) as error:
        with path.open("rb") as stream:
            start = stream.read(60)
        raise TemporaryError(f"no whole zip ({error}); it begins with {start!r}") from None
    if len(files) != len(members):
        raise TemporaryError("the zip holds a name twice")
    _check_hashes(files)
    return [(name, data) for name, data in files.items() if name not in NOT_DATA]


def _check_hashes(files: dict[str, bytes]) -> None:
    if HASHES not in files:
        raise TemporaryError(f"the zip has no {HASHES}, so the service stopped in the middle of it")
    rows = list(csv.DictReader(io.StringIO(files[HASHES].decode("utf-8-sig", "replace"))))
    stated = {row.get("Filename") or "": (row.get("MD5Hash") or "").strip().lower() for row in rows}
    for name in sorted(set(stated) | set(files) - NOT_DATA):
        if name not in files:
            raise TemporaryError(f"the zip lacks {name}, which {HASHES} names")
        if name not in stated:
            raise TemporaryError(f"the zip holds {name}, which {HASHES} does not name")
        found = hashlib.md5(files[name], usedforsecurity=False).hexdigest()
        if found != stated[name]:
            raise TemporaryError(f"{name} has MD5 {found}, {HASHES} says {stated[name]}")
