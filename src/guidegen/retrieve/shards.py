"""Brings in the series of one shard, each as one tar."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from guidegen.codehash import code_hash
from guidegen.errors import GuideGenError, ItemError
from guidegen.index.local import is_nifti, read_header
from guidegen.index.pseudonyms import Pseudonymiser, load_pseudonymiser, read_private
from guidegen.manifest import Item, Outcome, process_items
from guidegen.retrieve import nbia, s3
from guidegen.retrieve.check import Expected, check_series
from guidegen.retrieve.deidentify import deidentify_dicom, deidentify_nifti
from guidegen.retrieve.settings import RetrieveSettings
from guidegen.retrieve.tarball import write_tar
from guidegen.study import Collection, Study

COLUMNS = ("parent", "role", "format", "series_uid", "instances", "annotation_kind")
TAR_LAYOUT = "one tar per series, 1"
"""Changes only with what a tar holds: public data is not downloaded again because code was edited."""


@dataclass(frozen=True)
class Retrieval:
    """What a worker needs to bring in one series.

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


def find_collection(study: Study, name: str) -> Collection:
    """Return a collection of the study. Raises GuideGenError for an unknown one, and names the known ones."""
    if name not in study.collections:
        raise GuideGenError(f"'{name}' is no collection of this study; it has {', '.join(study.collections)}")
    return study.collections[name]


def retrieve_shard(study: Study, collection: Collection, shard: str) -> list[dict[str, str]]:
    """Bring in all series of a shard and write its manifest.

    Raises:
        GuideGenError: the shard is not in the index, or the disk is too small.
        ShardFailed: more series failed than the config allows.
    """
    rows = study.read_index(collection.id, shard)
    if not rows:
        raise GuideGenError(f"{study.index_table(collection.id)}: no series in shard '{shard}'")
    place = study.shard("data", "raw", collection.id, shard)
    _check_disk(study, rows, place.bulk)
    retrievals = _plan(study, collection, rows, place.state / "downloads")
    items = [Item(name_item(r.row), {"index": _hash_row(r.row)}, r) for r in retrievals]
    return process_items(
        place,
        items,
        retrieve_series,
        fingerprint=code_hash("retrieve") if any(r.pseudonyms for r in retrievals) else TAR_LAYOUT,
        columns=COLUMNS,
        max_failed_share=study.config.study.max_failed_share,
        workers=study.config.retrieve.workers,
    )


def name_item(row: dict[str, str]) -> str:
    """Return the manifest's case of an index row: the case id for a CT, with role and series hash for others."""
    if row["role"] == "ct":
        return row["case"]
    return f"{row['case']}.{row['role']}-{hashlib.sha256(row['series_uid'].encode()).hexdigest()[:8]}"


def retrieve_series(item: Item, folder: Path) -> Outcome:
    """Bring in one series, check every file, and write its tar into `folder`.

    A series whose files are missing, unreadable or not what the index says becomes a failed row.
    """
    task: Retrieval = item.payload
    row = task.row
    columns = {name: row[name] for name in COLUMNS[1:]} | {"parent": row["case"]}
    try:
        files = READERS[task.source](task)
    except ItemError as error:
        return Outcome(status="failed", reason=str(error), columns=columns)
    try:
        ordered = check_series(files, _expect(item.case, task))
    except ItemError as error:
        shutil.rmtree(task.downloads / item.case, ignore_errors=True)
        return Outcome(status="failed", reason=str(error), columns=columns)
    suffix = ".nii.gz" if row["format"] == "nifti" else ".dcm"
    if row["format"] == "nifti":
        ordered = [deidentify_nifti(files[0][0], ordered[0])]
    elif task.pseudonyms:
        ordered = [deidentify_dicom(data, row["patient_id"], row["series_uid"], task.pseudonyms) for data in ordered]
    write_tar(folder / f"{item.case}.tar", ((f"{n:05d}{suffix}", data) for n, data in enumerate(ordered, 1)))
    shutil.rmtree(task.downloads / item.case, ignore_errors=True)
    return Outcome(files={"": f"{item.case}.tar"}, columns=columns | {"instances": len(ordered)})


