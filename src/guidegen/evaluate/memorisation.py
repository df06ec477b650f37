"""Generated cases that are copies of training cases.

Each generated CT and label map has a nearest training case; real held-out cases, whose nearest training case is a
stranger by construction, say how near that usually is. A case counts as memorised where one of its two distances is
below a share of the median distance of the held-out cases and below nearly all of them, or 0. A generated case that is
merely smooth comes nearer to everything, but not that near. The share of held-out cases that the same rule would list
stands beside.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from guidegen.evaluate.bootstrap import draw_weights, estimate_mean
from guidegen.evaluate.settings import EvaluateSettings
from guidegen.evaluate.volumes import Volume, list_real_volumes, list_synthetic_volumes
from guidegen.prepare.cohort import CohortCase
from guidegen.progress import track_progress
from guidegen.seeds import derive_rng
from guidegen.study import Study

CT_GRID, LABEL_GRID = 16, 32
UNITS = {"ct": "HU", "labels": "share"}
NEARLY_NONE = 0.05
"""At most this share of held-out cases lies below a threshold."""


@dataclass(frozen=True)
class Thumbnails:
    """Cases on small grids: CT averaged over blocks, float32 (cases, ≤ 16³); label maps, every k-th voxel, uint8."""

    volumes: Sequence[Volume]
    ct: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Neighbours:
    """Nearest training case of each case: its number and distance, by `ct` and `labels`."""

    nearest: dict[str, np.ndarray]
    distance: dict[str, np.ndarray]


def evaluate_memorisation(study: Study, cohort: Sequence[CohortCase], sets: Sequence[str]) -> dict[str, Any]:
    """Look for copies of training cases in every synthetic set.

    Returns:
        `thresholds` (`ct` in HU, `labels` as a share); `held_out` and `sets`: name → `cases`, `ct` and `labels`
        (figures: mean distance to the nearest training case), `memorised` (share of cases), of sets also
        `memorised_cases`; `cases`: one row per generated case with both neighbours and distances; `left_out`.
    """
    settings = study.config.evaluate
    train, held_out = list_real_volumes(cohort, "train"), list_real_volumes(cohort, "val", "test")
    if not train or not held_out:
        reason = f"{len(train)} training and {len(held_out)} held-out cases with CT and labels"
        return {"thresholds": {}, "held_out": {}, "sets": {}, "cases": [], "left_out": dict.fromkeys(sets, reason)}
    known, others = shrink(train, settings), shrink(held_out, settings)
    usual = find_neighbours(others, known)
    thresholds = find_thresholds(usual, settings.memorised_below)
    found, rows = {}, []
    for name in sets:
        made = shrink(list_synthetic_volumes(study, name), settings)
        neighbours = find_neighbours(made, known)
        copied = mark_copies(neighbours, thresholds)
        cases = _list_cases(name, made.volumes, train, neighbours, copied)
        rows += cases
        found[name] = {
            "cases": len(cases),
            **_estimate(study, name, made.volumes, neighbours, copied),
            "memorised_cases": [row["case"] for row in cases if row["memorised"]],
        }
    return {
        "thresholds": {kind: float(f"{value:.6g}") for kind, value in thresholds.items()},
        "held_out": {
            "cases": len(held_out),
            **_estimate(study, "held-out", held_out, usual, mark_copies(usual, thresholds)),
        },
        "sets": found,
        "cases": rows,
        "left_out": {},
    }


def find_memorised(study: Study, cohort: Sequence[CohortCase], name: str) -> set[str]:
    """Return the cases of a synthetic set that count as memorised; none where there is nothing to compare with."""
    found = evaluate_memorisation(study, cohort, [name])["sets"]
    return set(found[name]["memorised_cases"]) if found else set()


def shrink(volumes: Sequence[Volume], settings: EvaluateSettings) -> Thumbnails:
    """Read all volumes and keep small copies."""
    images, maps = [], []
    with track_progress("evaluate: neighbours", len(volumes)) as advance:
        for volume in volumes:
            images.append(_average_blocks(np.clip(volume.load_ct(), *settings.hu_window), CT_GRID).ravel())
            labels = volume.load_labels()
            step = [max(size // LABEL_GRID, 1) for size in labels.shape]
            maps.append(labels[tuple(slice(k // 2, None, k) for k in step)].ravel())
            advance(1, volume.case)
    return Thumbnails(volumes, _stack(images, np.float32), _stack(maps, np.uint8))


def _average_blocks(image: np.ndarray, grid: int) -> np.ndarray:
    for axis in range(3):
        block = max(image.shape[axis] // grid, 1)
        size = image.shape[axis] // block * block
        parts = np.moveaxis(image, axis, 0)[:size].reshape(size // block, block, *np.delete(image.shape, axis))
        image = np.moveaxis(parts.mean(1, dtype=np.float32), 0, axis)
    return image


def _stack(rows: list[np.ndarray], kind: type) -> np.ndarray:
    return np.stack(rows).astype(kind, copy=False) if rows else np.empty((0, 1), kind)


def find_neighbours(cases: Thumbnails, known: Thumbnails) -> Neighbours:
    """Return each case's nearest known case by CT (root mean square, HU) and by labels (see `measure_labels`)."""
    nearest: dict[str, np.ndarray] = {}
    distance: dict[str, np.ndarray] = {}
    measures: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {"ct": measure_ct, "labels": measure_labels}
    for kind, measure in measures.items():
        one, other = getattr(cases, kind), getattr(known, kind)
        rows = [measure(row, other) for row in one]
        table = np.stack(rows) if rows else np.empty((0, len(other)))
        nearest[kind], distance[kind] = table.argmin(1), table.min(1)
    return Neighbours(nearest, distance)


