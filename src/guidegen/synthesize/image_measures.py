"""What is measured on a CT by the structures of its label map: noise, sharpness, and steps between planes."""

import numpy as np
from scipy.ndimage import uniform_filter1d

from guidegen.labels import LabelTable
from guidegen.synthesize.pair import Pair

NOISE_PLANES = 64
FEWEST_NOISE_VOXELS = 200
EDGE_REACH = 2
"""Voxels beyond those at a border that tell what lies on either side of it."""
LEAST_EDGE_HU, FEWEST_EDGES = 100, 100
"""A border counts where its sides differ by so much."""
SEAM_WINDOW = 9
"""Planes that a step is compared with."""
SOLID = ("spleen", "kidney", "liver", "lung", "heart", "aorta")
"""Organs without borders of their own inside: a fluid level in the bowel is a plane, too."""
FEWEST_STEPS, LEAST_SHARE = 40, 0.05
"""A plane's step counts where it has so many pairs of voxels, and this share of those that the fullest plane has."""
LEAST_STEP_HU = 0.5
"""Where planes differ by less, their surroundings count as this."""


def measure_noise(pair: Pair) -> float | None:
    """Return the standard deviation of the noise within organs in HU, None where they are too thin.

    The second difference along x of white noise of standard deviation σ has standard deviation √6 σ; its median
    absolute value, which edges hardly move, is 0.6745 of that (Rousseeuw and Croux 1993).
    """
    assert pair.ct is not None
    every = max(pair.ct.shape[2] // NOISE_PLANES, 1)
    ct, labels = pair.ct[:, :, ::every].astype(np.int32), pair.fine_labels[:, :, ::every]
    inside = (labels[1:-1] > 0) & (labels[1:-1] == labels[:-2]) & (labels[1:-1] == labels[2:])
    if np.count_nonzero(inside) < FEWEST_NOISE_VOXELS:
        return None
    curvature = np.abs(2 * ct[1:-1] - ct[:-2] - ct[2:])[inside]
    return float(np.median(curvature)) / (0.6745 * 6**0.5)


def measure_sharpness(pair: Pair) -> float | None:
    """Return how much of the difference between two structures lies between the two voxels at their border.

    Along x: the step at a border over the difference of the voxels `EDGE_REACH` further out, so 1 for a clean border
    and 0.2 for an even ramp; summed over all borders of the label map whose sides differ by `LEAST_EDGE_HU`. None with
    too few of those.
    """
    assert pair.ct is not None
    every = max(pair.ct.shape[2] // NOISE_PLANES, 1)
    ct, labels = pair.ct[:, :, ::every].astype(np.int32), pair.fine_labels[:, :, ::every]
    first, last = EDGE_REACH, len(ct) - EDGE_REACH
    step = np.abs(np.diff(ct[first:last], axis=0))
    across = np.abs(ct[2 * EDGE_REACH + 1 :] - ct[: -2 * EDGE_REACH - 1])
    edges = (labels[first : last - 1] != labels[first + 1 : last]) & (across >= LEAST_EDGE_HU)
    return float(step[edges].sum() / across[edges].sum()) if np.count_nonzero(edges) >= FEWEST_EDGES else None


def measure_seams(pair: Pair, table: LabelTable) -> tuple[float, str] | None:
    """Return the largest step between neighbouring planes within solid organs, relative to the steps around it.

    Returns:
        Ratio, and where it is (`z = 40`: the plane before the step); None where too few voxels can be compared.
    """
    assert pair.ct is not None
    solid = np.zeros(256, np.uint8)
    solid[[entry.id for entry in table.classes if entry.name in SOLID]] = 1
    labels = pair.fine_interiors * solid[pair.fine_interiors]
    found = [(seam, axis) for axis in range(3) if (seam := _measure_axis(pair.ct, labels, axis))]
    if not found:
        return None
    (ratio, plane), axis = max(found)
    return ratio, f"{'xyz'[axis]} = {plane}"


def _measure_axis(ct: np.ndarray, labels: np.ndarray, axis: int) -> tuple[float, int] | None:
    """Return the largest step between neighbouring planes within organs, relative to the mean of the steps around.

    A plane's step is the median of its voxels' steps, so that edges inside an organ do not count.

    Args:
        ct: HU (X, Y, Z).
        labels: class ids on the same grid; only neighbours of one class count, so that borders of organs do not.
        axis: across which the planes are stacked.

    Returns:
        Ratio, and the plane before the step; None where too few voxels can be compared.
    """
    ct, labels = np.moveaxis(ct, axis, 0), np.moveaxis(labels, axis, 0)
    every = max(ct.shape[1] // 64, 1)  # a plane of 64 x 64 is enough for a median
    ct, labels = ct[:, ::every, ::every].astype(np.int32), labels[:, ::every, ::every]
    same = (labels[1:] == labels[:-1]) & (labels[1:] > 0)
    counts = same.sum((1, 2))
    planes = np.flatnonzero(counts >= max(FEWEST_STEPS, LEAST_SHARE * counts.max()))
    if len(planes) < SEAM_WINDOW:
        return None
    steps = np.array([np.median(np.abs(ct[plane + 1] - ct[plane])[same[plane]]) for plane in planes])
    around = (uniform_filter1d(steps, SEAM_WINDOW, mode="mirror") * SEAM_WINDOW - steps) / (SEAM_WINDOW - 1)
    ratios = steps / np.maximum(around, LEAST_STEP_HU)
    worst = int(np.argmax(ratios))
    return float(ratios[worst]), int(planes[worst])
