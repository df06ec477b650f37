"""What is measured on a label map: organs, tumour, what is absent."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError

from guidegen.labels import LabelTable
from guidegen.mask.resample import Grid
from guidegen.mask.sites import SITE_CLASSES, name_class
from guidegen.statements import Side

EXPECTED_SHARE = 0.05
"""Contact that is enough for the collection's own organ: a large renal mass may border mostly on the liver."""
SHELL_MM = 4.0
LOOK_MM = 40.0
"""How far around a tumour organs are looked for."""
MIDLINE_MM = 15.0
"""Closer to the spine's middle than this, a tumour that touches no sided label has no side."""
ABSENCE_PLACES: dict[str, tuple[tuple[str, ...], float, float]] = {
    "gallbladder": (("gallbladder",), 0.60, 0.85),
    "left kidney": (("kidney_left",), 0.56, 0.86),
    "right kidney": (("kidney_right",), 0.56, 0.88),
    "spleen": (("spleen",), 0.48, 0.78),
}
"""Organ → source labels, and the range of positions on the spine where it lies if it exists."""
ORGANS_FOR_ABSENCE = ("liver", "stomach", "pancreas", "aorta", "kidney", "spleen")
"""Absence is judged only where at least three of these are labelled: a map of a tumour alone proves nothing."""


@dataclass(frozen=True)
class Tumour:
    """Measurements of the tumour label; `size_mm` is the largest diameter of its largest part."""

    size_mm: float
    volume_ml: float
    side: Side | None
    site: str
    """Torso class that it lies in, "" where it touches none."""
    gap_mm: float
    """Distance to `gap_to`; infinite beyond the 40 mm that are looked at."""
    gap_to: str = ""
    """Class of the collection's cancer where it is labelled, "" for the nearest labelled organ."""


def measure_organs(
    torso: np.ndarray, ct: np.ndarray | None, grid: Grid, labels: LabelTable
) -> dict[str, dict[str, float]]:
    """Return class name → {"ml": volume, "hu": median} for the classes that occur; no "hu" without a CT."""
    inside = torso > 0
    classes = torso[inside]
    counts = np.bincount(classes, minlength=len(labels))
    values = ct[inside][np.argsort(classes, kind="stable")] if ct is not None else None
    organs: dict[str, dict[str, float]] = {}
    start = 0
    for entry in labels.classes[1:]:
        count = int(counts[entry.id])
        if count:
            organs[entry.name] = {"ml": round(count * grid.voxel_ml, 3)}
            if values is not None:
                organs[entry.name]["hu"] = float(np.median(values[start : start + count]))
        start += count
    return organs


def measure_tumour(
    tumour: np.ndarray,
    organs: np.ndarray | None,
    grid: Grid,
    labels: LabelTable,
    spine_x: np.ndarray | None,
    expected_site: str = "",
) -> Tumour:
    """Measure a tumour.

    Args:
        tumour: (X, Y, Z) bool with at least one voxel.
        organs: (X, Y, Z) source labels without the tumour, or None.
        grid: the grid of both.
        labels: the class table.
        spine_x: (Z,) x of the spine's middle by slice in voxels, or None.
        expected_site: organ of the collection's cancer, which decides where the tumour touches several.

    A side is given for paired organs only, from the sided labels that the tumour touches, else from the spine.
    """
    box = _pad_box(ndimage.find_objects(tumour.astype(np.uint8))[0], grid, LOOK_MM)
    mask = tumour[box]
    size = measure_diameter(find_largest_part(mask), grid.affine)
    volume = float(mask.sum()) * grid.voxel_ml
    if organs is None:
        return Tumour(size, volume, None, "", 0.0)
    near = organs[box]
    distance: Any = ndimage.distance_transform_edt(~mask, sampling=tuple(grid.spacing_mm))
    lookup = np.isin(np.arange(256), [i for e in labels.classes if e.name in SITE_CLASSES for i in _ids(e, labels)])
    candidates = lookup[near]
    expected = labels.ids.get(name_class(expected_site), 0)
    own = labels.source_to_torso == expected
    known = bool(expected) and bool(own[organs].any())
    measured = own[near] if known else candidates
    gap = float(distance[measured].min()) if measured.any() else float("inf")
    # Voxels of an organ under the tumour count as well as those around it.
    touching = candidates & (distance <= max(SHELL_MM, 1.5 * float(grid.spacing_mm.max())))
    votes = np.bincount(near[touching], minlength=256)
    by_class = np.bincount(labels.source_to_torso, weights=votes, minlength=len(labels))
    best = expected if by_class[expected] > EXPECTED_SHARE * by_class.sum() else int(np.argmax(by_class))
    site = labels.classes[best].name if by_class.any() else ""
    side = _find_side(votes, site, labels)
    if side is None and spine_x is not None and (not site or _is_paired(site)):
        side = _compare_to_spine(mask, box, grid, spine_x)
    return Tumour(size, volume, side, site, gap, labels.classes[expected].name if known else "")


