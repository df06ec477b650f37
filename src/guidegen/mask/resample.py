"""Label maps in physical space: grids, nearest-neighbour resampling, reading and writing."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from isal import igzip
from scipy.ndimage import affine_transform


@dataclass(frozen=True)
class Grid:
    """A voxel grid: shape (X, Y, Z) and the affine (4, 4) from voxel indices to world RAS coordinates in mm."""

    shape: tuple[int, int, int]
    affine: np.ndarray

    @property
    def spacing_mm(self) -> np.ndarray:
        """(3,) voxel edge lengths in mm."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in ml."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0


def resample_nearest(labels: np.ndarray, affine: np.ndarray, grid: Grid) -> np.ndarray:
    """Place a label map on another grid: each voxel takes the label of the nearest voxel centre.

    Args:
        labels: (I, J, K) labels; the axes may be flipped or swapped against the grid, the affine says how.
        affine: (4, 4) from indices of `labels` to world RAS coordinates.
        grid: where to.

    Returns:
        (X, Y, Z) labels, 0 outside the given map. Equal grids come back voxel by voxel.
    """
    mapping = np.linalg.inv(affine) @ grid.affine
    axes = _find_axes(mapping[:3, :3], grid.shape)
    if axes is None:
        offset: Any = mapping[:3, 3]
        return affine_transform(
            labels, mapping[:3, :3], offset, output_shape=grid.shape, order=0, mode="grid-constant", cval=0
        )
    # Separable: each source axis follows exactly one target axis, so three index vectors describe the whole map.
    indices, inside = [], []
    for source, target in enumerate(axes):
        index = mapping[source, target] * np.arange(grid.shape[target]) + mapping[source, 3]
        rounded = np.floor(index + 0.5 + 1e-6).astype(np.int64)
        valid = (rounded >= 0) & (rounded < labels.shape[source])
        indices.append(np.where(valid, rounded, 0))
        inside.append(valid)
    block = labels[np.ix_(*indices)]
    for axis, valid in enumerate(inside):
        if not valid.all():
            block[tuple(~valid if i == axis else slice(None) for i in range(3))] = 0
    order = [axes.index(target) for target in range(3)]
    return np.ascontiguousarray(block.transpose(order))


def _find_axes(matrix: np.ndarray, shape: tuple[int, int, int]) -> list[int] | None:
    """Target axis of each source axis, or None where the grids are rotated by more than a twentieth of a voxel."""
    axes = [int(np.argmax(np.abs(row))) for row in matrix]
    if sorted(axes) != [0, 1, 2]:
        return None
    rest = np.abs(matrix) * np.array(shape)
    for source, target in enumerate(axes):
        rest[source, target] = 0
    return axes if rest.max() < 0.05 else None


def read_volume(path: Path) -> tuple[np.ndarray, Grid]:
    """Read a gzipped NIfTI as stored: (X, Y, Z) array and grid, without scaling for integer files."""
    image = nib.Nifti1Image.from_bytes(igzip.decompress(path.read_bytes()))
    return np.asarray(image.dataobj), Grid(tuple(image.shape), image.affine)  # type: ignore[arg-type]


def write_labels(path: Path, labels: np.ndarray, grid: Grid) -> None:
    """Write a uint8 label map as gzipped NIfTI with deterministic bytes."""
    image = nib.Nifti1Image(labels.astype(np.uint8, copy=False), grid.affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(grid.affine, code=1)
    path.write_bytes(igzip.compress(image.to_bytes(), 2, mtime=0))