def measure_ct(image: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the root mean square difference in HU of a small CT (voxels,) to others (cases, voxels)."""
    return np.sqrt(np.square(others - image).mean(1, dtype=np.float64))


def measure_labels(labels: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the share of the voxels that are foreground in either map in which a map differs from others, (cases,)."""
    either = ((others > 0) | (labels > 0)).sum(1)
    return (others != labels).sum(1) / np.maximum(either, 1)


def find_thresholds(held_out: Neighbours, share: float) -> dict[str, float]:
    """Return the distances below which a case counts as memorised, given those of held-out real cases."""
    return {
        kind: float(min(share * np.median(distance), np.quantile(distance, NEARLY_NONE, method="lower")))
        for kind, distance in held_out.distance.items()
    }


def mark_copies(neighbours: Neighbours, thresholds: dict[str, float]) -> np.ndarray:
    """Return which cases are a training case or nearer to one than a threshold allows, by CT or labels, (cases,)."""
    found = [(neighbours.distance[kind] < thresholds[kind]) | (neighbours.distance[kind] == 0) for kind in UNITS]
    return np.any(found, axis=0)


def _list_cases(
    name: str, volumes: Sequence[Volume], train: Sequence[Volume], found: Neighbours, copied: np.ndarray
) -> list[dict[str, Any]]:
    return [
        {
            "set": name,
            "case": volume.case,
            **{f"{kind}_nearest": train[found.nearest[kind][row]].case for kind in UNITS},
            **{f"{kind}_distance": float(f"{found.distance[kind][row]:.6g}") for kind in UNITS},
            "memorised": bool(copied[row]),
        }
        for row, volume in enumerate(volumes)
    ]


def _estimate(
    study: Study, name: str, volumes: Sequence[Volume], found: Neighbours, copied: np.ndarray
) -> dict[str, Any]:
    distances = {
        kind: _average(study, f"{name} {kind}", volumes, found.distance[kind], unit) for kind, unit in UNITS.items()
    }
    return distances | {"memorised": _average(study, f"{name} memorised", volumes, copied.astype(float), "share")}


def _average(study: Study, key: str, volumes: Sequence[Volume], values: np.ndarray, unit: str) -> dict[str, Any]:
    rng = derive_rng(study.config.study.seed, "evaluate", "memorisation", key)
    groups = [volume.group for volume in volumes] or ["none"]
    return estimate_mean(values, draw_weights(rng, groups, study.config.evaluate.bootstrap), unit).to_json()
