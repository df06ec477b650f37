"""CT series made by hand: every voxel and its place in space is known."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    generate_uid,
)

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
ROWS, COLUMNS = 36, 40


def make_pattern(slices: int, rows: int = ROWS, columns: int = COLUMNS) -> np.ndarray:
    """HU (N, rows, columns) in which no two voxels near each other are equal, from -1000 to 1400."""
    k, r, c = np.meshgrid(np.arange(slices), np.arange(rows), np.arange(columns), indexing="ij")
    return -1000 + (k * 397 + r * 89 + c * 31) % 2400


def make_ct(
    slices: int = 12,
    *,
    hu: np.ndarray | None = None,
    spacing: tuple[float, float] = (0.7, 0.8),
    step: float = 2.5,
    orientation: Sequence[float] = AXIAL,
    origin: tuple[float, float, float] = (-80.0, -95.5, 10.25),
    signed: bool = True,
    bits: int = 16,
    slope: float = 1.0,
    intercept: float = 0.0,
) -> list[Dataset]:
    """Return one dataset per slice, foot to head. `spacing` is between rows and between columns in mm."""
    pattern = make_pattern(slices) if hu is None else hu
    stored = np.rint((pattern - intercept) / slope)
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    normal = np.cross(row, column)
    series, study, frame = generate_uid(), generate_uid(), generate_uid()
    datasets = []
    for number, image in enumerate(stored, 1):
        ds = Dataset()
        ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, generate_uid()
        ds.SeriesInstanceUID, ds.StudyInstanceUID, ds.FrameOfReferenceUID = series, study, frame
        ds.PatientID, ds.PatientName, ds.PatientSex, ds.PatientAge = "P-1", "Doe^Jane", "F", "061Y"
        ds.Modality, ds.ImageType, ds.SeriesDescription = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"], "CHEST 2.5 B30f"
        ds.StudyDate, ds.StudyTime, ds.Manufacturer, ds.KVP = "20010203", "101500", "Maker", "120"
        ds.SeriesNumber, ds.InstanceNumber, ds.AcquisitionNumber = 3, number, 1
        ds.SliceThickness, ds.PixelSpacing = step, list(spacing)
        ds.ImageOrientationPatient = [float(f"{v:.9f}") for v in orientation]
        ds.ImagePositionPatient = [float(f"{v:.6f}") for v in np.array(origin) + normal * step * (number - 1)]
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.Rows, ds.Columns = image.shape
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, bits, bits - 1, int(signed)
        ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = slope, intercept, "HU"
        ds.PixelData = image.astype("<i2" if signed else "<u2").tobytes()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        datasets.append(ds)
    return datasets


def to_bytes(ds: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """Return the file of a dataset in an uncompressed, deflated or compressed transfer syntax."""
    ds = dcmread(io.BytesIO(_write(ds, ExplicitVRLittleEndian)))
    if syntax == ExplicitVRBigEndian:
        ds.PixelData = np.frombuffer(ds.PixelData, "<i2").astype(">i2").tobytes()
    elif syntax not in (ExplicitVRLittleEndian, ImplicitVRLittleEndian, "1.2.840.10008.1.2.1.99"):
        ds.compress(syntax, generate_instance_uid=False)
    return _write(ds, syntax)


def _write(ds: Dataset, syntax: str) -> bytes:
    stream = io.BytesIO()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    dcmwrite(stream, ds, enforce_file_format=True)
    return stream.getvalue()


def write_files(folder: Path, datasets: Sequence[Dataset]) -> Path:
    """Write each dataset to a file of the folder and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, ds in enumerate(datasets, 1):
        (folder / f"IM{number:04d}").write_bytes(to_bytes(ds))
    return folder
