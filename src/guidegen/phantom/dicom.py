"""DICOM CT series of a phantom, as scanners and archives store them."""

import hashlib
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from guidegen.phantom.paint import Grid
from guidegen.phantom.patient import Patient
from guidegen.statements import Phase, Sex

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
MANUFACTURER = "GuideGen phantom"


class Storage(Enum):
    """How a collection's scanner stores HU; all of them occur in real archives and none changes what is meant."""

    SIGNED = (1, 0, None)
    SIGNED_SHIFTED = (1, -1024, None)
    UNSIGNED = (0, -1024, None)
    PADDED = (1, 0, -2000)

    @property
    def pixel_representation(self) -> int:
        """0 unsigned, 1 signed."""
        return self.value[0]

    @property
    def intercept(self) -> int:
        """Rescale intercept; the slope is 1."""
        return self.value[1]

    @property
    def padding(self) -> int | None:
        """HU written outside the circular field of view, where the scanner measured nothing."""
        return self.value[2]


STORAGE = {
    "cptac_pda": Storage.PADDED,
    "tcga_kirc": Storage.UNSIGNED,
    "tcga_lusc": Storage.SIGNED_SHIFTED,
    "cptac_lscc": Storage.SIGNED_SHIFTED,
}
IMPLICIT = frozenset({"tcga_lihc"})
"""Collections stored in implicit VR."""


@dataclass(frozen=True)
class SeriesHeader:
    """What distinguishes one series of a study from the others."""

    name: str
    """Key of the series within the study, from which its UIDs are made."""
    number: int
    description: str
    image_type: tuple[str, ...] = ("ORIGINAL", "PRIMARY", "AXIAL")
    kernel: str = "STANDARD"
    phase: Phase | None = None
    thickness: float = 5.0


def make_uid(*parts: str | int) -> str:
    """Return a UID below 2.25 from the hash of `parts`."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def patient_uid(patient: Patient, *parts: str | int) -> str:
    """Return a UID of one of a patient's studies, series or instances."""
    return make_uid("guidegen phantom", patient.seed, patient.collection, patient.index, *parts)


def study_date(patient: Patient) -> str:
    """Return the date of the study, YYYYMMDD, shifted as de-identification does."""
    digest = hashlib.sha256(patient.patient_id.encode()).digest()
    return f"{1998 + digest[0] % 15}{1 + digest[1] % 12:02d}{1 + digest[2] % 28:02d}"


