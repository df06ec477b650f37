"""Brings the files of a series to the disk, some series ahead of the one that is checked."""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path

from guidegen.errors import ItemError
from guidegen.index.local import is_nifti, read_header
from guidegen.index.pseudonyms import Pseudonymiser
from guidegen.retrieve import nbia, s3
from guidegen.retrieve.check import Opener
from guidegen.retrieve.settings import RetrieveSettings


@dataclass(frozen=True)
class Retrieval:
    """What it takes to bring in one series.

    `root` is the folder that `location` is relative to (sources `archive` and `local`); `series_uid` is the one in the
    files; `pseudonyms` is set for private collections.
    """

    row: dict[str, str]
    source: str
    root: Path
    location: str
    series_uid: str
    downloads: Path
    settings: RetrieveSettings
    pseudonyms: Pseudonymiser | None

    @property
    def case(self) -> str:
        """The manifest's case: the case id for a CT, with role and series hash for others."""
        if self.row["role"] == "ct":
            return self.row["case"]
        return (
            f"{self.row['case']}.{self.row['role']}-{hashlib.sha256(self.row['series_uid'].encode()).hexdigest()[:8]}"
        )


def fetch_series(task: Retrieval) -> list[Path]:
    """Return the files of a series: downloaded (one zip from the NBIA), or where they lie in archive or local folder.

    Raises:
        ItemError: they are missing or cannot be had.
    """
    row, folder = task.row, task.downloads / task.case
    if task.source == "idc":
        return s3.download_series(task.location, int(row["instances"]), folder, task.settings)
    if task.source == "nbia":
        return [nbia.download_series(task.location, int(row["bytes"]), folder, task.settings)]
    return _list_folder(task)


def open_series(task: Retrieval, paths: Sequence[Path]) -> dict[str, Opener]:
    """Return what opens it for each file that `fetch_series` found, by name.

    Raises:
        ItemError: a zip is damaged.
    """
    if task.source == "nbia":
        return {name: partial(BytesIO, data) for name, data in nbia.read_zip(paths[0], int(task.row["bytes"]))}
    return {path.name: partial(path.open, "rb") for path in paths}


def _list_folder(task: Retrieval) -> list[Path]:
    place = (task.root / task.location).resolve()
    if task.source == "archive" and not place.is_relative_to(task.root):
        raise ItemError(f"{task.row['case']}: location '{task.location}' leads out of the archive {task.root}")
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise ItemError(f"{task.row['case']}: {place} is missing")
    paths = sorted(path for path in place.iterdir() if path.is_file() and not path.name.startswith("."))
    if task.source == "local":
        paths = [path for path in paths if not is_nifti(path) and _is_of_series(path, task.series_uid)]
    return paths


def _is_of_series(path: Path, series_uid: str) -> bool:
    header = read_header(path, ["SeriesInstanceUID"])
    if header is None:
        return False
    uid = str(header.get("SeriesInstanceUID") or "")
    return uid == series_uid or (not uid and series_uid.startswith("2.25."))


class Fetcher:
    """Fetches up to `at_once` series at a time: the one that is asked for and those that come after it.

    As many again may lie ready, so that fetching goes on while one series is checked and stored.
    """

    def __init__(self, tasks: Sequence[Retrieval], at_once: int, pool: ThreadPoolExecutor) -> None:
        self._tasks = sorted(tasks, key=lambda task: task.case)
        self._places = {task.case: place for place, task in enumerate(self._tasks)}
        self._at_once, self._pool = at_once, pool
        self._started: dict[str, Future[list[Path]]] = {}

    def wait_for(self, task: Retrieval) -> list[Path]:
        """Return the files of a series, as `fetch_series` does, and raise what it raised."""
        self._start(task)
        place = self._places.get(task.case, len(self._tasks)) + 1
        while len(self._started) < 2 * self._at_once and place < len(self._tasks):
            self._start(self._tasks[place])
            place += 1
        return self._started.pop(task.case).result()

    def _start(self, task: Retrieval) -> None:
        if task.case not in self._started:
            self._started[task.case] = self._pool.submit(fetch_series, task)


@contextmanager
def open_fetcher(tasks: Sequence[Retrieval], at_once: int) -> Iterator[Fetcher]:
    """Yield a fetcher; what it has not begun when the block ends is dropped."""
    pool = ThreadPoolExecutor(at_once, "fetch")
    try:
        yield Fetcher(tasks, at_once, pool)
    finally:
        pool.shutdown(cancel_futures=True)
