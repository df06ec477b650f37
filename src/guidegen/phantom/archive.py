"""The embedded archive: patients written one by one, tables last."""

import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from guidegen.atomic import replace_file, write_text
from guidegen.errors import GuideGenError
from guidegen.locks import hold_lock
from guidegen.manifest import die_with_parent
from guidegen.phantom.clinical import COLUMNS
from guidegen.phantom.patient import make_patient
from guidegen.phantom.study_writer import write_patient
from guidegen.progress import track_progress
from guidegen.tables import write_tsv

log = logging.getLogger(__name__)
FORMAT = 1
"""Raised when the same parameters make other files."""
RECORDS = ".records"
SEG_COLUMNS = (
    *("SeriesInstanceUID", "segmented_SeriesInstanceUID", "total_segments", "AlgorithmType", "AlgorithmName"),
    "SegmentationType",
)


@dataclass(frozen=True)
class ArchivePlan:
    """What an archive holds; stored in `archive.json`."""

    collections: tuple[str, ...]
    patients: int
    """Patients per collection."""
    seed: int
    size: str


def build_archive(out: Path, plan: ArchivePlan, processes: int = 1) -> bool:
    """Write the archive, or what is missing of it.

    Args:
        out: folder of the archive.
        plan: what it holds.
        processes: patients written at the same time.

    Returns:
        True where something was written, False where the archive was complete.

    Raises:
        GuideGenError: the folder holds something else, or an archive of another plan.
    """
    _claim(out, plan)
    if (out / "idc_index.parquet").is_file():
        return False
    with hold_lock(out / RECORDS / ".lock", f"{out}: another process writes this archive"):
        _write_archive(out, plan, processes)
    return True


def _write_archive(out: Path, plan: ArchivePlan, processes: int) -> None:
    jobs = [(collection, index) for index in range(plan.patients) for collection in plan.collections]
    for leftover in out.glob("*/.tmp-*"):
        shutil.rmtree(leftover)
    records: dict[tuple[str, int], dict[str, Any]] = {}
    with track_progress("phantom", len(jobs), "patients") as advance:
        for collection, index, record in _run(out, plan, jobs, processes):
            records[collection, index] = record
            advance(1, f"{collection} {index}")
    _write_tables(out, plan, records)
    shutil.rmtree(out / RECORDS)


def _claim(out: Path, plan: ArchivePlan) -> None:
    path = out / "archive.json"
    wanted = {"format": FORMAT, **asdict(plan), "collections": list(plan.collections)}
    if path.is_file():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise GuideGenError(f"{path}: not JSON ({error}); delete the folder and make the archive again") from None
        different = [name for name in wanted if found.get(name) != wanted[name]]
        if different:
            listing = "; ".join(f"{n}: {found.get(n)} there, {wanted[n]} wanted" for n in different)
            raise GuideGenError(
                f"{out} holds an archive of other parameters ({listing}); use another --out or delete it"
            )
        return
    if out.is_dir() and any(out.iterdir()):
        raise GuideGenError(f"{out} is not empty and has no archive.json; --out must be a new or empty folder")
    write_text(path, json.dumps(wanted, indent=1, sort_keys=True) + "\n")


def _run(
    out: Path, plan: ArchivePlan, jobs: Sequence[tuple[str, int]], processes: int
) -> Iterator[tuple[str, int, dict[str, Any]]]:
    if processes == 1:
        for collection, index in jobs:
            yield collection, index, keep_patient(out, plan, collection, index)
        return
    pool = ProcessPoolExecutor(processes, get_context("forkserver"), initializer=die_with_parent)
    try:
        futures = {pool.submit(keep_patient, out, plan, *job): job for job in jobs}
        for future in as_completed(futures):
            yield *futures[future], future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def keep_patient(out: Path, plan: ArchivePlan, collection: str, index: int) -> dict[str, Any]:
    """Return a patient's table rows, writing the patient where it is not complete yet."""
    path = out / RECORDS / collection / f"{index:05d}.json"
    patient = make_patient(collection, index, plan.seed)
    folder = out / collection / patient.patient_id
    if path.is_file() and folder.is_dir():
        return json.loads(path.read_text(encoding="utf-8"))
    if folder.exists():
        shutil.rmtree(folder)
    temporary = out / collection / f".tmp-{patient.patient_id}"
    temporary.mkdir(parents=True)
    record = write_patient(temporary, patient, plan.size).to_json()
    write_text(path, json.dumps(record))
    temporary.rename(folder)
    return record


def _write_tables(out: Path, plan: ArchivePlan, records: dict[tuple[str, int], dict[str, Any]]) -> None:
    ordered = [(c, records[c, i]) for c in sorted(plan.collections) for i in range(plan.patients)]
    for collection in plan.collections:
        rows = [row for c, record in ordered if c == collection for row in record["clinical"]]
        write_tsv(out / "clinical" / f"{collection}.tsv", COLUMNS, rows)
    truth = [record["truth"] for _, record in ordered]
    write_tsv(out / "truth.tsv", list(truth[0]), truth)
    _write_parquet(out / "seg_index.parquet", [row for _, record in ordered for row in record["segmentations"]])
    _write_parquet(out / "idc_index.parquet", [row for _, record in ordered for row in record["series"]])


def _write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    types = {"instanceCount": pa.int64(), "total_segments": pa.int64(), "series_size_MB": pa.float64()}
    schema = pa.schema([(name, types.get(name, pa.large_string())) for name in rows[0]])
    with replace_file(path) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema), temporary)