def make_common(patient: Patient, modality: str) -> Dataset:
    """Return the attributes that all objects of a patient's study share."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.StudyDate = study_date(patient)
    ds.StudyTime = "101500"
    ds.AccessionNumber = ""
    ds.Modality = modality
    ds.Manufacturer = MANUFACTURER
    ds.ReferringPhysicianName = ""
    first, last = patient.coverage
    ds.StudyDescription = f"CT {first}" if first is last else f"CT {first} to {last}"
    ds.PatientName = f"{patient.patient_id}^"
    ds.PatientID = patient.patient_id
    ds.PatientBirthDate = ""
    ds.PatientSex = "M" if patient.sex is Sex.MALE else "F"
    ds.PatientAge = f"{patient.age:03d}Y"
    ds.PatientIdentityRemoved = "YES"
    ds.DeidentificationMethod = "Synthetic phantom, no person"
    ds.StudyInstanceUID = patient_uid(patient, "study")
    ds.StudyID = ""
    ds.FrameOfReferenceUID = patient_uid(patient, "frame of reference")
    ds.PositionReferenceIndicator = ""
    return ds


BODY_PARTS = {
    "lung": "CHEST",
    "colon": "COLON",
    "rectum": "RECTUM",
    "kidney": "KIDNEY",
    "liver": "LIVER",
    "pancreas": "ABDOMEN",
}


def _make_series(
    patient: Patient, header: SeriesHeader, spacing: tuple[float, float], shape: tuple[int, int]
) -> Dataset:
    ds = make_common(patient, "CT")
    storage = STORAGE.get(patient.collection, Storage.SIGNED)
    ds.ImageType = list(header.image_type)
    ds.SOPClassUID = CTImageStorage
    ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = ds.StudyDate
    ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = f"1{header.number % 6}2000"
    ds.SeriesDescription = header.description
    ds.ManufacturerModelName = "Parametric torso"
    ds.SoftwareVersions = "1"
    if header.phase not in (None, Phase.NON_CONTRAST):
        ds.ContrastBolusAgent = "Iohexol 350"
        ds.ContrastBolusRoute = "IV"
    ds.BodyPartExamined = BODY_PARTS[patient.site]
    ds.SliceThickness = f"{header.thickness:g}"
    ds.KVP = "120"
    ds.GantryDetectorTilt = "0"
    ds.ConvolutionKernel = header.kernel
    ds.PatientPosition = "HFS"
    ds.SeriesInstanceUID = patient_uid(patient, "series", header.name)
    ds.SeriesNumber = header.number
    ds.AcquisitionNumber = 1
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows, ds.Columns = shape
    ds.PixelSpacing = [f"{s:.6g}" for s in spacing]
    ds.BitsAllocated = 16
    ds.BitsStored = 16 if storage.pixel_representation else 12
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = storage.pixel_representation
    if storage.padding is not None:
        ds.PixelPaddingValue = storage.padding - storage.intercept
    ds.WindowCenter, ds.WindowWidth = "40", "400"
    ds.RescaleIntercept = str(storage.intercept)
    ds.RescaleSlope = "1"
    ds.RescaleType = "HU"
    return ds


def write_series(
    folder: Path,
    patient: Patient,
    header: SeriesHeader,
    images: np.ndarray,
    positions: np.ndarray,
    orientation: tuple[float, ...],
    spacing: tuple[float, float],
) -> list[Dataset]:
    """Write one file per image below `folder/<SeriesInstanceUID>/`.

    Args:
        folder: the patient's folder.
        patient: whose series it is.
        header: what the series is.
        images: HU, shape (N, rows, columns).
        positions: ImagePositionPatient of each image, LPS mm, shape (N, 3).
        orientation: ImageOrientationPatient.
        spacing: PixelSpacing, between rows and between columns, mm.

    Returns:
        The headers of the images in the order of `images`, without pixels.
    """
    storage = STORAGE.get(patient.collection, Storage.SIGNED)
    syntax = ImplicitVRLittleEndian if patient.collection in IMPLICIT else ExplicitVRLittleEndian
    template = _make_series(patient, header, spacing, (images.shape[1], images.shape[2]))
    template.ImageOrientationPatient = [f"{value:g}" for value in orientation]
    target = folder / template.SeriesInstanceUID
    target.mkdir()
    stored = (images - storage.intercept).astype("<i2" if storage.pixel_representation else "<u2")
    if storage.padding is not None and orientation == AXIAL:
        stored[:, outside_view(stored.shape[1])] = storage.padding - storage.intercept
    headers = []
    for number, (image, position) in enumerate(zip(stored, positions, strict=True), start=1):
        ds = Dataset()
        ds.update(template)
        ds.SOPInstanceUID = patient_uid(patient, "series", header.name, "image", number)
        ds.InstanceNumber = number
        ds.ImagePositionPatient = [f"{value:.6f}".rstrip("0").rstrip(".") for value in position]
        ds.SliceLocation = ds.ImagePositionPatient[2]
        ds.file_meta = make_file_meta(ds, syntax)
        headers.append(Dataset())
        headers[-1].update(ds)
        headers[-1].file_meta = ds.file_meta
        ds.PixelData = image.tobytes()
        dcmwrite(target / f"{ds.SOPInstanceUID}.dcm", ds, enforce_file_format=True)
    return headers


def make_file_meta(ds: Dataset, syntax: UID) -> FileMetaDataset:
    """Return the file meta information of an object."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    meta.TransferSyntaxUID = syntax
    meta.ImplementationClassUID = UID(make_uid("guidegen phantom", "implementation"))
    return meta


def outside_view(size: int) -> np.ndarray:
    """Return which pixels of a square image lie outside the circle of the scan, shape (size, size)."""
    line = np.arange(size) - (size - 1) / 2
    return line[:, None] ** 2 + line[None, :] ** 2 > (size / 2) ** 2


def slice_axial(volume: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Return axial images (N, rows, columns) of a RAS+ volume, head first, and their positions in LPS, shape (N, 3)."""
    images = volume[::-1, ::-1, ::-1].transpose(2, 1, 0)
    x, y, z = grid.axes
    positions = np.column_stack([np.full(len(z), -x[-1]), np.full(len(z), -y[-1]), z[::-1]])
    return images, positions


def slice_coronal(volume: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Return coronal images (N, rows, columns), front first, and their positions in LPS."""
    images = volume[::-1, ::-1, ::-1].transpose(1, 2, 0)
    x, y, z = grid.axes
    positions = np.column_stack([np.full(len(y), -x[-1]), -y[::-1], np.full(len(y), z[-1])])
    return images, positions
