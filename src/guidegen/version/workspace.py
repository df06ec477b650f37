"""What a study folder holds of withdrawn patients: files, tables, records, and all that was made from them."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from guidegen.ids import clean_patient
from guidegen.index.pseudonyms import private_table, read_private, write_private
from guidegen.prepare.splits import read_splits, write_splits
from guidegen.study import STATE_FOLDER, Study
from guidegen.tables import read_tsv, write_tsv
from guidegen.version.affected import list_reruns
from guidegen.version.explain import build_graph
from guidegen.version.graph import name_patient
from guidegen.version.held_objects import is_of_patient
from guidegen.version.inventory import PROVENANCE
from guidegen.version.lineage import read_lineage
from guidegen.version.patients import split_owner

KEPT = ("config/", "data/index/", "data/cohort/splits.json")
"""Never deleted: tables that lose the patient's rows instead."""
TEXTS = (".tsv", ".csv", ".json", ".jsonl", ".txt", ".html", ".log")


@dataclass(frozen=True)
class Removal:
    """Files and folders to delete, relative to the study; `changed` is what is not as it was.

    Below `results/` everything goes that learned from the patient; below `data/` the patient's own files and tables, so
    that the next run keeps what it has of others.
    """

    files: list[str]
    folders: list[str]
    changed: list[str]


def plan_removal(study: Study, owners: Sequence[str]) -> Removal:
    """List what to delete for the patients (`<collection>/<patient>`) to be gone from the study folder.

    Tables and models count as made from them only while the index or a clinical table knows them: afterwards, what lies
    there was made without them.
    """
    graph = build_graph(study)
    known = {node.patient for node in graph.find("patient")} | _list_excluded(study, owners)
    touched = graph.walk_down(name_patient(*split_owner(owner)) for owner in owners)
    changed = sorted({*_list_changed(study, [o for o in owners if o in known]), *(node.table for node in touched)})
    outputs = {path for row in list_reruns(read_lineage(study.root), changed) for path in row["outputs"]}
    stale = sorted(path for path in {*changed, *outputs} if not path.startswith(KEPT) and (study.root / path).is_file())
    files, folders = set(stale), set[str]()
    for path in stale:
        bulk = path.removesuffix(".tsv")
        files |= {name for name in (f"{bulk}.dvc",) if (study.root / name).is_file()}
        if path.startswith("results/") and (study.root / bulk).is_dir():
            folders.add(bulk)
        state = f"{STATE_FOLDER}/state/{bulk}"
        if (study.root / state).is_dir() and (path.startswith("results/") or _holds_many(path)):
            folders.add(state)
        if _holds_many(path) and (study.root / bulk).is_dir():
            folders.add(bulk)
    files |= set(_find_own(study, owners))
    files = {path for path in files if not any(path.startswith(f"{folder}/") for folder in folders)}
    return Removal(sorted(files), sorted(folders), changed)


def clear_tables(study: Study, owners: Sequence[str]) -> None:
    """Take the patients out of the private tables, the state of the splits and, at last, the index.

    The index goes last because it is what a call after an interruption knows the patients by.
    """
    path = study.root / "data" / "cohort" / "splits.json"
    patients = {split_owner(owner)[1] for owner in owners}
    placed = read_splits(path)
    if patients & set(placed):
        write_splits(path, [(name, *entry) for name, entry in placed.items() if name not in patients])
    for owner in owners:
        collection, patient = split_owner(owner)
        if private_table(study, collection).is_file():
            rows = read_private(study, collection)
            kept = [row for row in rows if clean_patient(row["patient_id"]) != patient]
            if len(kept) < len(rows):
                write_private(study, collection, kept)
        for path in _list_index_tables(study, collection):
            _drop_rows(path, patient)


def _list_index_tables(study: Study, collection: str) -> list[Path]:
    index = study.index_table(collection)
    return [path for path in (index.with_name(f"{collection}.excluded.tsv"), index) if path.is_file()]


def _list_excluded(study: Study, owners: Sequence[str]) -> set[str]:
    """Those of the patients who have series that the index left out."""
    found = set[str]()
    for collection in {split_owner(owner)[0] for owner in owners}:
        for path in _list_index_tables(study, collection):
            found |= {f"{collection}/{clean_patient(row['patient_id'])}" for row in read_tsv(path, ("patient_id",))}
    return found & set(owners)


def _list_changed(study: Study, owners: Sequence[str]) -> list[str]:
    changed = []
    for owner in owners:
        collection, patient = split_owner(owner)
        changed.append(f"data/raw/{collection}/clinical.tsv")
        index = study.index_table(collection)
        rows = read_tsv(index, ("patient", "shard")) if index.is_file() else []
        for shard in sorted({row["shard"] for row in rows if row["patient"] == patient}):
            changed += [f"data/{phase}/{collection}/{shard}.tsv" for phase in ("raw", "ct", "mask")]
            changed.append(f"data/text/{collection}.tsv")
    return changed


def _holds_many(manifest: str) -> bool:
    """Tell whether the bulk of a manifest below `data/` is tables with rows of many patients."""
    return manifest == "data/cohort/text.tsv" or (
        manifest.startswith("data/raw/") and manifest.endswith("/clinical.tsv")
    )


def _find_own(study: Study, owners: Sequence[str]) -> Iterator[str]:
    """Files whose name holds a case of the patients, and state and logs whose text does."""
    prefixes = ["{}__{}__".format(*split_owner(owner)).encode() for owner in owners]
    for top in ("data", "results", STATE_FOLDER, "logs"):
        for folder, _, names in os.walk(study.root / top):
            here = Path(folder).relative_to(study.root).as_posix()
            if here.startswith(PROVENANCE.as_posix()):
                continue
            for name in names:
                path = f"{here}/{name}"
                private = path.startswith(f"{STATE_FOLDER}/private/")
                told = top in (STATE_FOLDER, "logs") and not private and path.endswith(TEXTS)
                if is_of_patient(path, owners) or (told and _mentions(study.root / path, prefixes)):
                    yield path


def _mentions(path: Path, words: Sequence[bytes]) -> bool:
    data = path.read_bytes()
    return any(word in data for word in words)


def _drop_rows(path: Path, patient: str) -> None:
    """Drop the rows of a patient from an index table; a table without such rows is not touched."""
    rows = read_tsv(path, ("patient_id",))
    kept = [row for row in rows if row.get("patient", clean_patient(row["patient_id"])) != patient]
    if len(kept) < len(rows):
        write_tsv(path, list(rows[0]), kept)
