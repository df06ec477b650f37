"""Tilted gantries: a sheared stack of slices becomes an orthogonal volume."""

import numpy as np
from scipy.ndimage import affine_transform

from guidegen.convert.hu import HU_FLOOR


def measure_shift(affine: np.ndarray) -> np.ndarray:
    """Return how far each slice lies from the one before within their plane, in mm (3,), from an affine (4, 4)."""
    across, down, step = affine[:3, :3].T
    normal = np.cross(across, down)
    return step - (step @ normal) / (normal @ normal) * normal


def straighten(hu: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Move the slices of a sheared volume to a grid whose third axis is their normal.

    The planes stay where they are and the axes within them keep direction and spacing, so that HU are interpolated
    linearly within slices and never between them. The grid is widened so that no pixel is lost; what no slice covers
    is -1024 HU.

    Args:
        hu: int16 HU (column, row, slice).
        affine: (4, 4) with the shear in its third column.

    Returns:
        HU on the new grid and its affine.
    """
    across, down, step = affine[:3, :3].T
    away = measure_shift(affine)
    shift = np.array([away @ across / (across @ across), away @ down / (down @ down)])
    last = shift * (hu.shape[2] - 1)
    low = np.floor(np.minimum(0, last)).astype(int)
    high = np.ceil(np.maximum(0, last)).astype(int)
    columns, rows = hu.shape[:2] + high - low
    straight = np.empty((columns, rows, hu.shape[2]), np.int16)
    for number in range(hu.shape[2]):
        moved = affine_transform(
            hu[:, :, number].astype(np.float32),
            np.ones(2),
            offset=low - number * shift,
            output_shape=(columns, rows),
            order=1,
            mode="grid-constant",
            cval=HU_FLOOR,
        )
        straight[:, :, number] = np.rint(moved)
    orthogonal = affine.copy()
    orthogonal[:3, 2] = step - away
    orthogonal[:3, 3] = affine[:3, 3] + affine[:3, :2] @ low
    return straight, orthogonal
