"""The clinical table of a collection: copied from the archive or an export, asked of the GDC, or a lab's own."""

import csv
import io
import logging
import re
from dataclasses import dataclass
from pathlib import Path

from guidegen.atomic import hash_file
from guidegen.codehash import code_hash
from guidegen.errors import GuideGenError, ItemError
from guidegen.ids import clean_patient
from guidegen.index.pseudonyms import read_private
from guidegen.index.withdrawn import list_withdrawn
from guidegen.manifest import Item, Outcome, process_items
from guidegen.retrieve.gdc import fetch_cases
from guidegen.retrieve.terms import write_terms
from guidegen.study import Collection, Study
from guidegen.tables import write_tsv

KEY_COLUMNS = ("submitter_id", "case_submitter_id", "patient_id", "patientid", "case_id", "subject_id", "image_id")
"""Names of the column that holds the patient, in order of preference; a dotted prefix (`cases.`) does not count."""
IDENTIFYING = re.compile(
    r"name|birth|death|date|address|street|city|zip|postal|phone|fax|mail|ssn|mrn|record|insurance|account|note|comment"
    r"|text|report|accession|institution|hospital|physician|doctor",
    re.I,
)
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClinicalSource:
    """Where a collection's clinical table is, and how its patients are renamed (None: not at all)."""

    collection: str
    path: Path | None
    gdc_url: str
    patients: tuple[str, ...]
    pseudonyms: dict[str, str] | None
    withdrawn: frozenset[str]
    """Patients (clean ids) whose rows are left out, because their consent was withdrawn."""
    attempts: int


def retrieve_clinical(study: Study, collection: Collection) -> list[dict[str, str]]:
    """Bring in the clinical table of a collection and write its manifest, without rows where it has no table.

    Raises:
        ShardFailed: the table could not be had.
        GuideGenError: a local table is configured but missing.
    """
    source = _locate(study, collection)
    write_terms(study, collection)
    items = []
    if source.path or source.gdc_url:
        inputs = {"patients": " ".join(source.patients), "url": source.gdc_url}
        if source.path:
            inputs["table"] = hash_file(source.path)
        items = [Item("clinical", inputs, source)]
    return process_items(
        study.shard("data", "raw", collection.id, "clinical"),
        items,
        _store_table,
        fingerprint=code_hash("retrieve"),
        columns=("rows", "key_column"),
    )


def _locate(study: Study, collection: Collection) -> ClinicalSource:
    settings = study.config.index
    patients = tuple(sorted({row["patient_id"] for row in study.read_index(collection.id)}))
    path, url, pseudonyms = None, "", None
    if collection.id in study.config.retrieve.clinical:
        path = study.root / study.config.retrieve.clinical[collection.id].expanduser()
        if not path.is_file():
            raise GuideGenError(f"retrieve.clinical.{collection.id}: no file {path}")
    elif collection.source == "archive":
        archive = settings.archive.expanduser()
        archive = archive if archive.is_absolute() else study.root / archive
        path = archive / "clinical" / f"{collection.id}.tsv"
        path = path if path.is_file() else None
    elif collection.source == "local":
        local = settings.local[collection.id]
        if local.clinical:
            path = local.clinical.expanduser()
            path = path if path.is_absolute() else study.root / path
            if not path.is_file():
                raise GuideGenError(f"index.local.{collection.id}.clinical: no file {path}")
        if local.private:
            pseudonyms = {r["source_patient_id"]: r["patient_id"] for r in read_private(study, collection.id)}
    elif collection.clinical == "gdc":
        url = study.config.retrieve.gdc_url
    else:
        log.warning(
            "%s: no clinical table; export it from the IDC and name it in retrieve.clinical.%s, else its prompts state "
            "what headers and label maps show",
            *(collection.id, collection.id),
        )
    withdrawn = frozenset(list_withdrawn(study.root, collection.id))
    attempts = study.config.retrieve.attempts
    return ClinicalSource(collection.id, path, url, patients, pseudonyms, withdrawn, attempts)


def _store_table(item: Item, folder: Path) -> Outcome:
    source: ClinicalSource = item.payload
    header, rows = (
        read_table(source.path) if source.path else fetch_cases(source.gdc_url, source.patients, source.attempts)
    )
    known = set(source.pseudonyms) if source.pseudonyms is not None else set(source.patients)
    key = find_key(header, rows, known)
    if source.pseudonyms is not None:
        header, rows = pseudonymise_table(header, rows, key, source.pseudonyms)
    if source.withdrawn:
        rows = [row for row in rows if not row[key].strip() or clean_patient(row[key]) not in source.withdrawn]
    write_tsv(folder / "clinical.tsv", header, rows)
    return Outcome(files={"": "clinical.tsv"}, columns={"rows": len(rows), "key_column": key})


def read_table(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Read a clinical table, tab- or comma-separated by its header line.

    Raises:
        ItemError: it is empty, a column name is used twice, or a row has another length.
    """
    text = path.read_text(encoding="utf-8-sig")
    first = text.partition("\n")[0]
    delimiter = "\t" if "\t" in first or path.suffix == ".tsv" else ","
    lines = list(csv.reader(io.StringIO(text), delimiter=delimiter))
    if not lines or not any(lines[0]):
        raise ItemError(f"{path}: empty, expected a header line")
    header = lines[0]
    if len(set(header)) != len(header):
        raise ItemError(f"{path}: a column name is used twice")
    for number, cells in enumerate(lines[1:], 2):
        if cells and len(cells) != len(header):
            raise ItemError(f"{path}, row {number}: {len(cells)} cells, the header has {len(header)}")
    cleaned = [[" ".join(cell.split()) for cell in cells] for cells in lines[1:] if cells]
    return header, [dict(zip(header, cells, strict=True)) for cells in cleaned]


def find_key(header: list[str], rows: list[dict[str, str]], patients: set[str]) -> str:
    """Return the column that holds the patient: of those with a usual name, the one that names most patients.

    Raises:
        ItemError: no column names any patient of the index.
    """
    usual = {name: KEY_COLUMNS.index(tail) for name in header if (tail := name.lower().split(".")[-1]) in KEY_COLUMNS}
    hits = {name: len({row[name] for row in rows} & patients) for name in header}
    candidates = sorted(header, key=lambda name: (-hits[name], usual.get(name, len(KEY_COLUMNS)), header.index(name)))
    if hits[candidates[0]]:
        return candidates[0]
    if usual and not rows:
        return min(usual, key=lambda name: usual[name])
    raise ItemError(
        f"clinical table: no column names a patient of the index (e.g. '{min(patients, default='')}'); "
        f"columns: {', '.join(header)}"
    )


def pseudonymise_table(
    header: list[str], rows: list[dict[str, str]], key: str, pseudonyms: dict[str, str]
) -> tuple[list[str], list[dict[str, str]]]:
    """Return the table with pseudonyms in the key column, without other patients and identifying columns.

    A column is dropped where its name speaks of names, dates, places or free text, or where a cell holds a real id.
    """
    rows = [row for row in rows if row[key] in pseudonyms]
    real = set(pseudonyms)
    dropped = [
        name
        for name in header
        if name != key
        and (IDENTIFYING.search(name) or any(identity in row[name] for row in rows for identity in real if identity))
    ]
    if dropped:
        log.warning("clinical table: column(s) left out because they may identify a patient: %s", ", ".join(dropped))
    kept = [name for name in header if name not in dropped]
    return kept, [{name: pseudonyms[row[key]] if name == key else row[name] for name in kept} for row in rows]
