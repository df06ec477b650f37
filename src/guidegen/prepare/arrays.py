"""Cuts the trunk box of a case over its covered range and resamples it to the grids that the networks read."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from guidegen.errors import ItemError
from guidegen.manifest import Item, Outcome
from guidegen.mask.resample import Grid, read_volume
from guidegen.mask.trunk import find_trunk_mask
from guidegen.prepare.resample import resample_ct, resample_labels

ARRAY_COLUMNS = (
    *("labels_path", "labels_bytes", "labels_sha256", "ct_path", "ct_bytes", "ct_sha256"),
    *("spacing_mm", "box"),
)
BODY_HU = -300
AIR_HU = -1024


@dataclass(frozen=True)
class ArrayTask:
    """What a worker needs: files (either may be None), the trunk box (x0,x1,y0,y1,z0,z1), grid and class count."""

    ct: Path | None
    labels: Path | None
    box: tuple[int, ...] | None
    grid: int
    classes: int
    trunk_only: bool = True
    """Table and arms in the box become air."""


def make_arrays(item: Item, folder: Path) -> Outcome:
    """Write `<case>.labels.npy` (uint8, n³) and `<case>.ct.npy` (int16 HU, (2n)³) of one case.

    Raises:
        ItemError: a volume is not RAS+, or CT, labels and box do not share one grid.
    """
    task: ArrayTask = item.payload
    files: dict[str, str] = {}
    ct = read_ras(task.ct) if task.ct else None
    labels = read_ras(task.labels) if task.labels else None
    volume = ct or labels
    if volume is None:
        raise ItemError(f"{item.case}: neither a CT nor a label map")
    if ct and labels:
        _check_same_grid(item.case, ct[1], labels[1])
    array, grid = volume
    box = task.box or find_body_box(array)
    parts = _cut_box(item.case, box, grid.shape)
    if labels:
        _save(folder, files, "labels", item.case, resample_labels(labels[0][parts], task.grid, task.classes))
    if ct:
        hu = ct[0][parts].astype(np.float32)
        if task.trunk_only:
            hu[~find_trunk_mask(hu, labels[0][parts] if labels else None, ct[1])] = AIR_HU
        _save(folder, files, "ct", item.case, resample_ct(hu, 2 * task.grid, low=AIR_HU))
    spacing = [(part.stop - part.start) * mm / task.grid for part, mm in zip(parts, grid.spacing_mm, strict=True)]
    columns = {"spacing_mm": ",".join(f"{value:.6g}" for value in spacing), "box": ",".join(map(str, box))}
    return Outcome(files=files, columns=columns)


def read_ras(path: Path) -> tuple[np.ndarray, Grid]:
    """Read a NIfTI volume. Raises ItemError unless it is three-dimensional and its axes run right, anterior, up."""
    array, grid = read_volume(path)
    main = grid.affine[:3, :3]
    off = np.abs(main - np.diag(np.diag(main))).max()
    if array.ndim != 3 or (np.diag(main) <= 0).any() or off > 0.5 * np.diag(main).min():
        raise ItemError(f"{path}: shape {array.shape}, affine {main.round(3).tolist()}; expected a 3D volume in RAS+")
    return array, grid


def find_body_box(ct: np.ndarray) -> tuple[int, ...]:
    """Return the box (x0,x1,y0,y1,z0,z1) of the body in a CT without labels: largest part above -300 HU, all slices."""
    step = max(1, max(ct.shape[:2]) // 128)
    body = ndimage.binary_opening(ct[::step, ::step, ::step] > BODY_HU, iterations=1)
    parts = np.asarray(ndimage.label(body)[0])  # type: ignore[index]
    if not parts.any():
        return (0, ct.shape[0], 0, ct.shape[1], 0, ct.shape[2])
    largest = int(np.bincount(parts.ravel())[1:].argmax()) + 1
    found = ndimage.find_objects(parts)[largest - 1]
    assert found is not None
    x, y, _ = found
    return (
        *(x.start * step, min(x.stop * step, ct.shape[0])),
        *(y.start * step, min(y.stop * step, ct.shape[1])),
        *(0, ct.shape[2]),
    )


def _check_same_grid(case: str, ct: Grid, labels: Grid) -> None:
    if ct.shape != labels.shape or not np.allclose(ct.affine, labels.affine, atol=1e-3):
        raise ItemError(f"{case}: CT {ct.shape} and label map {labels.shape} do not share one grid; run mask again")


def _cut_box(case: str, box: tuple[int, ...], shape: tuple[int, ...]) -> tuple[slice, ...]:
    parts = tuple(slice(*box[2 * axis : 2 * axis + 2]) for axis in range(3))
    for part, size in zip(parts, shape, strict=True):
        if not 0 <= part.start < part.stop <= size:
            raise ItemError(f"{case}: trunk box {box} does not fit into the volume {shape}")
    return parts


def _save(folder: Path, files: dict[str, str], role: str, case: str, array: np.ndarray) -> None:
    files[role] = f"{case}.{role}.npy"
    np.save(folder / files[role], np.ascontiguousarray(array))
