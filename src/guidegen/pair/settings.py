"""Config section of the phase `pair`."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from guidegen.section import Section


class ReportSettings(Section):
    """Pathology reports of one collection. They stay where they are: only sentences of clinical words are taken."""

    path: Path
    """Folder with `<patient id>.txt`, or a table (TSV, CSV); relative to the study."""
    column: str = ""
    """Column of the table that holds the text."""


class PairSettings(Section):
    """Which statements a prompt makes, and in how many wordings."""

    variants: int = Field(4, ge=0)
    """Differently worded prompts per case besides the canonical one."""
    pathology_size: Literal["leave_out", "state"] = "leave_out"
    """Whether the clinical table's tumour size is stated; only right where the CT precedes surgery."""
    age_tolerance_years: float = Field(2.0, ge=0)
    """Ages of table and DICOM header that differ by more than this are reported as a conflict."""
    reports: dict[str, ReportSettings] = {}
    """Pathology reports by collection, e.g. `{tcga_lihc: {path: /data/reports.tsv, column: text}}`; off by default."""
    columns: dict[str, tuple[str, ...]] = {}
    """Further column names of a lab's own clinical table by attribute, e.g. `{age: [alter], sex: [geschlecht]}`."""
