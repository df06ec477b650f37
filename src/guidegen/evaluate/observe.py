"""What one label map and its CT show, as plain numbers; the same code looks at real and at generated cases."""

from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import pdist

from guidegen.labels import TUMOUR, LabelTable

HU_LOW, HU_HIGH = -1024, 3071
EDGE_SHARE = 0.01
"""An end of an organ lies where 1 % of its voxels are passed, so that a stray voxel does not move it."""


@dataclass(frozen=True)
class Observation:
    """What was measured on one case.

    Attributes:
        counts: voxels per class on the label grid, shape (classes,).
        ends: lower and upper end of each class along z as a share of the grid's height (0 bottom, 1 top), shape
            (classes, 2); NaN where the class is absent or cut off by that border.
        centre: centre of each class along (x, y, z) as a share of the grid, shape (classes, 3); NaN where absent.
        kidney: kidney voxels on the patient's (left, right).
        tumour_voxels: size of the largest connected part of the tumour.
        tumour_side: `left`, `right`, or None without a tumour.
        tumour_mm: largest diameter in mm of that part; 0 without a tumour.
        tumour_contact: voxels of each class that touch the tumour, shape (classes,).
        hu: median HU per class, shape (classes,); NaN without a CT or where the class is absent.
    """

    counts: np.ndarray
    ends: np.ndarray
    centre: np.ndarray
    kidney: tuple[int, int]
    tumour_voxels: int
    tumour_side: str | None
    tumour_mm: float
    tumour_contact: np.ndarray
    hu: np.ndarray


def observe_case(labels: np.ndarray, ct: np.ndarray | None, spacing_mm: np.ndarray, table: LabelTable) -> Observation:
    """Measure one case.

    Args:
        labels: torso classes, (X, Y, Z) in RAS+.
        ct: HU over the same box on a grid of an integer multiple of the labels' size, or None.
        spacing_mm: of the label grid, (x, y, z).
        table: the torso classes.
    """
    classes = len(table)
    profiles = _count_profiles(labels, classes)
    midline = _find_midline(profiles[0], table)
    voxels, side, diameter, contact = _observe_tumour(labels == table.ids[TUMOUR], labels, midline, spacing_mm, classes)
    kidney_x = profiles[0][table.ids["kidney"]]
    right = np.arange(labels.shape[0]) + 0.5 > midline
    return Observation(
        counts=profiles[2].sum(1),
        ends=_find_ends(profiles[2]),
        centre=np.stack([_find_centre(profile) for profile in profiles], 1),
        kidney=(int(kidney_x[~right].sum()), int(kidney_x[right].sum())),
        tumour_voxels=voxels,
        tumour_side=side,
        tumour_mm=diameter,
        tumour_contact=contact,
        hu=median_hu(labels, ct, classes) if ct is not None else np.full(classes, np.nan),
    )


def median_hu(labels: np.ndarray, ct: np.ndarray, classes: int) -> np.ndarray:
    """Return the median HU of each class, shape (classes,), exact to 1 HU; NaN where the class is absent.

    Labels on a coarser grid are repeated; the HU are clipped to the 12-bit range.
    """
    labels = repeat_to(labels, ct.shape)
    levels = HU_HIGH - HU_LOW + 1
    values = np.clip(np.rint(ct) if ct.dtype.kind == "f" else ct, HU_LOW, HU_HIGH).astype(np.int32) - HU_LOW
    histogram = np.bincount((labels.astype(np.int32) * levels + values).ravel(), minlength=classes * levels)
    cumulated = histogram.reshape(classes, levels).cumsum(1)
    total = cumulated[:, -1]
    middle = (cumulated >= np.maximum((total + 1) // 2, 1)[:, None]).argmax(1) + HU_LOW
    return np.where(total > 0, middle, np.nan)


def repeat_to(labels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the labels on a grid that is an integer multiple finer over the same box (nearest neighbour)."""
    for axis, (have, want) in enumerate(zip(labels.shape, shape, strict=True)):
        if want % have:
            raise ValueError(f"a CT grid {shape} is no multiple of the label grid {labels.shape}")
        if want != have:
            labels = np.repeat(labels, want // have, axis)
    return labels


def _count_profiles(labels: np.ndarray, classes: int) -> list[np.ndarray]:
    """Voxels per class and slice along x, y and z: three arrays of shape (classes, slices)."""
    flat = labels.astype(np.int32)
    found = []
    for axis, size in enumerate(labels.shape):
        index = np.arange(size, dtype=np.int32).reshape([-1 if a == axis else 1 for a in range(3)])
        found.append(np.bincount((flat * size + index).ravel(), minlength=classes * size).reshape(classes, size))
    return found


def _find_midline(profile_x: np.ndarray, table: LabelTable) -> float:
    vertebrae = profile_x[table.ids["vertebrae"]]
    if not vertebrae.sum():
        return profile_x.shape[1] / 2
    return float((vertebrae * (np.arange(len(vertebrae)) + 0.5)).sum() / vertebrae.sum())


def _find_centre(profile: np.ndarray) -> np.ndarray:
    total = profile.sum(1)
    with np.errstate(invalid="ignore"):
        return np.where(total > 0, profile @ (np.arange(profile.shape[1]) + 0.5) / total, np.nan) / profile.shape[1]


def _find_ends(profile_z: np.ndarray) -> np.ndarray:
    size = profile_z.shape[1]
    total = profile_z.sum(1, keepdims=True)
    with np.errstate(invalid="ignore"):
        share = profile_z.cumsum(1) / total
        edges = profile_z[:, [0, -1]] / total
    low = (share > EDGE_SHARE).argmax(1) / size
    high = ((share >= 1 - EDGE_SHARE).argmax(1) + 1) / size
    whole = (total > 0) & (edges <= EDGE_SHARE)
    return np.where(whole, np.stack([low, high], 1), np.nan)


def _observe_tumour(
    mask: np.ndarray, labels: np.ndarray, midline: float, spacing_mm: np.ndarray, classes: int
) -> tuple[int, str | None, float, np.ndarray]:
    if not mask.any():
        return 0, None, 0.0, np.zeros(classes, np.int64)
    parts: np.ndarray = ndimage.label(mask, np.ones((3, 3, 3)))[0]  # type: ignore[index]
    largest = parts == np.bincount(parts[parts > 0]).argmax()
    points = np.argwhere(largest)
    side = "right" if points[:, 0].mean() + 0.5 > midline else "left"
    shell = ndimage.binary_dilation(largest, np.ones((3, 3, 3))) & ~mask
    contact = np.bincount(labels[shell], minlength=classes)
    return len(points), side, measure_diameter(points, spacing_mm), contact


def measure_diameter(points: np.ndarray, spacing_mm: np.ndarray) -> float:
    """Return the largest distance in mm between voxel centres, plus one mean voxel edge; points are (voxels, 3)."""
    places = points * np.asarray(spacing_mm, float)
    if len(places) > 50:
        with suppress(QhullError):  # a flat part has no hull; all its points are taken then
            places = places[ConvexHull(places).vertices]
    farthest = float(pdist(places).max()) if len(places) > 1 else 0.0
    return farthest + float(np.mean(spacing_mm))
