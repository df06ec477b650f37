"""One patient of the archive: paint, write the series of one study, and tell what was written."""

import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset

from guidegen.errors import GuideGenError
from guidegen.labels import TUMOUR
from guidegen.phantom import dicom
from guidegen.phantom.canvas import Canvas
from guidegen.phantom.clinical import write_clinical_rows
from guidegen.phantom.paint import Grid, choose_grid, paint_canvas, read_source_ids, render_ct
from guidegen.phantom.patient import Patient
from guidegen.phantom.segmentation import Annotator, write_organs, write_tumour
from guidegen.phantom.truth import describe_truth, measure_tumour
from guidegen.seeds import derive_rng
from guidegen.statements import Phase

LICENCE = "CC0 1.0"
"""The phantoms are nobody's images, whatever the licence of the collection that they are named after."""

SIZES: dict[str, tuple[int, float]] = {"small": (72, 8.0), "demo": (104, 5.0)}
"""Pixels per row and slice spacing in mm, by `--size`."""

PHASE_NAMES: dict[Phase, tuple[str, ...]] = {
    Phase.NON_CONTRAST: ("WITHOUT CONTRAST", "NON-CONTRAST", "PRE-CONTRAST"),
    Phase.ARTERIAL: ("ARTERIAL", "ARTERIAL PHASE", "LATE ARTERIAL"),
    Phase.PORTAL_VENOUS: ("PORTAL VENOUS", "VENOUS PHASE", "PORTAL PHASE"),
    Phase.DELAYED: ("DELAYED", "3 MIN DELAY", "EXCRETORY"),
}
RANGE_NAMES = {
    "chest": "CHEST",
    "chest to upper abdomen": "CHEST/UPPER ABD",
    "abdomen": "ABDOMEN",
    "abdomen to pelvis": "ABD/PEL",
    "chest to pelvis": "CHEST/ABD/PEL",
}


