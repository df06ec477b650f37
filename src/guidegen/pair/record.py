"""One typed record per patient, each value with the cell that it comes from."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from guidegen.pair.clinical import Cell, ClinicalTable, find_patient, list_values, normalise_column
from guidegen.pair.vocabulary import HISTOLOGIES, READ_HISTOLOGIES, SITES, SUBSITES
from guidegen.statements import Sex, Side, Source

COLUMNS: dict[str, tuple[str, ...]] = {
    "age": ("age_at_index", "age_at_initial_pathologic_diagnosis", "age", "patient_age", "age_years", "age_at_scan"),
    "age_days": ("age_at_diagnosis", "days_to_birth", "birth_days_to", "age_in_days", "age_days"),
    "sex": ("gender", "sex", "sex_at_birth", "patient_sex"),
    "site": (
        "tissue_or_organ_of_origin",
        "primary_site",
        "site_of_resection_or_biopsy",
        "tumor_site",
        "tumour_site",
        "site",
    ),
    "side": ("laterality", "tumor_laterality", "tumour_laterality", "side"),
    "histology": ("primary_diagnosis", "histology_diagnosis", "histological_type", "histologic_type", "histology"),
    "stage": (
        *("ajcc_pathologic_stage", "ajcc_pathologic_tumor_stage", "tumor_stage_pathological", "pathologic_stage"),
        *("ajcc_clinical_stage", "clinical_stage", "tumor_stage", "stage"),
    ),
    "t": ("ajcc_pathologic_t", "pathologic_staging_primary_tumor_pt", "pathologic_t", "ajcc_clinical_t", "t_stage"),
    "n": (
        "ajcc_pathologic_n",
        "pathologic_staging_regional_lymph_nodes_pn",
        "pathologic_n",
        "ajcc_clinical_n",
        "n_stage",
    ),
    "m": (
        "ajcc_pathologic_m",
        "pathologic_staging_distant_metastasis_pm",
        "pathologic_m",
        "ajcc_clinical_m",
        "m_stage",
    ),
    "size_mm": (
        *("tumor_size_cm", "tumour_size_cm", "tumor_size_mm", "tumour_size_mm", "tumor_size", "tumour_size"),
        *("tumor_largest_dimension_diameter", "greatest_tumor_dimension"),
    ),
    "smoking": ("tobacco_smoking_status", "tobacco_smoking_history", "smoking_status", "smoking_history", "smoking"),
    "history": (
        *("medical_condition", "medical_history", "past_medical_history", "surgical_history", "comorbidities"),
        *("comorbidity", "prior_surgery", "history"),
    ),
}
"""Column names by attribute, normalised, the most trusted first; attributes are those of the record."""
DAYS_PER_YEAR = 365.25
OPERATIONS = (
    (r"cholecystectom", "gallbladder"),
    (r"hysterectom", "uterus"),
    (r"splenectom", "spleen"),
    (r"(?<!partial )left (?:radical )?nephrectom|nephrectomy[ ,]*\(?left", "left kidney"),
    (r"(?<!partial )right (?:radical )?nephrectom|nephrectomy[ ,]*\(?right", "right kidney"),
)


@dataclass
class PatientRecord:
    """What the clinical table says about a patient; an attribute without a value is missing in both mappings."""

    values: dict[str, Any] = field(default_factory=dict)
    """`age` (years), `sex`, `site`, `subsite`, `side`, `histology`, `stage`, `t`, `n`, `m`, `size_mm`, `smoking`,
    `absent` (tuple of organs)."""
    sources: dict[str, Source] = field(default_factory=dict)
    conflicts: list[str] = field(default_factory=list)


def build_record(table: ClinicalTable, patient_id: str, more_columns: Mapping[str, Sequence[str]]) -> PatientRecord:
    """Merge the rows of a patient into one record.

    Rows that say different things about one attribute are a conflict: it is reported, and the attribute left out,
    except for ages within a year of each other.
    """
    record, rows = PatientRecord(), find_patient(table, patient_id)
    if not rows:
        return record
    _read_age(record, table, patient_id, rows, more_columns)
    for attribute, parse in PARSERS.items():
        cells = list_values(rows, _columns(attribute, more_columns))
        _store(record, attribute, [(parse(cell), cell) for cell in cells], table, patient_id)
    _read_site(record, table, patient_id, rows, more_columns)
    _read_history(record, table, patient_id, rows, more_columns)
    return record


def _columns(attribute: str, more: Mapping[str, Sequence[str]]) -> list[str]:
    return [*(normalise_column(name) for name in more.get(attribute, ())), *COLUMNS[attribute]]


def _store(
    record: PatientRecord, attribute: str, found: list[tuple[Any, Cell]], table: ClinicalTable, patient: str
) -> None:
    found = [(value, cell) for value, cell in found if value is not None]
    values = list(dict.fromkeys(value for value, _ in found))
    if len(values) > 1:
        cells = " / ".join(dict.fromkeys(f"{cell.column}={cell.value}" for _, cell in found))
        record.conflicts.append(f"{attribute}: {table.name} has different rows for {patient}: {cells}")
    elif values:
        record.values[attribute] = values[0]
        record.sources[attribute] = _cite(table, patient, found[0][1])


def _cite(table: ClinicalTable, patient: str, cell: Cell) -> Source:
    return Source(kind="table", name=table.name, field=cell.column, row=patient, value=cell.value)


def _read_age(
    record: PatientRecord,
    table: ClinicalTable,
    patient: str,
    rows: Sequence[dict[str, str]],
    more: Mapping[str, Sequence[str]],
) -> None:
    years = [(read_age(c.value), c) for c in list_values(rows, _columns("age", more))]
    days = [(read_age_days(c.value), c) for c in list_values(rows, _columns("age_days", more))]
    known = [(value, cell) for value, cell in [*years, *days] if value is not None]
    if not known:
        return
    values = [value for value, _ in known]
    if max(values) - min(values) >= 2:
        cells = " / ".join(dict.fromkeys(f"{cell.column}={cell.value}" for _, cell in known))
        record.conflicts.append(f"age: {table.name} has different ages for {patient}: {cells}")
        return
    record.values["age"] = int(known[0][0])
    record.sources["age"] = _cite(table, patient, known[0][1])


def read_age(text: str) -> float | None:
    """Return an age in years from `68`, `68 years`, `816 months`, `24820 days`, `068Y`; a bare 24820 is days, too."""
    match = re.fullmatch(r"\s*(\d+(?:[.,]\d+)?)\s*([a-z]*)\.?\s*", text.lower())
    if not match:
        return None
    value, unit = float(match[1].replace(",", ".")), match[2]
    if unit.startswith("d") or (not unit and value > 150):
        value /= DAYS_PER_YEAR
    elif unit.startswith("m"):
        value /= 12
    elif unit.startswith("w"):
        value *= 7 / DAYS_PER_YEAR
    elif unit and not unit.startswith("y"):
        return None
    return value if 0 < value <= 120 else None


def read_age_days(text: str) -> float | None:
    """Return an age in years from a column of days (`24267`, or `-24267` days to birth)."""
    try:
        value = abs(float(text))
    except ValueError:
        return read_age(text)
    years = value / DAYS_PER_YEAR if value > 150 else value
    return years if 0 < years <= 120 else None


def _parse_sex(cell: Cell) -> Sex | None:
    return {
        "m": Sex.MALE,
        "male": Sex.MALE,
        "man": Sex.MALE,
        "f": Sex.FEMALE,
        "female": Sex.FEMALE,
        "w": Sex.FEMALE,
    }.get(cell.value.strip().lower())


def _parse_side(cell: Cell) -> Side | None:
    return {"left": Side.LEFT, "right": Side.RIGHT, "l": Side.LEFT, "r": Side.RIGHT}.get(cell.value.strip().lower())


def _parse_histology(cell: Cell) -> str | None:
    """`Squamous cell carcinoma, keratinizing, NOS` → `keratinizing squamous cell carcinoma`; `HCC` in full."""
    text = re.sub(r",?\s*\bNOS\b", "", cell.value, flags=re.I).strip(" ,").lower()
    text = re.sub(r"\s*\([^)]*\)", "", text)
    short = {a.lower(): name for name, abbreviations in HISTOLOGIES.items() for a in abbreviations}
    text = READ_HISTOLOGIES.get(text) or short.get(text) or text
    head, *rest = [part.strip() for part in text.split(",")]
    text = " ".join([*rest, head])
    for words in SITES.values():
        if text not in HISTOLOGIES:
            text = text.removeprefix(f"{words.noun} ").removeprefix(f"{words.adjective} ")
    return READ_HISTOLOGIES.get(text, text) or None


def _parse_stage(cell: Cell) -> str | None:
    match = re.fullmatch(r"(?:ajcc\s+)?(?:stage\s*)?(0|iv|iii|ii|i|[1-4])\s*([abc][123]?)?", cell.value.strip().lower())
    if not match:
        return None
    numeral = {"1": "I", "2": "II", "3": "III", "4": "IV"}.get(match[1], match[1].upper())
    return numeral + (match[2] or "").upper()


def _parse_tnm(letter: str) -> Callable[[Cell], str | None]:
    pattern = re.compile(rf"([cpyr]{{0,2}}){letter}?([0-4][a-d]?|is)(?:\s*\(.*\))?", re.I)

    def parse(cell: Cell) -> str | None:
        match = pattern.fullmatch(cell.value.strip())
        return f"{match[1].lower()}{letter}{match[2].lower()}" if match else None

    return parse


def _parse_size(cell: Cell) -> float | None:
    """Largest size in mm; a unit in the cell goes before the unit in the column's name, bare numbers are cm."""
    numbers = [float(text.replace(",", ".")) for text in re.findall(r"\d+(?:[.,]\d+)?", cell.value)]
    if not numbers:
        return None
    text = f"{cell.value} ".lower()
    column = normalise_column(cell.column)
    millimetres = "mm" in text or ("cm" not in text and column.endswith("_mm"))
    size = max(numbers) * (1 if millimetres else 10)
    return round(size, 1) if 0 < size <= 400 else None


