"""Clinical tables as they come: any of the usual delimiters and encodings, patients keyed by whatever column fits."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from guidegen.errors import GuideGenError

PATIENT_COLUMNS = (
    *("case_submitter_id", "submitter_id", "bcr_patient_barcode", "patientid", "patient_id", "case_id", "patient"),
    *("dicom_patient_id", "subject_id", "subject", "id"),
)
"""Columns that may hold the patient's id; the one whose values fit the study's patients best is taken."""
MISSING = {
    *("", "'--", "--", "-", "na", "n/a", "nan", "none", "null", "nil", "unknown", "not reported", "not available"),
    *(
        "not applicable",
        "not evaluated",
        "not recorded",
        "not stated",
        "notreported",
        "unspecified",
        "not provided",
        "?",
    ),
    *(
        "missing",
        "not known",
        "not assessed",
        "not allowed to collect",
        "not collected",
        "redacted",
        "pending",
        "other",
    ),
    *("discrepancy", "completed", "no data", "unknown or not reported"),
}
"""How tables spell that nothing is known, in lower case, without brackets."""


@dataclass(frozen=True)
class Cell:
    """One value of a clinical table and where it stands."""

    column: str
    value: str


@dataclass(frozen=True)
class ClinicalTable:
    """A clinical table with one or more rows per patient; cells that say nothing are left out."""

    name: str
    rows: dict[str, tuple[dict[str, str], ...]]
    """Rows by patient id; keys are the table's own column names."""
    notes: tuple[str, ...] = ()
    """What had to be guessed while reading."""


def is_missing(value: str) -> bool:
    """Tell whether a cell says that nothing is known, in any of the usual spellings."""
    return " ".join(value.strip().strip("[](){}'\"").replace("_", " ").lower().split()) in MISSING or not value.strip()


def normalise_column(name: str) -> str:
    """Return the comparable form of a column's name: lower case, `_` between words, without a `cases.` prefix."""
    return re.sub(r"[^a-z0-9]+", "_", name.split(".")[-1].strip().lower()).strip("_")


def read_clinical(path: Path, patients: Sequence[str]) -> ClinicalTable:
    """Read a clinical table.

    Args:
        path: TSV or CSV (`,` or `;`), UTF-8, UTF-16 with a byte order mark, or Windows-1252.
        patients: patient ids of the study, which decide the key column.

    Raises:
        GuideGenError: the file is no table, or has no column that can hold the patient's id.
    """
    rows, notes = read_rows(path)
    if not rows:
        return ClinicalTable(path.name, {}, tuple(notes))
    key = choose_key(path, rows, patients)
    grouped: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        patient = row[key].strip()
        if not is_missing(patient):
            kept = {k: " ".join(v.split()) for k, v in row.items() if k != key and not is_missing(v)}
            grouped.setdefault(patient, []).append(kept)
    return ClinicalTable(path.name, {k: tuple(v) for k, v in grouped.items()}, tuple(notes))


def find_patient(table: ClinicalTable, patient_id: str) -> tuple[dict[str, str], ...]:
    """Return the rows of a patient; case and surrounding blanks of the id do not count."""
    if patient_id in table.rows:
        return table.rows[patient_id]
    wanted = patient_id.strip().lower()
    return next((rows for key, rows in table.rows.items() if key.lower() == wanted), ())


def list_values(rows: Sequence[Mapping[str, str]], columns: Sequence[str]) -> list[Cell]:
    """Return the distinct cells of the first of `columns` that says something, over all rows of a patient."""
    for wanted in columns:
        cells = {}
        for row in rows:
            for name, value in row.items():
                if normalise_column(name) == wanted:
                    cells.setdefault(value, Cell(name, value))
        if cells:
            return list(cells.values())
    return []


def read_rows(path: Path) -> tuple[list[dict[str, str]], list[str]]:
    """Return the rows of a table, cells as they stand there, and what had to be guessed; errors as `read_clinical`."""
    text, notes = read_text(path)
    return _split_rows(path, text), notes


def read_text(path: Path) -> tuple[str, list[str]]:
    """Return a text and a note on its encoding where that is not UTF-8. Raises GuideGenError where none fits."""
    data = path.read_bytes()
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16"), [f"{path.name} is UTF-16"]
    try:
        return data.decode("utf-8-sig"), []
    except UnicodeDecodeError as error:
        note = f"{path.name} is not UTF-8 (byte {error.start}); read as Windows-1252"
        try:
            return data.decode("cp1252"), [note]
        except UnicodeDecodeError:
            raise GuideGenError(f"{path}: neither UTF-8 nor UTF-16 nor Windows-1252; save it as UTF-8") from None


def _split_rows(path: Path, text: str) -> list[dict[str, str]]:
    if "\x00" in text:
        raise GuideGenError(f"{path}: holds NUL bytes, which no text table does; expected TSV or CSV")
    header = text.split("\n", 1)[0]
    delimiter = max("\t,;", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    names = [name.strip() for name in next(reader, [])]
    if len(names) < 2:
        raise GuideGenError(
            f"{path}: found the header {names}, expected at least two columns (tab, comma or semicolon)"
        )
    rows = []
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) > len(names):
            raise GuideGenError(f"{path}, line {reader.line_num}: {len(cells)} cells, the header has {len(names)}")
        rows.append(dict(zip(names, [*cells, *[""] * (len(names) - len(cells))], strict=True)))
    return rows


def choose_key(path: Path, rows: list[dict[str, str]], patients: Sequence[str]) -> str:
    """Return the column that holds the patient's id: of those with a usual name, the one that fits most patients.

    Raises:
        GuideGenError: no column has a usual name.
    """
    names = {normalise_column(name): name for name in reversed(rows[0])}
    candidates = [names[key] for key in PATIENT_COLUMNS if key in names]
    if not candidates:
        raise GuideGenError(
            f"{path}: no column with the patient's id; found {', '.join(rows[0])}; "
            f"one of {', '.join(PATIENT_COLUMNS)} is right"
        )
    known = {patient.strip().lower() for patient in patients}
    return max(candidates, key=lambda name: sum(row[name].strip().lower() in known for row in rows))
