"""One series as a source offers it, before selection."""

from dataclasses import dataclass

JPEG_SYNTAXES = ("1.2.840.10008.1.2.4.",)
"""Prefix of the transfer syntaxes of the JPEG family (DICOM PS3.6, annex A)."""


@dataclass(frozen=True, slots=True)
class Series:
    """What an index says about one series; nothing in it was checked against the files.

    `location` is a folder or file below the source's root, or an S3 prefix. `size` is in bytes. `target_uid` is the
    CT series that an annotation or label map belongs to, "" where the source does not say. `thickness_mm` is None where
    the source does not state it.
    """

    collection: str
    patient_id: str
    series_uid: str
    study_uid: str = ""
    modality: str = "CT"
    format: str = "dicom"
    role: str = "ct"
    description: str = ""
    body_part: str = ""
    study_date: str = ""
    series_number: str = ""
    sop_class: str = ""
    transfer_syntax: str = ""
    instances: int = 0
    size: int = 0
    thickness_mm: float | None = None
    licence: str = ""
    doi: str = ""
    analysis_result: str = ""
    algorithm_type: str = ""
    crdc_series_uuid: str = ""
    location: str = ""
    target_uid: str = ""

    @property
    def is_jpeg(self) -> bool:
        """Whether its pixels are compressed by a JPEG transfer syntax."""
        return self.transfer_syntax.startswith(JPEG_SYNTAXES)


@dataclass(frozen=True)
class Offer:
    """All that a source has of one collection: CT series and what annotates them, and the source's version."""

    series: list[Series]
    version: str