@dataclass
class Written:
    """What one patient adds to the archive's tables."""

    series: list[dict[str, Any]] = field(default_factory=list)
    segmentations: list[dict[str, Any]] = field(default_factory=list)
    clinical: list[dict[str, str]] = field(default_factory=list)
    truth: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain containers."""
        return asdict(self)


@dataclass(frozen=True)
class _Work:
    folder: Path
    patient: Patient
    grid: Grid
    canvas: Canvas
    written: Written
    rng: np.random.Generator

    def register(self, header: Dataset, count: int) -> None:
        """Add the index row of a written series."""
        series = self.folder / header.SeriesInstanceUID
        size = sum(path.stat().st_size for path in series.iterdir())
        self.written.series.append(describe_series(self.patient, header, count, size))


def write_patient(folder: Path, patient: Patient, size: str) -> Written:
    """Write all series of a patient into an existing empty folder.

    Args:
        folder: gets one folder per series.
        patient: from `make_patient`.
        size: key of `SIZES`.

    Returns:
        The rows that the patient adds to the archive's tables.
    """
    pixels, spacing = SIZES[size]
    grid = choose_grid(patient, spacing, pixels)
    canvas = paint_canvas(patient, grid)
    rng = derive_rng(patient.seed, "phantom", patient.collection, patient.index, "series")
    work = _Work(folder, patient, grid, canvas, Written(), rng)
    hu = render_ct(canvas, patient, patient.phase, derive_rng(patient.seed, "noise", patient.collection, patient.index))
    headers = _write_main(work, hu)
    _write_scout(work, hu)
    _write_second(work)
    if patient.phase is not Phase.NON_CONTRAST and rng.random() < 0.6:
        _write_bolus_tracking(work)
    if rng.random() < 0.3:
        _write_reformat(work, hu)
    _write_segmentations(work, headers)
    tumour = measure_tumour(canvas.label == read_source_ids()[TUMOUR], grid)
    if patient.tumour and tumour["tumour_diameter_mm"] is None:
        raise GuideGenError(
            f"phantom: the tumour of {patient.patient_id} was painted over; this is a fault of the phantom"
        )
    work.written.clinical = write_clinical_rows(patient, tumour["tumour_diameter_mm"])
    work.written.truth = describe_truth(patient, grid, headers[0].SeriesInstanceUID) | tumour
    return work.written


def _name_series(work: _Work, phase: Phase) -> str:
    """Return a series description; about one in six says nothing about the phase, as on real scanners."""
    area = RANGE_NAMES[work.patient.range_name]
    thickness = f"{work.grid.spacing[2]:.1f}"
    if work.rng.random() < 0.16:
        return f"{area} {thickness} B30f"
    words = PHASE_NAMES[phase]
    return f"{area} {words[int(work.rng.integers(len(words)))]} {thickness}"


def _write_main(work: _Work, hu: np.ndarray) -> list[Dataset]:
    header = dicom.SeriesHeader(
        "main", 2, _name_series(work, work.patient.phase), phase=work.patient.phase, thickness=work.grid.spacing[2]
    )
    images, positions = dicom.slice_axial(hu, work.grid)
    return _write(work, header, images, positions, dicom.AXIAL, work.grid.spacing[:2])


def _write(
    work: _Work,
    header: dicom.SeriesHeader,
    images: np.ndarray,
    positions: np.ndarray,
    orientation: tuple[float, ...],
    spacing: tuple[float, float],
) -> list[Dataset]:
    headers = dicom.write_series(work.folder, work.patient, header, images, positions, orientation, spacing)
    work.register(headers[0], len(headers))
    return headers


def _write_scout(work: _Work, hu: np.ndarray) -> None:
    view = hu.astype(np.float32).mean(axis=1) * 2 + 900
    image = np.clip(view[::-1, ::-1].T[None], -1000, 2000).astype(np.int16)
    x, y, z = work.grid.axes
    description = ("SCOUT", "Topogram  0.6  T20s", "LOCALIZER")[work.patient.index % 3]
    header = dicom.SeriesHeader("scout", 1, description, ("ORIGINAL", "PRIMARY", "LOCALIZER"), "T20s", thickness=0.6)
    position = np.array([[-x[-1], -y[len(y) // 2], z[-1]]])
    _write(work, header, image, position, dicom.CORONAL, (work.grid.spacing[2], work.grid.spacing[0]))


def _write_second(work: _Work) -> None:
    """Write a second series that could be used as well: another phase, or the same with a sharp kernel."""
    patient, choice = work.patient, work.rng.random()
    rng = derive_rng(patient.seed, "noise", patient.collection, patient.index, "second")
    if choice < 0.28 and patient.phase is not Phase.NON_CONTRAST:
        hu = render_ct(work.canvas, patient, Phase.NON_CONTRAST, rng)
        name = _name_series(work, Phase.NON_CONTRAST)
        header = dicom.SeriesHeader("second", 3, name, phase=Phase.NON_CONTRAST, thickness=work.grid.spacing[2])
    elif choice > 0.88 and "chest" in patient.range_name:
        hu = render_ct(work.canvas, patient, patient.phase, rng, noise=24.0, blur=0.4)
        header = dicom.SeriesHeader(
            "second", 3, "CHEST 5.0 B70f LUNG", kernel="LUNG", phase=patient.phase, thickness=work.grid.spacing[2]
        )
    else:
        return
    images, positions = dicom.slice_axial(hu, work.grid)
    _write(work, header, images, positions, dicom.AXIAL, work.grid.spacing[:2])


def _write_bolus_tracking(work: _Work) -> None:
    patient = work.patient
    middle = work.grid.shape[2] // 2
    tissue = work.canvas.tissue[:, :, middle]
    rng = derive_rng(patient.seed, "noise", patient.collection, patient.index, "bolus")
    native, arterial = (patient.enhancement.table(phase) for phase in (Phase.NON_CONTRAST, Phase.ARTERIAL))
    shares = np.linspace(0, 0.9, 4)
    images = np.stack([((1 - s) * native + s * arterial)[tissue[::-1, ::-1].T] for s in shares])
    images = np.clip(images + rng.normal(0, 14, images.shape), -1024, 3071).astype(np.int16)
    x, y, z = work.grid.axes
    positions = np.repeat([[-x[-1], -y[-1], z[middle]]], len(images), axis=0)
    name = ("PreMonitoring", "SMART PREP SERIES", "Bolus tracking")[patient.index % 3]
    header = dicom.SeriesHeader("bolus", 4, name, phase=Phase.ARTERIAL, thickness=10.0)
    _write(work, header, images, positions, dicom.AXIAL, work.grid.spacing[:2])


def _write_reformat(work: _Work, hu: np.ndarray) -> None:
    images, positions = dicom.slice_coronal(hu, work.grid)
    header = dicom.SeriesHeader(
        "coronal", 5, "COR MPR", ("DERIVED", "SECONDARY", "REFORMATTED"), phase=work.patient.phase, thickness=8.0
    )
    spacing = (work.grid.spacing[2], work.grid.spacing[0])
    _write(work, header, images[::2], positions[::2], dicom.CORONAL, spacing)


def _write_segmentations(work: _Work, headers: list[Dataset]) -> None:
    ids = read_source_ids()
    labels, _ = dicom.slice_axial(work.canvas.label, work.grid)
    names = {number: name for name, number in ids.items()}
    organs = write_organs(work.folder, work.patient, labels, headers, names, 100)
    _register_segmentation(work, organs, headers)
    mask = labels == ids[TUMOUR]
    if mask.any():
        annotator = choose_annotator(work.rng)
        tumour = write_tumour(work.folder, work.patient, mask, headers, annotator, 101)
        _register_segmentation(work, tumour, headers)


def choose_annotator(rng: np.random.Generator) -> Annotator:
    """Draw who annotated a tumour: mostly a reader, sometimes a model."""
    draw = rng.random()
    if draw < 0.7:
        reader = int(rng.integers(1, 4))
        return Annotator("MANUAL", f"Reader{reader}^Expert", f"Tumour, expert reader {reader}")
    if draw < 0.85:
        return Annotator("SEMIAUTOMATIC", "region growing", "Tumour, corrected by a radiologist")
    return Annotator("AUTOMATIC", "tumour model", "Tumour, model output")


def _register_segmentation(work: _Work, seg: Dataset, headers: list[Dataset]) -> None:
    work.register(seg, 1)
    first = seg.SegmentSequence[0] if seg.SegmentationType == "BINARY" else seg.SegmentSequence[-1]
    algorithm = first.SegmentAlgorithmType
    name = first.SegmentationAlgorithmIdentificationSequence[0].AlgorithmName if algorithm != "MANUAL" else None
    work.written.segmentations.append(
        {
            "SeriesInstanceUID": seg.SeriesInstanceUID,
            "segmented_SeriesInstanceUID": headers[0].SeriesInstanceUID,
            "total_segments": len(seg.SegmentSequence) - (seg.SegmentationType == "LABELMAP" and _has_background(seg)),
            "AlgorithmType": algorithm,
            "AlgorithmName": name,
            "SegmentationType": seg.SegmentationType,
        }
    )


def _has_background(seg: Dataset) -> bool:
    return any(item.SegmentNumber == 0 for item in seg.SegmentSequence)


def describe_series(patient: Patient, header: Dataset, count: int, size: int) -> dict[str, Any]:
    """Return the row of `idc_index.parquet` of one series."""
    date = header.StudyDate
    identity = uuid.UUID(int=int(header.SeriesInstanceUID.removeprefix("2.25.")), version=4)
    day = f"{date[:4]}-{date[4:6]}-{date[6:]}"
    return {
        "collection_id": patient.collection,
        "analysis_result_id": None,
        "PatientID": patient.patient_id,
        "SeriesInstanceUID": str(header.SeriesInstanceUID),
        "StudyInstanceUID": str(header.StudyInstanceUID),
        "source_DOI": None,
        "PatientAge": header.PatientAge,
        "PatientSex": header.PatientSex,
        "StudyDate": day,
        "StudyDescription": header.get("StudyDescription"),
        "BodyPartExamined": header.get("BodyPartExamined"),
        "Modality": header.Modality,
        "SOPClassUID": str(header.SOPClassUID),
        "TransferSyntaxUID": str(header.file_meta.TransferSyntaxUID),
        "Manufacturer": header.Manufacturer,
        "ManufacturerModelName": header.ManufacturerModelName,
        "SeriesDate": day,
        "SeriesDescription": header.SeriesDescription,
        "SeriesNumber": str(header.SeriesNumber),
        "instanceCount": count,
        "license_short_name": LICENCE,
        "aws_bucket": None,
        "crdc_series_uuid": str(identity),
        "series_aws_url": None,
        "series_size_MB": round(size / 1e6, 6),
    }
