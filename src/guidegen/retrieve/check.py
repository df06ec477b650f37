"""Every file is parsed and checked before it counts."""

import gzip
import io
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import BinaryIO

import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID, ExplicitVRBigEndian

from guidegen.convert.slices import LENGTH_BYTES, PIXEL_DATA_TAGS
from guidegen.errors import ItemError
from guidegen.index.settings import CT_IMAGE_STORAGE

Opener = Callable[[], BinaryIO]

SOP_CLASSES = {
    "CT": (CT_IMAGE_STORAGE, ""),
    "SEG": ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"),
    "RTSTRUCT": ("1.2.840.10008.5.1.4.1.1.481.3",),
}
"""Accepted SOP Class UIDs by modality; some de-identified local CT has an empty one."""
TAGS = [
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "InstanceNumber",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "NumberOfFrames",
    "BitsAllocated",
]


@dataclass(frozen=True)
class Expected:
    """What the index says about a series. `size` is its bytes, None where the source's figure is not exact."""

    case: str
    series_uid: str
    modality: str
    format: str
    instances: int
    size: int | None = None


@dataclass(frozen=True)
class CheckedFile:
    """A DICOM file that belongs to its series."""

    name: str
    size: int
    instance_number: int
    sop_uid: str


def check_series(files: Mapping[str, Opener], expected: Expected) -> list[str]:
    """Return the names of a series' files in order of instance number, then SOP Instance UID.

    Args:
        files: name of each file, and what opens it. Of an uncompressed image the header alone is read.
        expected: what the index says.

    Raises:
        ItemError: a file cannot be parsed, is cut off, is of another series or class or came twice, or count or size
            differ from the index.
    """
    if expected.format == "nifti":
        return [_check_nifti(name, opener, expected) for name, opener in files.items()]
    checked = [_check_dicom(name, opener, expected) for name, opener in files.items()]
    if len(checked) != expected.instances:
        raise ItemError(
            f"{expected.case}: series {expected.series_uid} has {len(checked)} files, "
            f"the index says {expected.instances}"
        )
    size = sum(file.size for file in checked)
    if expected.size is not None and size != expected.size:
        raise ItemError(f"{expected.case}: series has {size} bytes, the index says {expected.size}")
    seen: dict[str, str] = {}
    for file in checked:
        if file.sop_uid and file.sop_uid in seen:
            raise ItemError(f"{expected.case}: {file.name} and {seen[file.sop_uid]} are one instance, {file.sop_uid}")
        seen[file.sop_uid] = file.name
    checked.sort(key=lambda file: (file.instance_number, file.sop_uid, file.name))
    return [file.name for file in checked]


def _check_dicom(name: str, opener: Opener, expected: Expected) -> CheckedFile:
    try:
        with opener() as stream:
            header = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=TAGS)  # type: ignore[arg-type]
            uid = str(header.get("SeriesInstanceUID") or "")
            sop_class = str(header.get("SOPClassUID") or "")
            number = header.get("InstanceNumber")
            pixels = None if expected.modality == "RTSTRUCT" else _find_pixels(stream, header)
            size = stream.seek(0, io.SEEK_END)
    except (InvalidDicomError, EOFError, ValueError, KeyError, AttributeError, OSError, zlib.error) as error:
        raise ItemError(f"{expected.case}: {name} is no readable DICOM file: {error}") from None
    if uid != expected.series_uid and (uid or not expected.series_uid.startswith("2.25.")):
        raise ItemError(f"{expected.case}: {name} belongs to series '{uid}', expected {expected.series_uid}")
    if sop_class not in SOP_CLASSES[expected.modality]:
        raise ItemError(f"{expected.case}: {name} has SOP class '{sop_class}', expected {expected.modality}")
    if pixels is not None:
        _check_pixels(name, header, pixels, expected)
    return CheckedFile(name, size, int(number) if number is not None else 0, str(header.get("SOPInstanceUID") or ""))


def _find_pixels(stream: BinaryIO, header: pydicom.Dataset) -> bytes | range:
    """Return the pixel data of a file read up to them; where they are not encoded, the places of their bytes."""
    length_bytes = LENGTH_BYTES.get(header.file_meta.TransferSyntaxUID)
    if length_bytes is None:
        stream.seek(0)
        found = pydicom.dcmread(stream, specific_tags=["PixelData"])  # type: ignore[arg-type]
        return found.get("PixelData") or b""
    element = stream.read(length_bytes)
    if element[:4] not in PIXEL_DATA_TAGS:
        return b""
    order = "big" if header.file_meta.TransferSyntaxUID == ExplicitVRBigEndian else "little"
    start, end = stream.tell(), stream.seek(0, io.SEEK_END)
    return range(start, min(end, start + int.from_bytes(element[-4:], order)))


def _check_pixels(name: str, header: pydicom.Dataset, pixels: bytes | range, expected: Expected) -> None:
    syntax = UID(header.file_meta.TransferSyntaxUID)
    if not pixels:
        raise ItemError(f"{expected.case}: {name} has no pixel data")
    if isinstance(pixels, bytes) and syntax.is_compressed and not syntax.is_deflated:
        if not pixels.rstrip(b"\0").endswith(b"\xfe\xff\xdd\xe0") and b"\xfe\xff\x00\xe0" not in pixels[:8]:
            raise ItemError(f"{expected.case}: {name} has pixel data without the items of {syntax.name}")
        return
    frames = int(header.get("NumberOfFrames") or 1) * int(header.get("SamplesPerPixel") or 1)
    bits = int(header.Rows) * int(header.Columns) * frames * int(header.BitsAllocated)
    if len(pixels) < (bits + 7) // 8:
        raise ItemError(f"{expected.case}: {name} is cut off: {len(pixels)} of {(bits + 7) // 8} bytes of pixel data")


def _check_nifti(name: str, opener: Opener, expected: Expected) -> str:
    try:
        with opener() as stream:
            if name.endswith(".gz"):
                gzip.decompress(stream.read())
    except (OSError, EOFError, zlib.error) as error:
        raise ItemError(f"{expected.case}: {name} is cut off or no gzip file: {error}") from None
    return name
