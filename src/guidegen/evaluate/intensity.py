"""HU of generated organs beside those of real held-out ones, and beside what two halves of the real data differ by."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from guidegen.evaluate.bootstrap import average, draw_weights, estimate_mean, summarise
from guidegen.evaluate.cases import Case
from guidegen.evaluate.settings import EvaluateSettings
from guidegen.labels import LabelTable
from guidegen.seeds import derive_rng


def evaluate_intensity(
    real: Sequence[Case],
    synthetic: Mapping[str, Sequence[Case]],
    table: LabelTable,
    settings: EvaluateSettings,
    seed: int,
) -> dict[str, Any]:
    """Average each class's median HU over cases, for real splits and synthetic sets, and compare them.

    Returns:
        `organs`: class → `real train`, `real test`, each set's name → figure in HU; `differences`: class → `floor`
        (real train − real test) and each set's name → figure (set − real test); `mean_absolute`: the same, averaged
        over classes without sign.
    """
    groups = {f"real {split}": [case for case in real if case.split == split] for split in ("train", "test")}
    groups |= {name: list(cases) for name, cases in synthetic.items()}
    medians = {name: _stack_medians(cases, len(table)) for name, cases in groups.items()}
    weights = {
        name: draw_weights(
            derive_rng(seed, "evaluate", "intensity", name), [c.group for c in cases], settings.bootstrap
        )
        for name, cases in groups.items()
        if cases
    }
    organs = {
        entry.name: {name: estimate_mean(medians[name][:, entry.id], weights[name], "HU").to_json() for name in weights}
        for entry in table.classes[1:]
    }
    differences: dict[str, dict[str, Any]] = {entry.name: {} for entry in table.classes[1:]}
    overall = {}
    if "real test" in weights:
        for name in (name for name in weights if name != "real test"):
            label = "floor" if name == "real train" else name
            plain, drawn, counts = _subtract(medians[name], weights[name], medians["real test"], weights["real test"])
            for entry in table.classes[1:]:
                figure = summarise(plain[entry.id], drawn[:, entry.id], int(counts[entry.id]), "HU")
                differences[entry.name][label] = figure.to_json()
            known = np.isfinite(plain) & (np.arange(len(table)) > 0)
            spread = np.abs(drawn[:, known])
            mean = np.nanmean(spread, 1) if known.any() else np.empty(0)
            value = float(np.abs(plain[known]).mean()) if known.any() else np.nan
            overall[label] = summarise(value, mean, int(known.sum()), "HU").to_json()
    return {"organs": organs, "differences": differences, "mean_absolute": overall}


def _stack_medians(cases: Sequence[Case], classes: int) -> np.ndarray:
    return np.stack([case.seen.hu for case in cases]) if cases else np.empty((0, classes))


def _subtract(
    one: np.ndarray, one_weights: np.ndarray, other: np.ndarray, other_weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the difference of means per class, its resamples, and the smaller number of cases behind it."""
    plain = average(one, np.ones((1, len(one))))[0] - average(other, np.ones((1, len(other))))[0]
    drawn = average(one, one_weights) - average(other, other_weights)
    return plain, drawn, np.minimum(np.isfinite(one).sum(0), np.isfinite(other).sum(0))
