"""Frames of a DICOM Segmentation: decoded one by one, ordered into planes of a regular grid."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.pixels.utils import iter_pixels

from guidegen.mask.backends import AnnotationError

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
POSITION_TOLERANCE_MM = 0.02


@dataclass(frozen=True)
class _Part:
    """The non-empty rectangle of one segment in one plane."""

    plane: int
    row: int
    column: int
    pixels: np.ndarray


@dataclass(frozen=True)
class SegFrames:
    """All segments of one SEG on its own regular grid."""

    parts: dict[int, list[_Part]]
    counts: dict[int, int]
    """Pixels by segment number; a number with none is missing."""
    affine: np.ndarray
    """(4, 4) from (column, row, plane) to world RAS coordinates in mm."""

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in ml."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    def extract(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return a segment in its bounding box: (columns, rows, planes) uint8, and the box's affine."""
        parts = self.parts[number]
        low = np.array([min(p.column for p in parts), min(p.row for p in parts), min(p.plane for p in parts)])
        ends = [(p.column + p.pixels.shape[1], p.row + p.pixels.shape[0], p.plane + 1) for p in parts]
        block = np.zeros(np.max(ends, axis=0) - low, np.uint8)
        for part in parts:
            x, y = part.column - low[0], part.row - low[1]
            rows, columns = part.pixels.shape
            block[x : x + columns, y : y + rows, part.plane - low[2]] |= part.pixels.T
        affine = self.affine.copy()
        affine[:3, 3] += self.affine[:3, :3] @ low
        return block, affine


def read_frames(path: Path, dataset: Dataset) -> SegFrames:
    """Decode a SEG (BINARY, FRACTIONAL or LABELMAP).

    Raises:
        AnnotationError: no pixels, no positions, frames that are not parallel or do not lie on a regular grid.
    """
    try:
        positions, orientation, spacing, step, numbers = _read_geometry(dataset)
        planes, affine = _arrange_planes(positions, orientation, spacing, step)
        parts: dict[int, list[_Part]] = {}
        for index, frame in enumerate(_decode(dataset)):
            for number, pixels in _split_frame(dataset, frame, numbers[index]):
                if part := _crop(pixels, int(planes[index])):
                    parts.setdefault(number, []).append(part)
    except AnnotationError as error:
        raise AnnotationError(f"{path}: {error}") from None
    except (AttributeError, KeyError, IndexError, ValueError, TypeError, RuntimeError, NotImplementedError) as error:
        raise AnnotationError(f"{path}: the SEG cannot be decoded ({type(error).__name__}: {error})") from error
    return SegFrames(parts, {n: sum(int(p.pixels.sum()) for p in found) for n, found in parts.items()}, affine)


def _read_geometry(ds: Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray, float, list[int]]:
    """Positions (F, 3), orientation (6,), pixel spacing (2,), distance of planes (0 if unsaid), segment by frame."""
    shared = ds.SharedFunctionalGroupsSequence[0] if ds.get("SharedFunctionalGroupsSequence") else Dataset()
    frames = ds.PerFrameFunctionalGroupsSequence
    if len(frames) != int(ds.get("NumberOfFrames", 1)):
        raise AnnotationError(f"{len(frames)} frame descriptions, but NumberOfFrames is {ds.get('NumberOfFrames')}")

    def find(frame: Dataset, group: str) -> Dataset:
        item = frame.get(group) or shared.get(group)
        if not item:
            raise AnnotationError(f"no {group} in the shared or the frame's functional groups")
        return item[0]

    positions = np.array([find(f, "PlanePositionSequence").ImagePositionPatient for f in frames], float)
    orientations = np.array([find(f, "PlaneOrientationSequence").ImageOrientationPatient for f in frames], float)
    if np.abs(orientations - orientations[0]).max() > 1e-4:
        raise AnnotationError("frames with different orientations, expected parallel planes")
    measures = find(frames[0], "PixelMeasuresSequence")
    step = float(measures.get("SpacingBetweenSlices") or measures.get("SliceThickness") or 0.0)
    numbers = [0] * len(frames)
    if ds.get("SegmentationType") != "LABELMAP":
        numbers = [int(find(f, "SegmentIdentificationSequence").ReferencedSegmentNumber) for f in frames]
    return positions, orientations[0], np.array(measures.PixelSpacing, float), step, numbers


