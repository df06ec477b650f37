"""Segmenters compared on the same real test patients.

A structure in the reference that the prediction misses scores Dice 0, surface Dice 0 and the longest distance that the
volume allows (its diagonal); so does a structure that was predicted where there is none. Only a structure that is
absent in both is left out, and the number of cases behind each figure says so. A tumour is scored only where the
reference is annotated for tumours.
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from guidegen.errors import GuideGenError
from guidegen.evaluate.bootstrap import Figure, average, draw_weights, estimate_mean, summarise
from guidegen.labels import TUMOUR, LabelTable
from guidegen.manifest import read_manifest
from guidegen.prepare.cohort import CohortCase
from guidegen.progress import track_progress
from guidegen.seeds import derive_rng
from guidegen.study import Study

METRICS = {"dice": "share", "hd95": "mm", "surface_dice": "share"}
ALL = "mean of organs"


def evaluate_segmentation(study: Study, cohort: Sequence[CohortCase]) -> dict[str, Any]:
    """Score every arm that was trained and compare the arms pair by pair.

    Returns:
        `left_out`: arm → why it has no scores;
        `arms`: metric → arm → structure → figure; `differences`: metric → "b − a" → structure → figure (patients
        paired); `patients`: number of test patients; `arms_order`.
    """
    folder = study.root / "results" / "segmentation"
    arms = [path.stem for path in sorted(folder.glob("*.tsv"))]
    arms = [arm for arm in ("real", "synthetic", "both") if arm in arms] + sorted(
        set(arms) - {"real", "synthetic", "both"}
    )
    test = [case for case in cohort if case.split == "test" and case.labels_path and case.ct_path]
    if not arms:
        raise GuideGenError(f"{study.root}: nothing to score: no arm in {folder}")
    left_out = {arm: reason for arm in arms if (reason := _explain_absence(study, arm, test))}
    arms = [arm for arm in arms if arm not in left_out]
    if not arms:
        empty = {metric: {} for metric in METRICS}
        return {"arms_order": [], "left_out": left_out, "patients": 0, "arms": empty, "differences": empty}
    scores = {metric: np.full((len(arms), len(test), len(study.labels)), np.nan) for metric in METRICS}
    with track_progress("evaluate: segmentation", len(arms) * len(test)) as advance:
        for a, arm in enumerate(arms):
            predictions = _locate_predictions(study, arm, test)
            for c, case in enumerate(test):
                predicted = np.load(predictions[case.case], allow_pickle=False)
                found = score_case(predicted, case, study.labels, study.config.evaluate.surface_tolerance_mm)
                for metric in METRICS:
                    scores[metric][a, c] = found[metric]
                advance(1, f"{arm} {case.case}")
    rng = derive_rng(study.config.study.seed, "evaluate", "segmentation")
    weights = draw_weights(rng, [case.patient for case in test], study.config.evaluate.bootstrap)
    return {
        "arms_order": arms,
        "left_out": left_out,
        "patients": len({case.patient for case in test}),
        "surface_tolerance_mm": study.config.evaluate.surface_tolerance_mm,
        **_compare_arms(scores, arms, weights, study.labels),
    }


def _explain_absence(study: Study, arm: str, test: Sequence[CohortCase]) -> str:
    """Say why an arm cannot be scored, "" where it can: no case to score on, or nothing to train on."""
    if not test:
        return "no test case with CT and labels"
    rows = read_manifest(study.manifest("results", "segmentation", arm))
    excluded = [row["reason"] for row in rows if row["status"] == "excluded"]
    return excluded[0] if len(excluded) == len(rows) and excluded else ""


def _locate_predictions(study: Study, arm: str, test: Sequence[CohortCase]) -> dict[str, Any]:
    """Map case to prediction file. Raises GuideGenError where a test case has none."""
    rows = read_manifest(study.manifest("results", "segmentation", arm))
    files = {path.rsplit("/", 1)[1].removesuffix(".npy"): study.root / path for row in rows if (path := row["path"])}
    missing = [case.case for case in test if case.case not in files]
    if missing:
        raise GuideGenError(f"arm '{arm}': {len(missing)} test case(s) without a prediction, the first is {missing[0]}")
    return files


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


def _compare_arms(
    scores: Mapping[str, np.ndarray], arms: Sequence[str], weights: np.ndarray, table: LabelTable
) -> dict[str, Any]:
    by_arm: dict[str, Any] = {}
    differences: dict[str, Any] = {}
    for metric, unit in METRICS.items():
        values = scores[metric]
        by_arm[metric] = {arm: _list_structures(values[a], weights, unit, table) for a, arm in enumerate(arms)}
        differences[metric] = {
            f"{arms[b]} − {arms[a]}": _list_structures(values[b] - values[a], weights, unit, table)
            for a in range(len(arms))
            for b in range(a + 1, len(arms))
        }
    return {"arms": by_arm, "differences": differences}


def _list_structures(values: np.ndarray, weights: np.ndarray, unit: str, table: LabelTable) -> dict[str, Any]:
    """Figures per structure and for the mean over organs (each organ counts the same, the tumour is apart)."""
    found = {entry.name: estimate_mean(values[:, entry.id], weights, unit).to_json() for entry in table.classes[1:]}
    organs = [e.id for e in table.classes[1:] if e.name != TUMOUR and np.isfinite(values[:, e.id]).any()]
    if not organs:
        return {ALL: Figure(None, None, None, 0, unit).to_json(), **found}
    plain = float(average(values[:, organs], np.ones((1, len(values))))[0].mean())
    drawn = np.nanmean(average(values[:, organs], weights), 1)
    cases = int(np.isfinite(values[:, organs]).any(1).sum())
    return {ALL: summarise(plain, drawn, cases, unit).to_json(), **found}