def measure_diameter(mask: np.ndarray, affine: np.ndarray) -> float:
    """Return the largest diameter in mm: the largest distance of two voxel centres of the mask.

    Over all directions of a compact body this is the diameter within half a voxel; one voxel has its longest edge.
    """
    surface = mask & ~np.asarray(ndimage.binary_erosion(mask), bool)
    points = np.argwhere(surface) @ affine[:3, :3].T
    if len(points) > 4:
        # A flat or straight mask has no hull; then all of its surface is compared.
        with suppress(QhullError):
            points = points[ConvexHull(points).vertices]
    gaps = points[:, None] - points[None]
    squares = np.einsum("ijk,ijk->ij", gaps, gaps)
    length = float(np.sqrt(squares.max()))
    return length or float(np.linalg.norm(affine[:3, :3], axis=0).max())


def measure_parts(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the connected parts (26 neighbours) of a bool mask as an int array, and the voxels of part 1, 2, …."""
    found: Any = ndimage.label(mask, np.ones((3, 3, 3)))
    return found[0], np.bincount(found[0].ravel(), minlength=2)[1:]


def find_largest_part(mask: np.ndarray) -> np.ndarray:
    """Return the largest connected part of a bool mask that is not empty."""
    parts, sizes = measure_parts(mask)
    return parts == 1 + int(np.argmax(sizes))


def find_absent(
    profiles: np.ndarray, organs: Mapping[str, dict[str, float]], labels: LabelTable, grid: Grid, **limits: float
) -> tuple[str, ...]:
    """Return the organs that are missing although their place is covered.

    Args:
        profiles: (256, Z) voxels per source id and slice.
        organs: result of `measure_organs`.
        labels: the class table.
        grid: the grid.
        **limits: `top` and `bottom` (covered positions on the spine), `least_ml` (less than this is missing).
    """
    if sum(name in organs for name in ORGANS_FOR_ABSENCE) < 3:
        return ()
    absent = []
    for organ, (names, first, last) in ABSENCE_PLACES.items():
        voxels = sum(int(profiles[labels.source_ids[name]].sum()) for name in names)
        if limits["top"] <= first and limits["bottom"] >= last and voxels * grid.voxel_ml < limits["least_ml"]:
            absent.append(organ)
    return tuple(absent)


def trace_spine(source: np.ndarray, source_ids: Mapping[str, int]) -> np.ndarray | None:
    """Return (Z,) x of the vertebrae's middle by slice in voxels, interpolated; None where there are no vertebrae."""
    lookup = np.isin(np.arange(256), [v for k, v in source_ids.items() if k.startswith("vertebrae_")])
    columns = lookup[source].sum(axis=1)
    weights = columns.sum(axis=0)
    levels = np.flatnonzero(weights)
    if not levels.size:
        return None
    middle = (np.arange(source.shape[0]) @ columns)[levels] / weights[levels]
    return np.interp(np.arange(source.shape[2]), levels, middle)


def _ids(entry, labels: LabelTable) -> list[int]:
    return [labels.source_ids[name] for name in entry.source_labels]


def _pad_box(box: tuple[slice, ...], grid: Grid, margin_mm: float) -> tuple[slice, ...]:
    grow = np.ceil(margin_mm / grid.spacing_mm).astype(int)
    return tuple(slice(max(s.start - g, 0), min(s.stop + g, n)) for s, g, n in zip(box, grow, grid.shape, strict=True))


def _is_paired(site: str) -> bool:
    return site in ("kidney", "lung", "adrenal_gland")


def _find_side(votes: np.ndarray, site: str, labels: LabelTable) -> Side | None:
    if not _is_paired(site):
        return None
    names = next(entry.source_labels for entry in labels.classes if entry.name == site)
    left = sum(int(votes[labels.source_ids[name]]) for name in names if "_left" in name)
    right = sum(int(votes[labels.source_ids[name]]) for name in names if "_right" in name)
    if left == right:
        return None
    return Side.LEFT if left > right else Side.RIGHT


def _compare_to_spine(mask: np.ndarray, box: tuple[slice, ...], grid: Grid, spine_x: np.ndarray) -> Side | None:
    x, _, z = (np.argwhere(mask).mean(axis=0) + [s.start for s in box]).tolist()
    offset = (x - float(np.interp(z, np.arange(len(spine_x)), spine_x))) * grid.spacing_mm[0]
    if abs(offset) < MIDLINE_MM:
        return None
    return Side.RIGHT if offset > 0 else Side.LEFT
