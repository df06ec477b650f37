"""Resampling of a box to a cube: CT by an anti-aliased linear filter, label maps by class shares.

Both filters are separable, and each axis is one sparse matrix, so the cost grows with the voxels and not with the
width of the filter.
"""

import numpy as np
from scipy import ndimage, sparse

BALANCE_ROUNDS = 16
TIE_BREAK = 0.1


def build_area_weights(size: int, target: int) -> sparse.csr_array:
    """Return the matrix (target, size) that averages `size` cells over `target` equal intervals.

    A row holds the shares of the input cells that its interval overlaps; rows sum to one.
    """
    edges = np.linspace(0, size, target + 1)
    first = np.minimum(np.floor(edges[:-1] + 1e-9).astype(int), size - 1)
    last = np.maximum(np.ceil(edges[1:] - 1e-9).astype(int), first + 1)
    rows, columns = _spread(first, last)
    overlap = np.minimum(columns + 1, edges[rows + 1]) - np.maximum(columns, edges[rows])
    return _normalise(rows, columns, overlap, (target, size))


def build_linear_weights(size: int, target: int) -> sparse.csr_array:
    """Return the matrix (target, size) of linear interpolation at cell centres, widened where it would alias.

    The triangle has a half-width of one output cell when sampling down and of one input cell when sampling up.
    """
    step = size / target
    radius = max(step, 1.0)
    centre = (np.arange(target) + 0.5) * step - 0.5
    first = np.maximum(np.ceil(centre - radius).astype(int), 0)
    last = np.minimum(np.floor(centre + radius).astype(int) + 1, size)
    rows, columns = _spread(first, last)
    return _normalise(rows, columns, np.maximum(1 - np.abs(columns - centre[rows]) / radius, 0), (target, size))


def _spread(first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    counts = last - first
    rows = np.repeat(np.arange(len(first)), counts)
    columns = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(first, counts)
    return rows, columns


def _normalise(rows: np.ndarray, columns: np.ndarray, weights: np.ndarray, shape: tuple[int, int]) -> sparse.csr_array:
    total = np.bincount(rows, weights, shape[0])
    return sparse.csr_array(((weights / total[rows]).astype(np.float32), (rows, columns)), shape=shape)


def apply_weights(volume: np.ndarray, weights: tuple[sparse.csr_array, ...]) -> np.ndarray:
    """Apply one matrix per axis to a volume (X, Y, Z); returns float32 of the matrices' row counts."""
    result = np.asarray(volume, np.float32)
    for axis, matrix in enumerate(weights):
        moved = np.moveaxis(result, axis, 0)
        rest = moved.shape[1:]
        product = matrix @ np.ascontiguousarray(moved).reshape(moved.shape[0], -1)
        result = np.moveaxis(product.reshape(-1, *rest), 0, axis)
    return result


def resample_ct(ct: np.ndarray, grid: int, low: int = -1024, high: int = 3071) -> np.ndarray:
    """Resample a box of CT (X, Y, Z) in HU to int16 (grid, grid, grid), clipped to [low, high]."""
    weights = tuple(build_linear_weights(size, grid) for size in ct.shape)
    return np.rint(apply_weights(np.clip(ct, low, high), weights)).astype(np.int16)


def measure_shares(labels: np.ndarray, grid: int, classes: int) -> np.ndarray:
    """Return the share of each class in each cell of the cube, float32 (classes, grid, grid, grid).

    Raises:
        ValueError: an id is not below `classes`.
    """
    if labels.max(initial=0) >= classes:
        raise ValueError(f"label id {labels.max()} in a map of {classes} classes (0 to {classes - 1})")
    weights = tuple(build_area_weights(size, grid) for size in labels.shape)
    shares = np.zeros((classes, grid, grid, grid), np.float32)
    for index, box in enumerate(ndimage.find_objects(labels, classes - 1), start=1):
        if box is not None:
            cut = tuple(matrix[:, part] for matrix, part in zip(weights, box, strict=True))
            shares[index] = apply_weights(labels[box] == index, cut)
    shares[0] = np.maximum(1 - shares[1:].sum(0), 0)
    return shares


def assign_classes(shares: np.ndarray) -> np.ndarray:
    """Give each cell one class so that thin structures keep their volume; uint8 (X, Y, Z).

    A plain argmax loses ribs and vessels as soon as a cell is wider than they are. Here each class has a factor that
    is raised while the class holds fewer cells than its summed shares, and lowered while it holds more; then argmax of
    factor times share. Steps that overshoot are halved (as in Rprop). A class never goes to a cell in which it has no
    share. Shares are varied by a fixed pattern of ±5 %, so that of many cells with equal shares some are taken, not
    all or none.
    """
    wanted = shares.sum((1, 2, 3), dtype=np.float64)
    present = np.flatnonzero(wanted >= 0.5)
    wanted = wanted[present]
    result = shares.argmax(0).astype(np.uint8)
    mixed = shares.max(0) < 0.999
    pure = np.bincount(result[~mixed], minlength=len(shares))[present]
    kept = np.ascontiguousarray(shares[present][:, mixed].T)
    pattern = np.random.Generator(np.random.PCG64(0)).random(len(kept), np.float32)
    kept[:, 1:] *= 1 + TIE_BREAK * (pattern[:, None] - 0.5)
    factor, step, before = np.zeros(len(present)), np.full(len(present), 1.0), np.zeros(len(present))
    best, error = kept.argmax(1), np.inf
    for _ in range(BALANCE_ROUNDS):
        choice = (kept * np.exp(factor - factor[0]).astype(np.float32)).argmax(1)
        counts = pure + np.bincount(choice, minlength=len(present))
        lack = np.log(wanted / np.maximum(counts, 0.25))
        if np.abs(lack).sum() < error:
            best, error = choice, np.abs(lack).sum()
        step = np.where(np.sign(lack) * before < 0, step / 2, step)
        before = np.sign(lack)
        factor += np.clip(lack, -step, step)
    result[mixed] = present[best]
    return result


def resample_labels(labels: np.ndarray, grid: int, classes: int) -> np.ndarray:
    """Resample a box of label ids (X, Y, Z) to uint8 (grid, grid, grid); ids are never interpolated as numbers."""
    return assign_classes(measure_shares(labels, grid, classes))
