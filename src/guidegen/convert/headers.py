"""The header check: what a series must be before it is converted, from its DICOM headers alone."""

import hashlib
import io
import math
import zlib
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError

from guidegen.convert.settings import ConvertSettings
from guidegen.errors import ItemError, ItemExcluded

GEOMETRY_TOLERANCE = 1e-3
"""Differences of direction cosines and of relative pixel spacing that are rounding."""
TAGS = [
    *("SeriesInstanceUID", "ImageType", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "Rows"),
    *("Columns", "BitsAllocated", "PixelRepresentation", "PixelSpacing", "ImagePositionPatient", "PixelPaddingValue"),
    *("ImageOrientationPatient", "RescaleSlope", "RescaleIntercept"),
]
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Slice:
    """One image of a series; `position` is in mm (LPS), `orientation` has the row and column direction."""

    data: bytes
    header: pydicom.Dataset
    position: np.ndarray
    orientation: np.ndarray

    @property
    def pixel_spacing(self) -> tuple[float, float]:
        """Distance between rows and between columns in mm."""
        row, column = (float(value) for value in self.header.PixelSpacing)
        return row, column


@dataclass(frozen=True)
class Stack:
    """A regular stack of axial slices, from the first to the last along their normal.

    `affine` (4, 4) maps voxel indices (column, row, slice) to RAS in mm; `repairs` says what was mended.
    """

    slices: list[Slice]
    affine: np.ndarray
    repairs: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Columns, rows, slices."""
        first = self.slices[0].header
        return int(first.Columns), int(first.Rows), len(self.slices)


def check_headers(case: str, files: list[bytes], settings: ConvertSettings) -> Stack:
    """Check that the files of a series are one regular axial CT volume.

    Args:
        case: case id, for messages.
        files: the DICOM files.
        settings: tolerances, and what becomes of each irregularity.

    Raises:
        ItemExcluded: an irregularity that the config excludes.
        ItemError: one that it fails on, or a file that cannot be parsed.
    """
    check = _Check(case, settings)
    headers = [_parse(case, number, data) for number, data in enumerate(files, 1)]
    uids = {str(header.get("SeriesInstanceUID") or "") for header in headers}
    if len(uids) > 1:
        raise ItemError(f"{case}: {len(uids)} series in one: {', '.join(sorted(uids))}")
    check.require(not any(int(h.get("NumberOfFrames") or 1) > 1 for h in headers), "multi_frame", "multi-frame image")
    pairs = check.drop_localizers(list(zip(files, headers, strict=True)))
    slices = [_locate(case, number, data, header) for number, (data, header) in enumerate(pairs, 1)]
    check.require(len(slices) >= settings.min_slices, "too_few_slices", f"{len(slices)} slices")
    check.images(slices)
    check.rescale(slices)
    normal = check.orientation(slices)
    slices = check.duplicates(sorted(slices, key=lambda s: float(s.position @ normal)), normal)
    check.require(len(slices) >= settings.min_slices, "too_few_slices", f"{len(slices)} slices at different places")
    check.spacing(slices, normal)
    check.tilt(slices, normal)
    return Stack(slices, make_affine(slices), tuple(check.repairs))


class _Check:
    """Applies the policy and collects the repairs."""

    def __init__(self, case: str, settings: ConvertSettings) -> None:
        self.case, self.settings, self.repairs = case, settings, []

    def require(self, holds: bool, irregularity: str, found: str) -> None:
        if holds:
            return
        message = f"{irregularity}: {found}"
        if getattr(self.settings.irregular, irregularity) == "fail":
            raise ItemError(f"{self.case}: {message}")
        raise ItemExcluded(message)

    def mend(self, irregularity: str, found: str) -> None:
        """Note a repair, or raise where the policy is not to repair."""
        self.require(getattr(self.settings.irregular, irregularity) == "repair", irregularity, found)
        self.repairs.append(f"{irregularity}: {found}")

    def drop_localizers(self, pairs: list[tuple[bytes, pydicom.Dataset]]) -> list[tuple[bytes, pydicom.Dataset]]:
        kept = [pair for pair in pairs if "LOCALIZER" not in [str(v).upper() for v in pair[1].get("ImageType") or []]]
        if len(kept) < len(pairs):
            self.mend("localizer", f"{len(pairs) - len(kept)} of {len(pairs)} images are localizers")
        return kept

    def images(self, slices: list[Slice]) -> None:
        for item in slices:
            header = item.header
            form = (header.get("PhotometricInterpretation"), header.get("SamplesPerPixel"), header.get("BitsAllocated"))
            self.require(form == ("MONOCHROME2", 1, 16), "not_ct", f"image is {form}, expected MONOCHROME2, 1, 16 bit")
        sizes = Counter((int(s.header.Rows), int(s.header.Columns)) for s in slices)
        self.require(len(sizes) == 1, "slice_size", f"slices of {_list(sizes)} rows x columns")
        spacings = np.array([s.pixel_spacing for s in slices])
        even = np.all(np.abs(spacings - spacings[0]) <= GEOMETRY_TOLERANCE * spacings[0])
        self.require(bool(even and np.all(spacings > 0)), "slice_size", "pixel spacings differ between slices")

    def rescale(self, slices: list[Slice]) -> None:
        found = {(s.header.get("RescaleSlope"), s.header.get("RescaleIntercept")) for s in slices}
        self.require(len(found) == 1, "rescale", f"{len(found)} pairs of slope and intercept, expected one")
        stated = next(iter(found))
        slope, intercept = (math.nan if value is None else float(value) for value in stated)
        usable = math.isfinite(slope) and math.isfinite(intercept) and slope > 0
        self.require(usable, "rescale", f"slope {slope} and intercept {intercept}, both must be stated and sound")

    def orientation(self, slices: list[Slice]) -> np.ndarray:
        first = slices[0].orientation
        row, column = first
        skewed = abs(row @ row - 1) > 0.01 or abs(column @ column - 1) > 0.01 or abs(row @ column) > 0.01
        self.require(not skewed, "orientation", f"row {row.tolist()} and column {column.tolist()} are no directions")
        same = all(np.allclose(s.orientation, first, atol=GEOMETRY_TOLERANCE) for s in slices)
        self.require(same, "mixed_orientation", "slices have different orientations")
        normal = np.cross(row, column)
        normal /= np.linalg.norm(normal)
        angle = math.degrees(math.acos(min(1.0, abs(float(normal[2])))))
        name = ("sagittal", "coronal", "axial")[int(np.argmax(np.abs(normal)))]
        limit = self.settings.max_oblique_degrees
        self.require(angle <= limit, "orientation", f"{name}, {angle:.1f} degrees from axial, at most {limit:g}")
        return normal

    def duplicates(self, slices: list[Slice], normal: np.ndarray) -> list[Slice]:
        kept: list[Slice] = []
        near = self.settings.position_tolerance_mm
        twice = 0
        for item in slices:
            last = kept[-1] if kept else None
            if last is None or abs(float((item.position - last.position) @ normal)) > near:
                kept.append(item)
                continue
            same = _hash_pixels(item.data) == _hash_pixels(last.data)
            place = float(item.position @ normal)
            self.require(same, "stacked_volumes", f"different images at one position ({place:.2f} mm)")
            twice += 1
        if twice:
            self.mend("duplicate_slice", f"{twice} of {len(slices)} images are there twice")
        return kept

    def spacing(self, slices: list[Slice], normal: np.ndarray) -> None:
        places = np.array([float(s.position @ normal) for s in slices])
        gaps = np.diff(places)
        typical = float(np.median(gaps))
        fitted = np.linspace(places[0], places[-1], len(places))
        if np.max(np.abs(places - fitted)) <= self.settings.position_tolerance_mm:
            return
        ratios = gaps / typical
        whole = np.abs(gaps - np.round(ratios) * typical) <= 2 * self.settings.position_tolerance_mm
        missing = int(np.sum(np.round(ratios) - 1))
        if np.all(whole) and missing > 0 and np.min(np.round(ratios)) >= 1:
            self.require(False, "missing_slice", f"{missing} missing at a spacing of {typical:g} mm")
        self.require(False, "uneven_spacing", f"gaps from {gaps.min():g} to {gaps.max():g} mm")

    def tilt(self, slices: list[Slice], normal: np.ndarray) -> None:
        way = slices[-1].position - slices[0].position
        aside = float(np.linalg.norm(way - (way @ normal) * normal))
        degrees = math.degrees(math.atan2(aside, abs(float(way @ normal))))
        limit = self.settings.tilt_tolerance_mm
        self.require(aside <= limit, "gantry_tilt", f"{degrees:.1f} degrees, {aside:.1f} mm from first to last slice")


def make_affine(slices: list[Slice]) -> np.ndarray:
    """Return the affine (4, 4) from voxel indices (column, row, slice) to RAS in mm (DICOM PS3.3, C.7.6.2.1.1).

    The third column is the mean step from the first to the last slice.
    """
    first, last = slices[0], slices[-1]
    row_spacing, column_spacing = first.pixel_spacing
    affine = np.eye(4)
    affine[:3, 0] = first.orientation[0] * column_spacing
    affine[:3, 1] = first.orientation[1] * row_spacing
    affine[:3, 2] = (last.position - first.position) / (len(slices) - 1)
    affine[:3, 3] = first.position
    affine[:3] = LPS_TO_RAS @ affine[:3]
    return affine


def _parse(case: str, number: int, data: bytes) -> pydicom.Dataset:
    try:
        return pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True, specific_tags=TAGS)  # type: ignore[arg-type]
    except (InvalidDicomError, EOFError, ValueError, KeyError, AttributeError, OSError, zlib.error) as error:
        raise ItemError(f"{case}: file {number:05d}.dcm cannot be parsed: {error}") from None


def _locate(case: str, number: int, data: bytes, header: pydicom.Dataset) -> Slice:
    try:
        position = np.array([float(value) for value in header.ImagePositionPatient])
        orientation = np.array([float(value) for value in header.ImageOrientationPatient]).reshape(2, 3)
        spacing = [float(value) for value in header.PixelSpacing]
        if position.shape != (3,) or len(spacing) != 2 or not np.all(np.isfinite([*position, *orientation.flat])):
            raise ValueError("wrong number of values")
    except (AttributeError, TypeError, ValueError) as error:
        raise ItemError(
            f"{case}: file {number:05d}.dcm has no usable position, orientation or spacing: {error}"
        ) from None
    return Slice(data, header, position, orientation)


def _hash_pixels(data: bytes) -> str:
    return hashlib.sha256(pydicom.dcmread(io.BytesIO(data), specific_tags=["PixelData"]).PixelData).hexdigest()  # type: ignore[arg-type]


def _list(sizes: Counter[tuple[int, int]]) -> str:
    return ", ".join(f"{rows} x {columns} ({count})" for (rows, columns), count in sorted(sizes.items()))