def _parse_smoking(cell: Cell) -> str | None:
    text = cell.value.lower()
    codes = {"1": "never", "2": "current", "3": "former", "4": "former", "5": "former"}
    if text in codes:
        return codes[text]
    if re.search(r"non[- ]?smoker|never", text):
        return "never"
    if re.search(r"reformed|former|ex-?smoker|quit|stopped", text):
        return "former"
    return "current" if re.search(r"current|active|smoker", text) else None


PARSERS: dict[str, Callable[[Cell], Any]] = {
    "sex": _parse_sex,
    "side": _parse_side,
    "histology": _parse_histology,
    "stage": _parse_stage,
    "t": _parse_tnm("T"),
    "n": _parse_tnm("N"),
    "m": _parse_tnm("M"),
    "size_mm": _parse_size,
    "smoking": _parse_smoking,
}


def split_site(text: str) -> tuple[str | None, str | None, str | None]:
    """Return site, subsite and side in `Upper lobe, lung`, `Head of pancreas`, `Kidney, NOS`, `Left kidney` or `head`.

    A part that several organs have, without its organ, gives no site.
    """
    words = re.sub(r"\bNOS\b", "", text, flags=re.I).lower().replace("caecum", "cecum").strip(" ,")
    side = next((side for side in ("left", "right") if re.search(rf"\b{side}\b", words)), None)
    # The flexures are the colon's, not the liver's and the spleen's.
    organs = re.sub(r"\b(?:hepatic|splenic)(?= flexure\b)", "", words)
    site = None
    for name, entry in SITES.items():
        names = "|".join(re.escape(n) for n in (entry.noun, entry.adjective, *entry.others))
        if re.search(rf"(?<![\w])(?:{names})(?![\w])", organs) and not (name == "urinary bladder" and "gall" in words):
            site = name
            break
    for organ in [site] if site else list(SUBSITES):
        parts = sorted(SUBSITES.get(organ, ()), key=len, reverse=True)
        part = next((p for p in parts if re.search(rf"\b{p.removesuffix(' colon')}\b", words)), None)
        if part:
            unique = sum(part in others for others in SUBSITES.values()) == 1 and part not in ("head", "tail", "dome")
            return site or (organ if unique else None), part, side
    return site, None, side


def _read_site(
    record: PatientRecord,
    table: ClinicalTable,
    patient: str,
    rows: Sequence[dict[str, str]],
    more: Mapping[str, Sequence[str]],
) -> None:
    cells = list_values(rows, _columns("site", more))
    found = [(split_site(cell.value), cell) for cell in cells]
    _store(record, "site", [(parts[0], cell) for parts, cell in found], table, patient)
    _store(record, "subsite", [(parts[1], cell) for parts, cell in found], table, patient)
    if "side" not in record.values:
        _store(record, "side", [(Side(parts[2]) if parts[2] else None, cell) for parts, cell in found], table, patient)


def _read_history(
    record: PatientRecord,
    table: ClinicalTable,
    patient: str,
    rows: Sequence[dict[str, str]],
    more: Mapping[str, Sequence[str]],
) -> None:
    for cell in list_values(rows, _columns("history", more)):
        for pattern, organ in OPERATIONS:
            absent = record.values.get("absent", ())
            if organ not in absent and re.search(pattern, cell.value.lower()):
                record.values["absent"] = (*absent, organ)
                record.sources[f"absent.{organ}"] = _cite(table, patient, cell)
