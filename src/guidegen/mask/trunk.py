"""The trunk: body without table and limbs beside it, and the box around it without head and legs."""

import numpy as np
from scipy import ndimage

from guidegen.mask.measure import find_largest_part
from guidegen.mask.resample import Grid

BODY_HU = -350
COARSE_MM = 4.0
OPENING_MM = 8.0


def find_trunk_box(
    ct: np.ndarray | None, labels: np.ndarray, grid: Grid, z_range: tuple[int, int], margin_mm: float
) -> tuple[int, int, int, int, int, int]:
    """Return the trunk box x0, x1, y0, y1, z0, z1 in voxels, ends exclusive.

    Args:
        ct: (X, Y, Z) HU, or None.
        labels: (X, Y, Z) torso label map; the box always holds all of it within `z_range`.
        grid: the grid of both.
        z_range: slices that the box may hold, end exclusive.
        margin_mm: margin in x and y.

    Without a CT, or where no body is found in it, the box is that of the labels with three times the margin.
    """
    first, last = z_range
    boxes = [box for box in [_find_body(ct, grid, z_range) if ct is not None else None] if box]
    margin = margin_mm if boxes else 3 * margin_mm
    if labelled := _bound(labels[:, :, first:last] > 0):
        boxes.append(labelled)
    if not boxes:
        return 0, grid.shape[0], 0, grid.shape[1], first, last
    spacing = grid.spacing_mm
    sides = []
    for axis in (0, 1):
        grow = int(np.ceil(margin / spacing[axis]))
        low = min(box[axis][0] for box in boxes) - grow
        high = max(box[axis][1] for box in boxes) + grow
        sides += [max(low, 0), min(high, grid.shape[axis])]
    return sides[0], sides[1], sides[2], sides[3], first, last


def find_trunk_mask(ct: np.ndarray, labels: np.ndarray | None, grid: Grid) -> np.ndarray:
    """Return what of a CT is trunk, (X, Y, Z) bool: no table, and no arms that lie apart from it.

    Args:
        ct: (X, Y, Z) HU.
        labels: (X, Y, Z) label map, all of which is trunk; or None.
        grid: the grid of both.

    All of the CT where no body is found in it. The body is found on a grid of about 4 mm; the rim that this coarse mask
    may cut off is taken back where it is no air.
    """
    body, steps = _find_body_mask(ct, grid.spacing_mm)
    if body is None:
        return np.ones(ct.shape, bool)
    rim = np.asarray(ndimage.binary_dilation(body, np.ones((3, 3, 3), bool)), bool)
    mask = _spread(body, steps, ct.shape) | (_spread(rim, steps, ct.shape) & (ct > BODY_HU))
    return mask if labels is None else mask | (labels > 0)


def _spread(coarse: np.ndarray, steps: list[int], shape: tuple[int, ...]) -> np.ndarray:
    for axis, step in enumerate(steps):
        coarse = np.repeat(coarse, step, axis) if step > 1 else coarse
    return coarse[: shape[0], : shape[1], : shape[2]].copy()


def _find_body(ct: np.ndarray, grid: Grid, z_range: tuple[int, int]) -> list[tuple[int, int]] | None:
    """Box of the largest connected part of the body."""
    body, steps = _find_body_mask(ct[:, :, z_range[0] : z_range[1]], grid.spacing_mm)
    box = _bound(body) if body is not None else None
    if box is None:
        return None
    return [(low * step, min(high * step, size)) for (low, high), step, size in zip(box, steps, ct.shape, strict=True)]


def _find_body_mask(ct: np.ndarray, spacing_mm: np.ndarray) -> tuple[np.ndarray | None, list[int]]:
    """Largest part of the body on every n-th voxel (about 4 mm), and n; an opening cuts off table and clothes."""
    steps = [max(1, int(COARSE_MM // s)) for s in spacing_mm]
    coarse = ct[:: steps[0], :: steps[1], :: steps[2]] > BODY_HU
    spacing = spacing_mm * steps
    for k in range(coarse.shape[2]):
        coarse[:, :, k] = ndimage.binary_fill_holes(coarse[:, :, k])
    radius = [max(1, round(OPENING_MM / 2 / s)) for s in spacing[:2]]
    disk = np.hypot(*np.ogrid[-radius[0] : radius[0] + 1, -radius[1] : radius[1] + 1]) <= max(radius) + 0.1
    opened = np.asarray(ndimage.binary_opening(coarse, disk[:, :, None]), bool)
    return (find_largest_part(opened) if opened.any() else None), steps


def _bound(mask: np.ndarray) -> list[tuple[int, int]] | None:
    if not mask.any():
        return None
    box = []
    for axis in range(3):
        hits = np.flatnonzero(mask.any(axis=tuple(i for i in range(3) if i != axis)))
        box.append((int(hits[0]), int(hits[-1]) + 1))
    return box
