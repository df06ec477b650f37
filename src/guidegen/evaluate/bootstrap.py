"""Figures with 95 % intervals from the patient bootstrap.

Resampling is by patient (all cases of a patient together) and by weights: a resample is a vector of how often each case
was drawn, so that every statistic here is a product of matrices and a seed gives the same interval on every machine.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95


@dataclass(frozen=True)
class Figure:
    """A value with its 95 % interval; `n` is the number of cases behind it, None stands for not computable."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    unit: str

    def to_json(self) -> dict[str, float | int | str | None]:
        return {
            "value": _round(self.value),
            "low": _round(self.low),
            "high": _round(self.high),
            "n": self.n,
            "unit": self.unit,
        }


@dataclass(frozen=True)
class Contrast:
    """A measure with the true pairing, the same with shuffled pairing, and what the pairing adds."""

    true: Figure
    control: Figure
    difference: Figure
    p_permutation: float | None


def draw_weights(rng: np.random.Generator, patients: Sequence[str], resamples: int) -> np.ndarray:
    """Return how often each case is drawn, shape (resamples, cases); cases of one patient share their count."""
    names, inverse = np.unique(np.asarray(patients, dtype=object).astype(str), return_inverse=True)
    counts = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    return counts[:, inverse].astype(float)


def summarise(value: float, resampled: np.ndarray, n: int, unit: str) -> Figure:
    """Return a figure whose interval holds the middle 95 % of the resampled values."""
    finite = resampled[np.isfinite(resampled)]
    if n == 0 or not np.isfinite(value):
        return Figure(None, None, None, n, unit)
    if n < 2 or len(finite) == 0:
        return Figure(float(value), None, None, n, unit)
    low, high = np.quantile(finite, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Figure(float(value), float(low), float(high), n, unit)


def average(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return weighted means along the cases, ignoring NaN.

    Args:
        values: shape (cases, …), NaN where a case has no value.
        weights: shape (resamples, cases).

    Returns:
        Shape (resamples, …); NaN where no case with a value was drawn.
    """
    known = np.isfinite(values)
    flat = np.where(known, values, 0.0).reshape(len(values), -1)
    total = weights @ known.reshape(len(values), -1).astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (weights @ flat) / total
    return means.reshape(len(weights), *values.shape[1:])


def estimate_mean(values: np.ndarray, weights: np.ndarray, unit: str) -> Figure:
    """Return the mean over cases, shape (cases,), with its interval; NaN cases are not counted, no case has no mean."""
    if not len(values):
        return Figure(None, None, None, 0, unit)
    n = int(np.isfinite(values).sum())
    whole = average(values, np.ones((1, len(values))))[0]
    return summarise(whole, average(values, weights), n, unit)


def estimate_contrast(
    scores: np.ndarray,
    groups: Sequence[str],
    weights: np.ndarray,
    rng: np.random.Generator,
    permutations: int,
    unit: str,
) -> Contrast:
    """Compare each request with its own case and with the cases of other requests.

    Args:
        scores: (requests, cases); entry (i, j) tells how well case j fits request i. The first `requests` cases are
            the requests' own: request i belongs to case i. Further columns are cases that make no such request but
            may receive a shuffled one.
        groups: what each case's prompt was taken from; cases of one group share their request and are no control for
            each other.
        weights: (resamples, cases).
        rng: draws the permutations.
        permutations: how many.
        unit: unit of the scores.

    Returns:
        The mean over true pairs; the mean over all pairs of different groups, which is what shuffled prompts reach on
        average; their difference with a bootstrap interval; and the one-sided p value of the true pairing among random
        permutations.
    """
    requests, cases = scores.shape
    if requests < 2:
        empty = Figure(None, None, None, requests, unit)
        value = float(scores[0, 0]) if requests else None
        return Contrast(Figure(value, None, None, requests, unit), empty, empty, None)
    own = scores[np.arange(requests), np.arange(requests)]
    names = np.asarray(groups, dtype=object)
    foreign = (names[:requests, None] != names[None, :]).astype(float)

    def compare(w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = w[:, :requests]
        with np.errstate(invalid="ignore", divide="ignore"):
            true = (rows @ own) / rows.sum(1)
            control = ((rows @ (scores * foreign)) * w).sum(1) / ((rows @ foreign) * w).sum(1)
        return true, control

    true, control = compare(np.ones((1, cases)))
    resampled_true, resampled_control = compare(weights)
    orders = rng.permuted(np.tile(np.arange(cases), (permutations, 1)), axis=1)[:, :requests]
    shuffled = scores[np.arange(requests), orders].mean(1)
    p = (1 + int((shuffled >= true[0] - 1e-12).sum())) / (1 + permutations)
    return Contrast(
        true=summarise(true[0], resampled_true, requests, unit),
        control=summarise(control[0], resampled_control, requests, unit),
        difference=summarise(true[0] - control[0], resampled_true - resampled_control, requests, unit),
        p_permutation=p,
    )


def _round(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")
