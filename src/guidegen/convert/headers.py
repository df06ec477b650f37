"""The header check: what a series must be before it is converted, from its DICOM headers alone."""

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pydicom

from guidegen.convert.separate import (
    find_even_part,
    is_even,
    is_interleaved,
    measure_places,
    separate_volumes,
)
from guidegen.convert.settings import ConvertSettings
from guidegen.convert.slices import Slice, hash_pixels, locate_slice, parse_file
from guidegen.convert.tilt import measure_shift
from guidegen.errors import ItemError, ItemExcluded

GEOMETRY_TOLERANCE = 1e-3
"""Differences of direction cosines and of relative pixel spacing that are rounding."""
STEEPEST_TILT_DEGREES = 30.0
"""No gantry tilts further; a steeper shear is another fault, and is not repaired."""
ENHANCED_CT = ("1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2")
"""Enhanced and legacy converted enhanced CT Image Storage."""
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Stack:
    """A regular stack of axial slices, from the first to the last along their normal.

    `affine` (4, 4) maps voxel indices (column, row, slice) to RAS in mm; where `tilted`, it holds the shear of the
    gantry's tilt. `one_of_several` says that the series holds other volumes too. `repairs` says what was mended.
    """

    slices: list[Slice]
    affine: np.ndarray
    tilted: bool
    one_of_several: bool
    repairs: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Columns, rows, slices."""
        rows, columns = self.slices[0].shape
        return columns, rows, len(self.slices)


def check_headers(case: str, files: list[bytes], settings: ConvertSettings) -> Stack:
    """Check that the files of a series are one regular axial CT volume, or can be made one.

    Args:
        case: case id, for messages.
        files: the DICOM files.
        settings: tolerances, and what becomes of each irregularity.

    Raises:
        ItemExcluded: an irregularity that the config excludes.
        ItemError: one that it fails on, or a file that cannot be parsed or has no whole pixel data.
    """
    check = _Check(case, settings)
    parsed = [(number, data, *parse_file(case, number, data)) for number, data in enumerate(files, 1)]
    headers = [header for _, _, header, _ in parsed]
    check.one_series(headers)
    check.single_frames(headers)
    scouts = check.find_localizers(headers)
    slices = [locate_slice(case, *file) for file, scout in zip(parsed, scouts, strict=True) if not scout]
    check.count(slices, "slices")
    check.images(slices)
    check.rescale(slices)
    normal = check.orientation(slices)
    slices = check.duplicates(sorted(slices, key=lambda item: float(item.position @ normal)), normal)
    whole = slices
    slices = check.stacked(slices, normal)
    one_of_several = slices is not whole
    check.count(slices, "slices at different places")
    slices = check.spacing(slices, normal)
    check.count(slices, "slices at even places")
    affine, tilted = check.tilt(slices)
    return Stack(slices, affine, tilted, one_of_several, tuple(check.repairs))


class _Check:
    """Applies the policy and collects the repairs."""

    def __init__(self, case: str, settings: ConvertSettings) -> None:
        self.case, self.settings = case, settings
        self.repairs: list[str] = []

    def require(self, holds: bool, irregularity: str, found: str) -> None:
        if holds:
            return
        message = f"{irregularity}: {found}"
        if getattr(self.settings.irregular, irregularity) == "fail":
            raise ItemError(f"{self.case}: {message}")
        raise ItemExcluded(message)

    def mend(self, irregularity: str, found: str, remedy: str) -> None:
        """Note a repair, or raise where the policy is not to repair."""
        self.require(getattr(self.settings.irregular, irregularity) == "repair", irregularity, found)
        self.repairs.append(f"{irregularity}: {found}, {remedy}")

    def count(self, slices: list[Slice], what: str) -> None:
        least = self.settings.min_slices
        self.require(len(slices) >= least, "too_few_slices", f"{len(slices)} {what}, at least {least}")

    def one_series(self, headers: list[pydicom.Dataset]) -> None:
        uids = [str(header.get("SeriesInstanceUID") or "") for header in headers]
        usual = Counter(uids).most_common(1)[0][0]
        for number, uid in enumerate(uids, 1):
            if uid != usual:
                raise ItemError(f"{self.case}: file {number:05d}.dcm is of series '{uid}', most are of '{usual}'")

    def single_frames(self, headers: list[pydicom.Dataset]) -> None:
        for header in headers:
            frames = int(header.get("NumberOfFrames") or 1)
            enhanced = header.get("SOPClassUID") in ENHANCED_CT
            kind = "enhanced CT" if enhanced else "image"
            self.require(frames == 1 and not enhanced, "multi_frame", f"{kind} of {frames} frames in one file")

    def find_localizers(self, headers: list[pydicom.Dataset]) -> list[bool]:
        found = ["LOCALIZER" in [str(value).upper() for value in header.get("ImageType") or []] for header in headers]
        if any(found):
            self.mend("localizer", f"{sum(found)} of {len(found)} images are localizers", "taken out")
        return found

    def images(self, slices: list[Slice]) -> None:
        for item in slices:
            header = item.header
            form = (header.get("PhotometricInterpretation"), header.get("SamplesPerPixel"), header.get("BitsAllocated"))
            self.require(form == ("MONOCHROME2", 1, 16), "not_ct", f"image is {form}, expected MONOCHROME2, 1, 16 bit")
            self.bits(item)
        sizes = Counter(item.shape for item in slices)
        self.require(len(sizes) == 1, "slice_size", f"slices of {_list(sizes)} rows x columns")
        spacings = np.array([item.spacing for item in slices])
        even = np.all(np.abs(spacings - spacings[0]) <= GEOMETRY_TOLERANCE * spacings[0])
        self.require(bool(even and np.all(spacings > 0)), "slice_size", "pixel spacings differ between slices")

    def bits(self, item: Slice) -> None:
        """Refuse values above the stored bits: an overlay drawn into the pixels, or a sign that was not extended."""
        bits = int(item.header.get("BitsStored") or 16)
        if bits < 16 and (stored := item.stored) is not None:
            limit = 2 ** (bits - int(item.header.PixelRepresentation)) - 1
            highest = int(stored.max())
            self.require(highest <= limit, "not_ct", f"stored values up to {highest}, {bits} bits hold at most {limit}")

    def rescale(self, slices: list[Slice]) -> None:
        found = {(item.header.get("RescaleSlope"), item.header.get("RescaleIntercept")) for item in slices}
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
        differences = np.abs(np.array([item.orientation for item in slices]) - first)
        same = bool(np.all(differences <= GEOMETRY_TOLERANCE))
        self.require(same, "mixed_orientation", "slices have different orientations")
        normal = np.cross(row, column)
        normal /= np.linalg.norm(normal)
        angle = math.degrees(math.acos(min(1.0, abs(float(normal[2])))))
        name = ("sagittal", "coronal", "axial")[int(np.argmax(np.abs(normal)))]
        limit = self.settings.max_oblique_degrees
        self.require(angle <= limit, "orientation", f"{name}, {angle:.1f} degrees from axial, at most {limit:g}")
        return normal

    def duplicates(self, slices: list[Slice], normal: np.ndarray) -> list[Slice]:
        """Drop images with the same pixels at the same place; different images at one place stay."""
        apart = np.diff(measure_places(slices, normal)) > self.settings.position_tolerance_mm
        kept: list[Slice] = []
        for group in np.split(np.arange(len(slices)), np.flatnonzero(apart) + 1):
            images = [slices[number] for number in group]
            kept += {hash_pixels(item): item for item in reversed(images)}.values() if len(images) > 1 else images
        if twice := len(slices) - len(kept):
            self.mend("duplicate_slice", f"{twice} of {len(slices)} images are there twice", "one of each is used")
        return kept

    def stacked(self, slices: list[Slice], normal: np.ndarray) -> list[Slice]:
        """Find the volume to use where several are stacked or interleaved."""
        near = self.settings.position_tolerance_mm
        places = measure_places(slices, normal)
        crowded = places[1:][np.diff(places) <= near]
        if not crowded.size and not is_interleaved(slices):
            return slices
        found = f"different images at one position ({crowded[0]:.2f} mm)" if crowded.size else "acquisitions alternate"
        separated = separate_volumes(slices, normal, near)
        self.require(separated is not None, "stacked_volumes", f"{found}, and no attribute tells volumes apart")
        assert separated is not None
        key, volumes = separated
        best = max(volumes, key=lambda value: np.ptp(measure_places(volumes[value], normal)).round(3))
        counts = ", ".join(f"{value} ({len(volume)})" for value, volume in volumes.items())
        self.mend("stacked_volumes", f"{found}; by {key} (slices): {counts}", f"{key} {best} is used")
        return volumes[best]

    def spacing(self, slices: list[Slice], normal: np.ndarray) -> list[Slice]:
        places = measure_places(slices, normal)
        near = self.settings.position_tolerance_mm
        if is_even(places, near):
            return slices
        gaps = np.diff(places)
        typical = float(np.median(gaps))
        counts = np.round(gaps / typical)
        missing = int(np.sum(counts - 1))
        if np.all(np.abs(gaps - counts * typical) <= 2 * near) and missing > 0 and counts.min() >= 1:
            irregularity, found = "missing_slice", f"{missing} missing at a spacing of {typical:g} mm"
        else:
            irregularity, found = "uneven_spacing", f"gaps from {gaps.min():g} to {gaps.max():g} mm"
        part = find_even_part(places, near)
        kept = slices[part]
        self.require(is_even(places[part], near), irregularity, found)
        self.mend(irregularity, found, f"the {len(kept)} of {len(slices)} slices of the longest even part are used")
        return kept

    def tilt(self, slices: list[Slice]) -> tuple[np.ndarray, bool]:
        """Return the affine of the stack and whether it is sheared."""
        affine = make_affine(slices)
        shift = measure_shift(affine)
        aside = float(np.linalg.norm(shift)) * (len(slices) - 1)
        straight = affine.copy()
        straight[:3, 2] -= shift
        if aside <= self.settings.tilt_tolerance_mm:
            return straight, False
        degrees = math.degrees(math.atan2(np.linalg.norm(shift), np.linalg.norm(straight[:3, 2])))
        found = f"{degrees:.1f} degrees, {aside:.1f} mm from first to last slice"
        self.require(degrees <= STEEPEST_TILT_DEGREES, "gantry_tilt", f"{found}; no gantry tilts that far")
        self.mend("gantry_tilt", found, "slices moved back within their planes")
        return affine, True


def make_affine(slices: list[Slice]) -> np.ndarray:
    """Return the affine (4, 4) from voxel indices (column, row, slice) to RAS in mm (DICOM PS3.3, C.7.6.2.1.1).

    The third column is the mean step from the first to the last slice.
    """
    first, last = slices[0], slices[-1]
    row_spacing, column_spacing = first.spacing
    affine = np.eye(4)
    affine[:3, 0] = first.orientation[0] * column_spacing
    affine[:3, 1] = first.orientation[1] * row_spacing
    affine[:3, 2] = (last.position - first.position) / (len(slices) - 1)
    affine[:3, 3] = first.position
    affine[:3] = LPS_TO_RAS @ affine[:3]
    return affine


def _list(sizes: Counter[tuple[int, int]]) -> str:
    return ", ".join(f"{rows} x {columns} ({count})" for (rows, columns), count in sorted(sizes.items()))
