"""Dice, HD95 and surface Dice of one label map against another.

A structure in the reference that the prediction misses scores Dice 0, surface Dice 0 and the longest distance that the
volume allows (its diagonal); so does a structure that was predicted where there is none. Only a structure that is
absent in both is left out.
"""

import warnings
from collections.abc import Sequence

import numpy as np

from guidegen.errors import GuideGenError
from guidegen.labels import TUMOUR, LabelTable
from guidegen.prepare.cohort import CohortCase

METRICS = {"dice": "share", "hd95": "mm", "surface_dice": "share"}


def score_case(
    predicted: np.ndarray, case: CohortCase, table: LabelTable, tolerance_mm: float
) -> dict[str, np.ndarray]:
    """Return Dice, HD95 (mm) and surface Dice per class, each of shape (classes,), NaN where a class is not scored."""
    truth = case.load_labels()
    if predicted.shape != truth.shape:
        raise GuideGenError(f"{case.case}: prediction {predicted.shape}, label map {truth.shape}; segment again")
    scores = score_labels(predicted, truth, case.spacing, len(table), tolerance_mm)
    if not case.tumour_annotated:
        for values in scores.values():
            values[table.ids[TUMOUR]] = np.nan
    return scores


def score_labels(
    predicted: np.ndarray, truth: np.ndarray, spacing_mm: Sequence[float], classes: int, tolerance_mm: float
) -> dict[str, np.ndarray]:
    """Score one label map against another on the same grid.

    Args:
        predicted: (X, Y, Z), class ids.
        truth: the same of the reference.
        spacing_mm: (x, y, z).
        classes: number of classes; class 0 is never scored.
        tolerance_mm: of the surface Dice.
    """
    table = np.bincount(truth.ravel().astype(np.int64) * classes + predicted.ravel(), minlength=classes**2)
    table = table.reshape(classes, classes)
    there, guessed, agreed = table.sum(1), table.sum(0), np.diag(table)
    scored = (there + guessed > 0) & (np.arange(classes) > 0)
    dice = np.where(scored, 2 * agreed / np.maximum(there + guessed, 1), np.nan)
    worst = float(np.linalg.norm(np.asarray(truth.shape) * np.asarray(spacing_mm)))
    distance, surface = np.where(scored, worst, np.nan), np.where(scored, 0.0, np.nan)
    for k in np.flatnonzero(scored & (there > 0) & (guessed > 0)):
        distance[k], surface[k] = _score_surfaces(predicted == k, truth == k, spacing_mm, tolerance_mm)
    return {"dice": dice, "hd95": distance, "surface_dice": surface}


def _score_surfaces(
    predicted: np.ndarray, truth: np.ndarray, spacing_mm: Sequence[float], tolerance_mm: float
) -> tuple[float, float]:
    """Return HD95 in mm and surface Dice of two non-empty masks, cut to the box that holds both."""
    import torch
    from monai.metrics.utils import get_edge_surface_distance

    box = np.argwhere(predicted | truth)
    low, high = np.maximum(box.min(0) - 1, 0), box.max(0) + 2
    parts = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    one, other = (torch.from_numpy(np.pad(mask[parts], 1)) for mask in (predicted, truth))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # MONAI 1.6 calls a deprecated argument of its own
        _, distances, _ = get_edge_surface_distance(one, other, spacing=tuple(spacing_mm), symmetric=True)
    forth, back = (part.numpy() for part in distances)
    hd95 = max(float(np.quantile(forth, 0.95)), float(np.quantile(back, 0.95)))
    near = (forth <= tolerance_mm).sum() + (back <= tolerance_mm).sum()
    return hd95, float(near / (len(forth) + len(back)))
