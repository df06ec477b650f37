"""The images of a series as they come from their files: header, place in space, and where the pixels lie."""

import hashlib
import io
import math
import zlib
from dataclasses import dataclass

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from guidegen.errors import ItemError

VOLUME_KEYS = ("AcquisitionNumber", "TemporalPositionIdentifier", "AcquisitionDateTime", "AcquisitionTime")
"""Attributes by which stacked volumes of one series can be told apart, the most explicit first."""
TAGS = [
    *("SOPClassUID", "SeriesInstanceUID", "ImageType", "NumberOfFrames", "SamplesPerPixel", "Rows", "Columns"),
    *("PhotometricInterpretation", "BitsAllocated", "BitsStored", "PixelRepresentation", "PixelSpacing"),
    *("PixelPaddingValue", "ImagePositionPatient", "ImageOrientationPatient", "RescaleSlope", "RescaleIntercept"),
    *VOLUME_KEYS,
]
NUMBERS = ("NumberOfFrames", "RescaleSlope", "RescaleIntercept", "AcquisitionNumber")
PIXEL_DATA_TAGS = (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10")
"""(7FE0,0010) in little and in big endian."""
LENGTH_BYTES = {ExplicitVRLittleEndian: 12, ExplicitVRBigEndian: 12, ImplicitVRLittleEndian: 8}
"""Bytes of tag, value representation and length before the pixels of an uncompressed file."""


@dataclass(frozen=True)
class Slice:
    """One image of a series.

    `shape` is rows and columns, `position` is in mm (LPS), `orientation` has the row and column direction, `spacing` is
    the distance between rows and between columns in mm. `pixel_start` is the offset of the pixels in `data`, None
    where they are compressed, deflated or big endian.
    """

    data: bytes
    header: pydicom.Dataset
    shape: tuple[int, int]
    position: np.ndarray
    orientation: np.ndarray
    spacing: tuple[float, float]
    pixel_start: int | None

    @property
    def stored(self) -> np.ndarray | None:
        """Stored values (rows, columns) as they lie in the file; None where they must be decoded first."""
        if self.pixel_start is None:
            return None
        rows, columns = self.shape
        kind = "<i2" if int(self.header.PixelRepresentation) else "<u2"
        return np.frombuffer(self.data, kind, rows * columns, self.pixel_start).reshape(rows, columns)


def parse_file(case: str, number: int, data: bytes) -> tuple[pydicom.Dataset, int]:
    """Return the header of a series' `number`th file, and the offset at which its pixel data element begins.

    Raises:
        ItemError: not a DICOM file, one that ends before its pixel data, or one with a number that is none.
    """
    stream = io.BytesIO(data)
    try:
        header = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=TAGS)  # type: ignore[arg-type]
        syntax = header.file_meta.TransferSyntaxUID
    except (InvalidDicomError, EOFError, ValueError, KeyError, AttributeError, OSError, zlib.error) as error:
        raise ItemError(f"{case}: file {number:05d}.dcm cannot be parsed: {error}") from None
    for keyword in NUMBERS:
        value = header.get(keyword)
        try:
            float(value or 0)
        except (TypeError, ValueError):
            raise ItemError(f"{case}: file {number:05d}.dcm: {keyword} is '{value}', expected one number") from None
    end = stream.tell()
    if syntax != DeflatedExplicitVRLittleEndian and data[end : end + 4] not in PIXEL_DATA_TAGS:
        raise ItemError(f"{case}: file {number:05d}.dcm has no pixel data")
    return header, end


def locate_slice(case: str, number: int, data: bytes, header: pydicom.Dataset, end: int) -> Slice:
    """Return the image of a series' `number`th file; `header` and `end` are from `parse_file`.

    Raises:
        ItemError: position, orientation or spacing is missing or unusable, or the pixel data is cut off.
    """
    try:
        position = [float(value) for value in header.ImagePositionPatient]
        orientation = [float(value) for value in header.ImageOrientationPatient]
        spacing = [float(value) for value in header.PixelSpacing]
        if (len(position), len(orientation), len(spacing)) != (3, 6, 2):
            raise ValueError("wrong number of values")
        if not all(map(math.isfinite, (*position, *orientation, *spacing))):
            raise ValueError("values that are no numbers")
    except (AttributeError, TypeError, ValueError) as error:
        raise ItemError(
            f"{case}: file {number:05d}.dcm has no usable position, orientation or spacing: {error}"
        ) from None
    try:
        shape = int(header.Rows), int(header.Columns)
        needed = shape[0] * shape[1] * int(header.SamplesPerPixel) * int(header.BitsAllocated) // 8
        int(header.PixelRepresentation)
    except (AttributeError, TypeError, ValueError) as error:
        raise ItemError(f"{case}: file {number:05d}.dcm does not say how its pixels are stored: {error}") from None
    syntax = header.file_meta.TransferSyntaxUID
    start = None
    if syntax in LENGTH_BYTES:
        start = end + LENGTH_BYTES[syntax]
        if len(data) - start < needed:
            found = max(0, len(data) - start)
            raise ItemError(f"{case}: file {number:05d}.dcm is cut off: {found} of {needed} bytes of pixel data")
    if syntax == ExplicitVRBigEndian:
        start = None
    directions = np.array(orientation).reshape(2, 3)
    return Slice(data, header, shape, np.array(position), directions, (spacing[0], spacing[1]), start)


def hash_pixels(item: Slice) -> str:
    """Return the sha256 of an image's pixel data as it is stored."""
    if (stored := item.stored) is not None:
        return hashlib.sha256(stored.data).hexdigest()
    dataset = pydicom.dcmread(io.BytesIO(item.data), specific_tags=["PixelData"])  # type: ignore[arg-type]
    return hashlib.sha256(dataset.PixelData).hexdigest()
