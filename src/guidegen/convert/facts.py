"""Acquisition facts that later phases need, from the headers; what a header does not say stays empty."""

import re
from typing import Any

import pydicom
from pydicom.multival import MultiValue

from guidegen.convert.phases import clean_agent, find_phase
from guidegen.statements import Phase

AGE = re.compile(r"(\d{3})([YMWD])")
YEARS_PER_UNIT = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
SEXES = {"F": "female", "M": "male"}
OLDEST = 120


def read_age(text: str) -> int | None:
    """Return a DICOM age string in whole years, None where it is empty, malformed or the placeholder `000Y`."""
    found = AGE.fullmatch(text.strip().upper())
    if not found:
        return None
    years = int(int(found.group(1)) * YEARS_PER_UNIT[found.group(2)])
    return years if 0 < years <= OLDEST or (years == 0 and found.group(2) != "Y") else None


def read_facts(header: pydicom.Dataset) -> dict[str, Any]:
    """Return the manifest columns that a CT header fills.

    Args:
        header: of one slice of the series.
    """
    phase, source = read_phase(header)
    return {
        "sex": SEXES.get(str(header.get("PatientSex") or "").strip().upper()),
        "age": read_age(str(header.get("PatientAge") or "")),
        "contrast_agent": clean_agent(_read_text(header, "ContrastBolusAgent")),
        "phase": phase.value if phase else "",
        "phase_source": source,
        "kernel": _read_text(header, "ConvolutionKernel"),
        "thickness_mm": _read_number(header, "SliceThickness"),
        "kvp": _read_number(header, "KVP"),
        "manufacturer": _read_text(header, "Manufacturer"),
        "description": _read_text(header, "SeriesDescription"),
        "body_part": _read_text(header, "BodyPartExamined"),
        "transfer_syntax": str(header.file_meta.TransferSyntaxUID),
    }


def read_phase(header: pydicom.Dataset) -> tuple[Phase | None, str]:
    """Return the contrast phase that the series description names, and the attribute's name.

    Protocol and study description are not read: they name what was planned for several series. A description that
    says "non-contrast" while an agent is stated contradicts itself and gives none.
    """
    phase = find_phase(_read_text(header, "SeriesDescription"))
    agent = clean_agent(_read_text(header, "ContrastBolusAgent"))
    enhanced = agent not in ("", "none")
    if phase is None or (phase is Phase.NON_CONTRAST and enhanced):
        return None, ""
    return phase, "SeriesDescription"


def _read_text(header: pydicom.Dataset, keyword: str) -> str:
    value = header.get(keyword)
    if value is None:
        return ""
    values = [str(part) for part in value] if isinstance(value, MultiValue) else [str(value)]
    return " ".join(" ".join(values).split())


def _read_number(header: pydicom.Dataset, keyword: str) -> float | None:
    try:
        return float(header.get(keyword))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
