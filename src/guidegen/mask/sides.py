"""Which side a part of a paired organ lies on, for annotations that name the organ without its side."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from scipy import ndimage

from guidegen.mask.measure import MIDLINE_MM, find_largest_part, measure_parts, trace_spine
from guidegen.mask.resample import Grid, read_volume
from guidegen.mask.trunk import BODY_HU

CLEAR_SHARE = 0.95
"""A part lies on a side when at least this share of it does."""
BODY_MARGIN_MM = 30.0
"""The body's middle is a rougher midline than the spine: a part must lie this far from it on average."""
SPECK_SHARE = 0.05
"""Parts that are together less than this share of the organ need not lie clearly on a side."""
_COARSE_MM = 4.0


def split_by_side(
    mask: np.ndarray, start: tuple[int, int, int], grid: Grid, midline: np.ndarray, margin_mm: float
) -> dict[str, np.ndarray]:
    """Split a paired organ into `left` and `right` by where its connected parts lie.

    Args:
        mask: (X, Y, Z) bool, a box of the grid with at least one voxel.
        start: first voxel of that box.
        grid: RAS+ grid.
        midline: (Z,) x of the body's midline by slice of the grid, in voxels.
        margin_mm: a part's middle must lie at least this far from the midline.

    Returns:
        Masks by side; empty where more than a speck of the organ is not clearly on one side (a horseshoe kidney).
    """
    parts, sizes = measure_parts(mask)
    sides = {"left": np.zeros_like(mask), "right": np.zeros_like(mask)}
    unclear = 0
    for number, size in enumerate(sizes, 1):
        part = parts == number
        voxels = np.argwhere(part)
        offsets = (voxels[:, 0] + start[0] - midline[voxels[:, 2] + start[2]]) * grid.spacing_mm[0]
        side = "right" if offsets.mean() > 0 else "left"
        share = float((offsets > 0).mean() if side == "right" else (offsets < 0).mean())
        if share < CLEAR_SHARE or abs(offsets.mean()) < margin_mm:
            unclear += int(size)
        sides[side] |= part
    if unclear > SPECK_SHARE * sizes.sum():
        return {}
    return {side: found for side, found in sides.items() if found.any()}


def find_midline(
    organs: np.ndarray, ct: Path | None, grid: Grid, source_ids: Mapping[str, int]
) -> tuple[np.ndarray, float] | None:
    """Return the midline, (Z,) x in voxels, and the margin in mm that it asks for.

    It is the spine where vertebrae are labelled, else the centre of mass of the body in the CT; None without both.
    """
    spine = trace_spine(organs, source_ids)
    if spine is not None:
        return spine, MIDLINE_MM
    if ct is None:
        return None
    step = [max(1, int(_COARSE_MM // mm)) for mm in grid.spacing_mm]
    body = read_volume(ct)[0][:: step[0], :: step[1], :: step[2]] > BODY_HU
    body = np.asarray(ndimage.binary_opening(body), bool)
    if not body.any():
        return None
    x = float(np.argwhere(find_largest_part(body))[:, 0].mean()) * step[0]
    return np.full(grid.shape[2], x), BODY_MARGIN_MM
