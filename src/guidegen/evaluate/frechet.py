"""Fréchet distance of two groups of feature vectors, and intervals by leaving out one patient at a time."""

from collections.abc import Callable, Sequence

import numpy as np

from guidegen.evaluate.bootstrap import Figure

Z_95 = 1.959964
MOST_GROUPS = 40
"""With more patients, several are left out together, so that the time stays bounded."""


def measure_frechet(one: np.ndarray, other: np.ndarray) -> float:
    """Return the Fréchet distance of the Gaussians fitted to two groups, all vectors of a group at once.

    |μ₁ − μ₂|² + tr Σ₁ + tr Σ₂ − 2 tr (Σ₁Σ₂)^½ (Heusel et al. 2017). The last trace is the sum of the singular values of
    A₁A₂ᵀ for any Aᵢ with Aᵢᵀ Aᵢ = Σᵢ, which is exact also where there are fewer vectors than features; there MONAI's
    `FIDMetric` takes the matrix root of a singular product. With enough vectors both agree (tested).

    Args:
        one: (vectors, F).
        other: (vectors, F).
    """
    if len(one) < 2 or len(other) < 2:
        return float("nan")
    shift = one.mean(0) - other.mean(0)
    first, second = _root(one), _root(other)
    mixed = np.linalg.svd(first @ second.T, compute_uv=False).sum()
    return float(max(shift @ shift + (first**2).sum() + (second**2).sum() - 2 * mixed, 0.0))


def _root(vectors: np.ndarray) -> np.ndarray:
    """Return A with AᵀA the covariance of the vectors, of at most F rows."""
    centred = (vectors - vectors.mean(0)) / np.sqrt(len(vectors) - 1)
    return np.asarray(np.linalg.qr(centred, mode="r")) if len(centred) > centred.shape[1] else centred


def estimate_by_jackknife(
    measure: Callable[[np.ndarray, np.ndarray], float], one: Sequence[str], other: Sequence[str], unit: str
) -> Figure:
    """Return a measure of two groups of cases with its 95 % interval from the delete-one-patient jackknife.

    A bootstrap would draw cases twice and thus find copies among them, which raises every Fréchet distance.

    Args:
        measure: of two arrays of case numbers.
        one: patient of each case of the first group.
        other: the same of the second.
        unit: of the measure.
    """
    sides = np.arange(len(one)), np.arange(len(other))
    value = measure(*sides)
    if not np.isfinite(value):
        return Figure(None, None, None, len(one), unit)
    variance = 0.0
    for side, patients in enumerate((one, other)):
        names = np.asarray(patients, dtype=object).astype(str)
        parts = np.array_split(np.unique(names), min(MOST_GROUPS, len(np.unique(names))))
        left = [[rows[~np.isin(names, part)] if s == side else rows for s, rows in enumerate(sides)] for part in parts]
        values = np.array([measure(*rows) for rows in left])
        values = values[np.isfinite(values)]
        if len(values) < 2:
            return Figure(value, None, None, len(one), unit)
        variance += (len(values) - 1) / len(values) * ((values - values.mean()) ** 2).sum()
    spread = Z_95 * float(np.sqrt(variance))
    return Figure(value, max(value - spread, 0.0) if value >= 0 else value - spread, value + spread, len(one), unit)
