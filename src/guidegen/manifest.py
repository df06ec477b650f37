"""Shards: many items, one manifest, nothing lost.

A phase that works on many items calls `process_items`. Each item is worked on in a folder of its own, its files are
renamed into the shard's bulk folder, and a record of what it was made from is kept in the study's state folder. The
manifest, one row per item, is written last. A rerun keeps what is complete and current and moves orphans aside.
"""

import hashlib
import json
import logging
import os
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from typing import Any, Literal

from guidegen.atomic import hash_file, write_text
from guidegen.errors import GuideGenError, ItemExcluded, ShardFailed
from guidegen.locks import hold_lock
from guidegen.progress import track_progress
from guidegen.tables import format_cell, read_tsv, write_tsv

Status = Literal["ok", "excluded", "failed"]
BASE_COLUMNS = ("case", "status", "reason", "path", "bytes", "sha256")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Item:
    """One unit of work: its case id, the hashes of all it is made from, and what the worker needs to know."""

    case: str
    inputs: Mapping[str, str]
    payload: Any = None


@dataclass(frozen=True)
class Outcome:
    """What a worker made of one item.

    `files` maps a role to a file name inside the work folder: the role "" is the main output (columns path, bytes,
    sha256), any other role `r` gets the columns `r_path`, `r_bytes`, `r_sha256`. `columns` are the phase's own.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, Any] = field(default_factory=dict)
    status: Status = "ok"
    reason: str = ""


@dataclass(frozen=True)
class Shard:
    """Where one shard lives: `manifest` is `<bulk>.tsv`; `state` keeps the records and is in neither git nor DVC."""

    root: Path
    manifest: Path
    bulk: Path
    state: Path
    orphans: Path
    title: str


def file_columns(role: str) -> tuple[str, str, str]:
    """Return the names of the path, bytes and sha256 columns of a role."""
    prefix = f"{role}_" if role else ""
    return f"{prefix}path", f"{prefix}bytes", f"{prefix}sha256"


def read_manifest(path: Path) -> list[dict[str, str]]:
    """Read a manifest; every value is text. Raises GuideGenError where the base columns are missing."""
    return read_tsv(path, BASE_COLUMNS)


def list_files(row: Mapping[str, str]) -> Iterator[tuple[str, str, int, str]]:
    """Yield (role, path relative to the study, bytes, sha256) of every file that a manifest row names."""
    for column in row:
        if column == "path" or column.endswith("_path"):
            role = column[: -len("path")].rstrip("_")
            path_column, bytes_column, hash_column = file_columns(role)
            if row[path_column] and hash_column in row:
                yield role, row[path_column], int(row[bytes_column]), row[hash_column]


def process_items(
    shard: Shard,
    items: Iterable[Item],
    work: Callable[[Item, Path], Outcome],
    *,
    fingerprint: str,
    columns: Sequence[str],
    max_failed_share: float = 0.0,
    workers: int = 1,
    finish: Callable[[Item, Outcome], None] | None = None,
) -> list[dict[str, str]]:
    """Work through the items of a shard and write its manifest.

    Args:
        shard: where the shard lives (`Study.shard`).
        items: what to do; case ids must be unique.
        work: makes the files of one item inside the given empty folder; raises ItemExcluded for an item that is left
            out on purpose; any other exception makes a `failed` row. With `workers` > 1 it must be picklable.
        fingerprint: hash of the settings and the code of the phase; with the inputs it decides what is current.
        columns: the phase's own columns, in order (including `<role>_path` … of further files).
        max_failed_share: share of failed items above which the shard fails.
        workers: processes.
        finish: called in the parent after each item, e.g. to log a picture.

    Returns:
        The manifest's rows, sorted by case.

    Raises:
        ShardFailed: more items failed than allowed; the rows are then kept in the state folder, not in the manifest.
        GuideGenError: a case id is used twice, two cases make one file, or another process works on the shard.
    """
    items = sorted(items, key=lambda item: item.case)
    cases = [item.case for item in items]
    twice = sorted(case for case, count in Counter(cases).items() if count > 1)
    if twice:
        raise GuideGenError(f"{shard.title}: case id used twice: {', '.join(twice)}")
    with hold_lock(shard.state / ".lock", f"{shard.title}: another process works on this shard"):
        shard.bulk.mkdir(parents=True, exist_ok=True)
        _sweep_temporary(shard)
        keys = {item.case: _hash_inputs(item, fingerprint) for item in items}
        rows = {item.case: row for item in items if (row := _read_current(shard, item, keys[item.case]))}
        todo = [item for item in items if item.case not in rows]
        if todo:
            # From here on the bulk changes; a manifest left by a run that dies would speak of files that are gone.
            shard.manifest.unlink(missing_ok=True)
        with track_progress(shard.title, len(items)) as advance:
            if rows:
                advance(len(rows), "kept from before")
            owners = {name: case for case, row in rows.items() for _, name, _, _ in list_files(row)}
            for item, outcome, folder in _run_work(shard, todo, work, workers):
                _claim_names(shard, item, outcome, owners)
                rows[item.case] = _store_outcome(shard, item, outcome, folder, keys[item.case])
                if finish:
                    finish(item, outcome)
                advance(1, item.case)
        _set_orphans_aside(shard, rows.values())
        ordered = [rows[case] for case in cases]
        _check_failures(shard, ordered, columns, max_failed_share)
        write_tsv(shard.manifest, [*BASE_COLUMNS, *columns], ordered)
    return read_manifest(shard.manifest)


def _claim_names(shard: Shard, item: Item, outcome: Outcome, owners: dict[str, str]) -> None:
    """Refuse a file that two cases make, and one that would lie outside the bulk folder."""
    for name in outcome.files.values():
        target = Path(os.path.normpath(shard.bulk / name))
        if not target.is_relative_to(shard.bulk) or target == shard.bulk:
            raise GuideGenError(f"{shard.title}: {item.case} makes '{name}', which lies outside its folder")
        path = str(target.relative_to(shard.root))
        if owners.setdefault(path, item.case) != item.case:
            raise GuideGenError(f"{shard.title}: {path} is made by {owners[path]} and by {item.case}")


def _hash_inputs(item: Item, fingerprint: str) -> str:
    text = json.dumps([item.case, dict(item.inputs), fingerprint], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _read_current(shard: Shard, item: Item, key: str) -> dict[str, str] | None:
    path = shard.state / f"{item.case}.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    if not isinstance(record, dict) or record.get("key") != key:
        return None
    row = record["row"]
    if row["status"] not in ("ok", "excluded"):
        return None
    for _, name, size, digest in list_files(row):
        file = shard.root / name
        if not file.is_file() or file.stat().st_size != size or hash_file(file) != digest:
            log.warning("%s: %s is missing or altered, made again", shard.title, name)
            return None
    return row


def _attempt(work: Callable[[Item, Path], Outcome], item: Item, folder: Path) -> Outcome:
    try:
        return work(item, folder)
    except ItemExcluded as error:
        return Outcome(status="excluded", reason=str(error))
    except (Exception, SystemExit) as error:  # libraries exist that leave the process instead of raising
        log.warning("%s: failed", item.case, exc_info=not isinstance(error, GuideGenError))
        text = str(error) if isinstance(error, GuideGenError) else f"{type(error).__name__}: {error}"
        return Outcome(status="failed", reason=" ".join(text.split())[:500])


def _run_work(
    shard: Shard, items: list[Item], work: Callable[[Item, Path], Outcome], workers: int
) -> Iterator[tuple[Item, Outcome, Path]]:
    """Yield each finished item with its work folder; the folder is removed once the caller has taken the files."""
    folders: dict[str, Path] = {}
    try:
        for item in items:
            folders[item.case] = Path(tempfile.mkdtemp(prefix=".work-", dir=shard.state))
            if workers == 1:
                yield item, _attempt(work, item, folders[item.case]), folders[item.case]
                shutil.rmtree(folders[item.case])
        if workers == 1:
            return
        pool = ProcessPoolExecutor(workers, get_context("forkserver"), initializer=die_with_parent)
        try:
            pending: dict[Future[Outcome], Item] = {
                pool.submit(_attempt, work, item, folders[item.case]): item for item in items
            }
            while pending:
                for future in wait(pending, return_when=FIRST_COMPLETED).done:
                    item = pending.pop(future)
                    yield item, future.result(), folders[item.case]
                    shutil.rmtree(folders[item.case])
        except BrokenProcessPool:
            raise ShardFailed(
                f"{shard.title}: a worker process died, most often because memory ran out; "
                f"give the job more memory or fewer workers than {workers}. What was finished is kept."
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)
    finally:
        for folder in folders.values():
            shutil.rmtree(folder, ignore_errors=True)


def die_with_parent() -> None:
    """End this worker when the process that started it is gone, killed or not; a pool alone would wait for ever."""
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        wait_for([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _store_outcome(shard: Shard, item: Item, outcome: Outcome, folder: Path, key: str) -> dict[str, str]:
    row: dict[str, Any] = {"case": item.case, "status": outcome.status, "reason": outcome.reason}
    row |= {"path": "", "bytes": "", "sha256": "", **outcome.columns}
    for role, name in outcome.files.items():
        source, target = folder / name, shard.bulk / name
        path_column, bytes_column, hash_column = file_columns(role)
        row[hash_column] = hash_file(source)
        row[bytes_column] = source.stat().st_size
        row[path_column] = str(target.relative_to(shard.root))
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)
    text = {name: format_cell(value) for name, value in row.items()}
    write_text(shard.state / f"{item.case}.json", json.dumps({"key": key, "row": text}, sort_keys=True))
    return text


def _sweep_temporary(shard: Shard) -> None:
    for leftover in shard.state.glob(".work-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    for leftover in (*shard.state.glob(".tmp-*"), *shard.manifest.parent.glob(f".tmp-*-{shard.manifest.name}")):
        leftover.unlink(missing_ok=True)


def _set_orphans_aside(shard: Shard, rows: Iterable[Mapping[str, str]]) -> None:
    """Move files that no row names out of the bulk folder; nothing is deleted."""
    named = {shard.root / name for row in rows for _, name, _, _ in list_files(row)}
    strays = [path for path in sorted(shard.bulk.rglob("*")) if path.is_file() and path not in named]
    if not strays:
        return
    aside = shard.orphans / time.strftime("%Y%m%dT%H%M%S")
    for path in strays:
        target = aside / path.relative_to(shard.bulk)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
    log.warning("%s: %d file(s) that no row names were moved to %s", shard.title, len(strays), aside)


def _check_failures(shard: Shard, rows: list[dict[str, str]], columns: Sequence[str], allowed: float) -> None:
    failed = [row for row in rows if row["status"] == "failed"]
    if len(failed) <= allowed * len(rows):
        return
    table = shard.state / "failed.tsv"
    write_tsv(table, [*BASE_COLUMNS, *columns], rows)
    listing = "\n".join(f"  {row['case']}: {row['reason']}" for row in failed[:10])
    raise ShardFailed(
        f"{shard.title}: {len(failed)} of {len(rows)} items failed, at most {allowed:.0%} may.\n{listing}\n"
        f"All rows: {table}. What succeeded is kept and will not be done again."
    )