def _arrange_planes(
    positions: np.ndarray, orientation: np.ndarray, spacing: np.ndarray, step: float
) -> tuple[np.ndarray, np.ndarray]:
    """Plane index (F,) of each frame and the affine of the grid; frames of empty planes may be missing."""
    across, down = orientation[:3], orientation[3:]
    normal = np.cross(across, down)
    depth = positions @ normal
    levels = np.sort(depth)
    levels = levels[np.concatenate([[True], np.diff(levels) > POSITION_TOLERANCE_MM])]
    gaps = np.diff(levels)
    if gaps.size and (step <= 0 or not _are_multiples(gaps, step)):
        step = float(gaps.min())
        if not _are_multiples(gaps, step):
            raise AnnotationError(f"planes are unevenly spaced: gaps from {gaps.min():.3f} to {gaps.max():.3f} mm")
    step = step or 1.0
    planes = np.rint((depth - levels[0]) / step).astype(int)
    # Planes of a tilted gantry shift within themselves; the step vector carries that into the affine.
    first, last = positions[np.argmin(depth)], positions[np.argmax(depth)]
    vector = (last - first) / planes.max() if planes.max() else normal * step
    expected = first + planes[:, None] * vector
    if np.abs(expected - positions).max() > 0.5 * spacing.min():
        raise AnnotationError("frames are shifted against each other within their planes")
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2], affine[:3, 3] = across * spacing[1], down * spacing[0], vector, first
    return planes, LPS_TO_RAS @ affine


def _are_multiples(gaps: np.ndarray, step: float) -> bool:
    ratio = gaps / step
    return bool((np.rint(ratio) >= 1).all() and np.abs(ratio - np.rint(ratio)).max() < 0.02 * max(1.0, ratio.max()))


def _decode(ds: Dataset) -> Iterator[np.ndarray]:
    if int(ds.BitsAllocated) != 1 or ds.file_meta.TransferSyntaxUID.is_compressed:
        yield from iter_pixels(ds, raw=True)
        return
    # Bit-packed frames are not aligned to bytes.
    packed = np.frombuffer(ds.PixelData, np.uint8)
    size = int(ds.Rows) * int(ds.Columns)
    for index in range(int(ds.get("NumberOfFrames", 1))):
        start = index * size
        bits = np.unpackbits(packed[start // 8 : (start + size + 7) // 8], bitorder="little")
        if bits.size < start % 8 + size:
            raise AnnotationError(f"pixel data end within frame {index + 1} of {ds.NumberOfFrames}")
        yield bits[start % 8 : start % 8 + size].reshape(ds.Rows, ds.Columns)


def _split_frame(ds: Dataset, frame: np.ndarray, number: int) -> Iterator[tuple[int, np.ndarray]]:
    kind = ds.get("SegmentationType", "BINARY")
    if kind == "LABELMAP":
        for value in np.flatnonzero(np.bincount(frame.ravel())):
            if value:
                yield int(value), frame == value
    elif kind == "FRACTIONAL":
        yield number, 2 * frame.astype(int) >= int(ds.get("MaximumFractionalValue", 255))
    else:
        yield number, frame > 0


def _crop(mask: np.ndarray, plane: int) -> _Part | None:
    rows = np.flatnonzero(mask.any(axis=1))
    if not rows.size:
        return None
    columns = np.flatnonzero(mask[rows[0] : rows[-1] + 1].any(axis=0))
    box = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return _Part(plane, int(rows[0]), int(columns[0]), box.astype(np.uint8))
