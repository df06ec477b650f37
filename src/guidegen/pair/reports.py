"""Pathology reports as a source of statements: found by patient, reduced to a few sentences, joined to the record."""

import hashlib
from pathlib import Path

from guidegen.atomic import hash_file
from guidegen.errors import GuideGenError
from guidegen.index.pseudonyms import read_private
from guidegen.pair.clinical import choose_key, read_rows, read_text
from guidegen.pair.record import PatientRecord
from guidegen.pair.sentences import select_sentences
from guidegen.pair.settings import ReportSettings
from guidegen.statements import Source
from guidegen.study import Study


def read_reports(study: Study, collection: str, patients: list[str]) -> dict[str, PatientRecord]:
    """Return what the reports of a collection state, by patient; empty where the config names no reports.

    The texts stay where they are: only sentences that can identify nobody are taken from them.

    Raises:
        GuideGenError: folder, table or column is missing, or no report belongs to a patient of the collection.
    """
    settings = study.config.pair.reports.get(collection)
    if settings is None:
        return {}
    path = locate_reports(study, settings)
    real = _find_real_ids(study, collection)
    wanted = {real.get(patient, patient).strip().lower(): patient for patient in patients}
    texts: dict[str, list[str]] = {}
    for patient, text in _read_texts(path, settings, list(wanted)):
        if patient.strip().lower() in wanted:
            texts.setdefault(wanted[patient.strip().lower()], []).append(text)
    if patients and not texts:
        raise GuideGenError(
            f"pair.reports.{collection}: {path} has no report of any of {len(patients)} patients; expected "
            + (f"files named as they are, e.g. {patients[0]}.txt" if path.is_dir() else "their ids in the key column")
        )
    return {
        patient: build_record("\n".join(found), patient, path.name, settings.column) for patient, found in texts.items()
    }


def hash_reports(study: Study, collection: str) -> str:
    """Return a hash of the collection's reports, "" where the config names none."""
    settings = study.config.pair.reports.get(collection)
    if settings is None:
        return ""
    path = locate_reports(study, settings)
    files = sorted(path.glob("*.txt")) if path.is_dir() else [path]
    return hashlib.sha256("\n".join(f"{file.name} {hash_file(file)}" for file in files).encode()).hexdigest()[:16]


def locate_reports(study: Study, settings: ReportSettings) -> Path:
    """Return the folder or table of reports. Raises GuideGenError where it is missing or the column does not fit it."""
    path = study.root / settings.path.expanduser()
    if not path.exists():
        raise GuideGenError(f"pair.reports: {path}: no such folder or table")
    if path.is_dir() == bool(settings.column):
        found = "a folder, which has no columns" if settings.column else "a table"
        raise GuideGenError(
            f"pair.reports: {path} is {found}; `column` names the text column of a table, and only that"
        )
    return path


def build_record(report: str, patient: str, name: str, column: str) -> PatientRecord:
    """Read one patient's reports; where sentences say different things of an attribute, that is a conflict."""
    record = PatientRecord()
    found: dict[str, dict[object, str]] = {}
    for sentence in select_sentences(report):
        for attribute, value in sentence.statements.items():
            found.setdefault(attribute, {}).setdefault(value, sentence.text)
    for attribute, values in found.items():
        values = _keep_specific(values)
        if len(values) > 1:
            told = " / ".join(f"“{text}”" for text in dict.fromkeys(values.values()))
            record.conflicts.append(f"{attribute}: {name} says different things of {patient}: {told}")
            continue
        ((value, text),) = values.items()
        record.values[attribute] = value
        record.sources[attribute] = Source(kind="report", name=name, field=column, row=patient, value=text)
    return record


def merge_report(record: PatientRecord, report: PatientRecord) -> None:
    """Fill in what the clinical tables do not say; where they say something else they are right, and it is reported."""
    contested = {text.split(":")[0] for text in record.conflicts}
    for attribute, value in report.values.items():
        source = report.sources[attribute]
        known = record.values.get(attribute)
        if known is None and attribute not in contested:
            record.values[attribute] = value
            record.sources[attribute] = source
        elif known is not None and not _agree(attribute, known, value):
            table = record.sources[attribute]
            record.conflicts.append(
                f"{attribute}: {table.name} {table.field} says {table.value}, {source.name} says {value}"
            )
    record.conflicts += report.conflicts


def _keep_specific(values: dict[object, str]) -> dict[object, str]:
    """Drop what a longer name among the values contains: `adenocarcinoma` beside `ductal adenocarcinoma`."""
    return {
        value: text
        for value, text in values.items()
        if not any(isinstance(value, str) and value != other and value in str(other) for other in values)
    }


def _agree(attribute: str, known: object, told: object) -> bool:
    """`T2` and `pT2` agree, `ductal adenocarcinoma` and `adenocarcinoma` do, sizes within 2 mm do."""
    if isinstance(known, float | int) and isinstance(told, float | int):
        return abs(known - told) <= 2
    first, second = str(known), str(told)
    if attribute in ("t", "n", "m"):
        return first.lstrip("cpyr") == second.lstrip("cpyr")
    return first == second or (attribute == "histology" and (first in second or second in first))


def _find_real_ids(study: Study, collection: str) -> dict[str, str]:
    """Real patient id by pseudonym; empty for public collections."""
    local = study.config.index.local.get(collection)
    if local is None or not local.private:
        return {}
    return {row["patient_id"]: row["source_patient_id"] for row in read_private(study, collection)}


def _read_texts(path: Path, settings: ReportSettings, patients: list[str]) -> list[tuple[str, str]]:
    if path.is_dir():
        return [(file.stem, read_text(file)[0]) for file in sorted(path.glob("*.txt"))]
    rows, _ = read_rows(path)
    if rows and settings.column not in rows[0]:
        raise GuideGenError(f"{path}: no column '{settings.column}'; found {', '.join(rows[0])}")
    key = choose_key(path, rows, patients) if rows else ""
    return [(row[key], row[settings.column]) for row in rows]