def _expect(case: str, task: Retrieval) -> Expected:
    """Return what the index says; only the IDC states the size of its objects to the byte."""
    row = task.row
    size = int(row["bytes"]) if task.source == "idc" else None
    return Expected(case, task.series_uid, row["modality"], row["format"], int(row["instances"]), size)


def _plan(study: Study, collection: Collection, rows: list[dict[str, str]], downloads: Path) -> list[Retrieval]:
    settings = study.config.index
    private = collection.source == "local" and settings.local[collection.id].private
    pseudonyms = load_pseudonymiser(study) if private else None
    origin = {r["series_uid"]: r for r in read_private(study, collection.id)} if private else {}
    if collection.source == "local":
        root = settings.local[collection.id].folder.expanduser()
    else:
        root = settings.archive.expanduser()
    root = (root if root.is_absolute() else study.root / root).resolve()
    planned = []
    for row in rows:
        location, uid = row["location"], row["series_uid"]
        if private:
            if uid not in origin:
                raise GuideGenError(f"{row['case']}: not in the private table of '{collection.id}'; index it again")
            location, uid = origin[uid]["location"], origin[uid]["source_series_uid"]
        task = Retrieval(row, collection.source, root, location, uid, downloads, study.config.retrieve, pseudonyms)
        planned.append(task)
    return planned


def _read_folder(task: Retrieval) -> list[tuple[str, bytes]]:
    """Read the series' files of the sources `archive` and `local`."""
    place = (task.root / task.location).resolve()
    if task.source == "archive" and not place.is_relative_to(task.root):
        raise ItemError(f"{task.row['case']}: location '{task.location}' leads out of the archive {task.root}")
    if place.is_file():
        return [(place.name, place.read_bytes())]
    if not place.is_dir():
        raise ItemError(f"{task.row['case']}: {place} is missing")
    paths = sorted(path for path in place.iterdir() if path.is_file() and not path.name.startswith("."))
    if task.source == "local":
        paths = [path for path in paths if not is_nifti(path) and _is_of_series(path, task.series_uid)]
    return [(path.name, path.read_bytes()) for path in paths]


def _is_of_series(path: Path, series_uid: str) -> bool:
    header = read_header(path, ["SeriesInstanceUID"])
    if header is None:
        return False
    uid = str(header.get("SeriesInstanceUID") or "")
    return uid == series_uid or (not uid and series_uid.startswith("2.25."))


def _read_idc(task: Retrieval) -> list[tuple[str, bytes]]:
    folder = task.downloads / name_item(task.row)
    paths = s3.download_series(task.location, int(task.row["instances"]), folder, task.settings)
    return [(path.name, path.read_bytes()) for path in paths]


def _read_nbia(task: Retrieval) -> list[tuple[str, bytes]]:
    folder = task.downloads / name_item(task.row)
    return nbia.download_series(task.location, int(task.row["bytes"]), folder, task.settings)


READERS: dict[str, Callable[[Retrieval], list[tuple[str, bytes]]]] = {
    "archive": _read_folder,
    "local": _read_folder,
    "idc": _read_idc,
    "nbia": _read_nbia,
}


def _hash_row(row: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()


def _check_disk(study: Study, rows: list[dict[str, str]], bulk: Path) -> None:
    settings = study.config.retrieve
    needed = sum(int(row["bytes"]) for row in rows) / 1e9
    have = sum(path.stat().st_size for path in bulk.rglob("*") if path.is_file()) / 1e9 if bulk.is_dir() else 0.0
    free = shutil.disk_usage(study.root).free / 1e9
    if free - max(0.0, needed - have) < settings.min_free_gb:
        raise GuideGenError(
            f"{study.root}: {free:.1f} GB free, the shard needs {needed:.1f} GB and {settings.min_free_gb:g} GB must "
            "stay free (retrieve.min_free_gb)"
        )
    if settings.max_disk_gb is not None:
        raw = study.root / "data" / "raw"
        used = sum(path.stat().st_size for path in raw.rglob("*") if path.is_file()) / 1e9
        if used - have + needed > settings.max_disk_gb:
            raise GuideGenError(f"{raw}: {used:.1f} GB and {needed:.1f} GB more exceed retrieve.max_disk_gb")
