"""What a prompt can say: one typed schema for writing prompts, reading them, gates and adherence."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class Sex(StrEnum):
    FEMALE = "female"
    MALE = "male"


class Side(StrEnum):
    LEFT = "left"
    RIGHT = "right"


class Phase(StrEnum):
    """Contrast phase of a CT."""

    NON_CONTRAST = "non-contrast"
    ARTERIAL = "arterial"
    PORTAL_VENOUS = "portal venous"
    DELAYED = "delayed"


class Region(StrEnum):
    """Regions of the trunk from top to bottom; a covered range is a first and a last one."""

    CHEST = "chest"
    UPPER_ABDOMEN = "upper abdomen"
    ABDOMEN = "abdomen"
    PELVIS = "pelvis"


class Source(BaseModel):
    """Where a statement comes from: a table cell, a DICOM tag, a measurement on the label map, a report's sentence."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    """`table`, `dicom`, `measurement` or `report`."""
    name: str
    """File of the table, name of the DICOM attribute, of the measurement, or of the table or folder of reports."""
    field: str = ""
    """Column of the table."""
    row: str = ""
    """Row key of the table (the patient)."""
    value: str = ""
    """What stood there, as text; of a report the sentence."""


class Statements(BaseModel):
    """The typed content of one prompt; what is None is not stated."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    age: int | None = None
    """Years."""
    sex: Sex | None = None
    site: str | None = None
    """Organ of the cancer: lung, kidney, liver, pancreas, colon, rectum, …"""
    subsite: str | None = None
    """Part of the organ, e.g. `upper lobe`, `head`."""
    side: Side | None = None
    histology: str | None = None
    stage: str | None = None
    """Overall stage, e.g. `IIIB`."""
    t: str | None = None
    n: str | None = None
    m: str | None = None
    tumour: bool | None = None
    """True where a mass is visible in the label map, False where an accepted reader found none, None unknown."""
    tumour_size_mm: float | None = None
    """Largest diameter in mm."""
    phase: Phase | None = None
    coverage_first: Region | None = None
    coverage_last: Region | None = None
    absent: tuple[str, ...] = ()
    """Organs known to be missing: `gallbladder`, `left kidney`, `right kidney`, `uterus`."""
    smoking: str | None = None
    """`never`, `former` or `current`."""
