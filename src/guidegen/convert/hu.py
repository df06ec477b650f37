"""Stored values become HU: rescale, range, padding."""

import numpy as np

HU_FLOOR = -1024
HU_CEILING = 32767
SMALLEST_PADDING_SHARE = 0.01
"""The lowest value is taken for the padding where it has this share; else the most frequent one below the floor."""


def rescale(stored: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    """Return stored values (X, Y, Z) as whole HU, int16, clipped to its range; a view where they are HU already."""
    whole = slope == 1.0 and intercept == round(intercept) and stored.dtype in (np.dtype("<i2"), np.dtype("<u2"))
    if whole and stored.min() + intercept >= np.iinfo(np.int16).min and stored.max() + intercept <= HU_CEILING:
        # 16-bit integers wrap around, so that the sum is right for unsigned values too.
        bits = stored.view(np.uint16)
        return (bits + np.uint16(round(intercept) % 2**16) if intercept else bits).view(np.int16)
    hu = np.empty_like(stored, np.int16)
    for number in range(stored.shape[2]):
        exact = np.rint(stored[:, :, number] * np.float64(slope) + intercept)
        hu[:, :, number] = np.clip(exact, np.iinfo(np.int16).min, HU_CEILING)
    return hu


def floor_padding(hu: np.ndarray, stated: set[int]) -> tuple[np.ndarray, int | None, float]:
    """Return a copy with values below -1024 HU raised to that floor, and what the padding was.

    Args:
        hu: int16 HU.
        stated: HU of the padding values that the headers state.

    Returns:
        The volume, the HU of the padding (None: no padding), and its share of all voxels.
    """
    lowest = int(hu.min())
    if lowest < HU_FLOOR:
        share = np.count_nonzero(hu == lowest) / hu.size
        if share < SMALLEST_PADDING_SHARE:
            below = hu[hu < HU_FLOOR]
            counts = np.bincount(below.astype(np.int32) - lowest)
            lowest, share = lowest + int(np.argmax(counts)), float(counts.max() / hu.size)
        return np.maximum(hu, np.int16(HU_FLOOR)), lowest, share
    for value in sorted(stated):
        if value == HU_FLOOR and (share := float(np.mean(hu == value))):
            return hu.copy(order="K"), value, share
    return hu.copy(order="K"), None, 0.0
