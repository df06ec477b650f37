"""Brings in the series of one shard, each as one tar."""

import hashlib
import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from guidegen.codehash import code_hash
from guidegen.errors import GuideGenError, ItemError
from guidegen.index.pseudonyms import load_pseudonymiser, read_private
from guidegen.manifest import Item, Outcome, process_items
from guidegen.retrieve.check import Expected, Opener, check_series
from guidegen.retrieve.deidentify import deidentify_dicom, deidentify_nifti
from guidegen.retrieve.disk import check_disk
from guidegen.retrieve.fetch import Retrieval, fetch_series, open_fetcher, open_series
from guidegen.retrieve.tarball import write_tar
from guidegen.study import Collection, Study

COLUMNS = ("parent", "role", "format", "series_uid", "instances", "annotation_kind")
TAR_LAYOUT = "one tar per series, 1"
"""Changes only with what a tar holds: public data is not downloaded again because code was edited."""


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
    check_disk(study, rows, place.bulk)
    retrievals = _plan(study, collection, rows, place.state / "downloads")
    items = [Item(r.case, {"index": _hash_row(r.row)}, r) for r in retrievals]
    # A rerun does not fetch ahead what an earlier run has stored.
    missing = [r for r in retrievals if not (place.bulk / f"{r.case}.tar").is_file()]
    with open_fetcher(missing, study.config.retrieve.series_at_once) as fetcher:
        return process_items(
            place,
            items,
            partial(retrieve_series, fetch=fetcher.wait_for),
            fingerprint=code_hash("retrieve") if any(r.pseudonyms for r in retrievals) else TAR_LAYOUT,
            columns=COLUMNS,
            max_failed_share=study.config.study.max_failed_share,
        )


def retrieve_series(item: Item, folder: Path, fetch: Callable[[Retrieval], list[Path]] = fetch_series) -> Outcome:
    """Bring in one series with `fetch`, check every file, and write its tar into `folder`.

    A series whose files are missing, unreadable or not what the index says becomes a failed row.
    """
    task: Retrieval = item.payload
    row = task.row
    columns = {name: row[name] for name in COLUMNS[1:]} | {"parent": row["case"]}
    try:
        files = open_series(task, fetch(task))
    except ItemError as error:
        return Outcome(status="failed", reason=str(error), columns=columns)
    try:
        ordered = check_series(files, _expect(item.case, task))
    except ItemError as error:
        shutil.rmtree(task.downloads / item.case, ignore_errors=True)
        return Outcome(status="failed", reason=str(error), columns=columns)
    suffix = ".nii.gz" if row["format"] == "nifti" else ".dcm"
    contents = (_read_file(task, name, files[name]) for name in ordered)
    write_tar(folder / f"{item.case}.tar", ((f"{n:05d}{suffix}", data) for n, data in enumerate(contents, 1)))
    shutil.rmtree(task.downloads / item.case, ignore_errors=True)
    return Outcome(files={"": f"{item.case}.tar"}, columns=columns | {"instances": len(ordered)})


def _read_file(task: Retrieval, name: str, opener: Opener) -> bytes:
    """Return what is stored of a file; that of a private collection leaves without what identifies the patient."""
    with opener() as stream:
        data = stream.read()
    if task.row["format"] == "nifti":
        return deidentify_nifti(name, data)
    if task.pseudonyms:
        return deidentify_dicom(data, task.row["patient_id"], task.row["series_uid"], task.pseudonyms)
    return data


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


def _hash_row(row: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()
