"""Synthetic volumes on disk."""

from pathlib import Path

import nibabel as nib
import numpy as np
from isal import igzip

from guidegen.mask.resample import Grid


def center_grid(size: int, spacing: tuple[float, float, float], fold: int = 1) -> Grid:
    """Return the grid of a cube of `size` voxels whose box is centred on the origin of RAS+ space.

    Args:
        size: edge of the label grid in voxels.
        spacing: millimetres per voxel of the label grid.
        fold: how many times finer this grid is over the same box.
    """
    fine = np.array(spacing) / fold
    affine = np.diag([*fine, 1.0])
    affine[:3, 3] = -(size * fold - 1) / 2 * fine
    edge = size * fold
    return Grid((edge, edge, edge), affine)


def write_ct(path: Path, ct: np.ndarray, grid: Grid) -> None:
    """Write int16 HU as gzipped NIfTI with deterministic bytes."""
    image = nib.Nifti1Image(ct.astype(np.int16, copy=False), grid.affine)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = b"synthetic CT, GuideGen"
    image.set_sform(grid.affine, code=1)
    path.write_bytes(igzip.compress(image.to_bytes(), 2, mtime=0))
