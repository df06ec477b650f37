"""What is claimed of synthetic cases, judged by thresholds that were in the config before the run."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from guidegen.evaluate.bootstrap import average, summarise
from guidegen.labels import TUMOUR
from guidegen.study import Study

SHOWN, NOT_SHOWN, MISSED = "shown", "not shown", "missed"


def judge_claims(study: Study, dice: Mapping[str, np.ndarray], weights: np.ndarray) -> list[dict[str, Any]]:
    """Compare every arm that learns from synthetic cases with the arm that learns from all real ones.

    Args:
        study: the study.
        dice: variant → Dice (cases, classes), NaN where a class is not scored.
        weights: resamples of the cases, (resamples, cases).

    Returns:
        One row per variant: `variant`, `against`, `claim` (`share`: synthetic cases alone reach this share of the real
        Dice; `non-inferiority`: with real ones they are worse by less than the margin), `threshold`, `figure` (ratio or
        difference of the mean Dice over organs), `verdict`: shown where the whole interval holds the claim, not
        shown where only the figure does, missed where not even that.
    """
    runs = {run.variant: run for run in study.config.segment.list_runs().values()}
    arms = study.config.segment.arms
    reference = [
        name
        for name in dice
        if runs[name].size is None and arms[runs[name].arm].real and not arms[runs[name].arm].synthetic
    ]
    if not reference:
        return []
    base = reference[0]
    organs = [
        entry.id
        for entry in study.labels.classes[1:]
        if entry.name != TUMOUR and any(np.isfinite(values[:, entry.id]).any() for values in dice.values())
    ]
    settings, rows = study.config.evaluate, []
    for name, values in dice.items():
        arm = arms[runs[name].arm]
        if not arm.synthetic or not organs:
            continue
        ours, theirs = (_average_organs(part[:, organs], weights) for part in (values, dice[base]))
        if arm.real:
            claim, threshold, unit = "non-inferiority", -settings.inferiority_margin, "Dice"
            plain, drawn = ours[0] - theirs[0], ours[1:] - theirs[1:]
        else:
            claim, threshold, unit = "share", settings.synthetic_share, "ratio"
            plain, drawn = _divide(ours[:1], theirs[:1])[0], _divide(ours[1:], theirs[1:])
        figure = summarise(float(plain), drawn, len(values), unit)
        row = {"variant": name, "against": base, "claim": claim, "threshold": threshold, "figure": figure.to_json()}
        rows.append(row | {"verdict": judge(figure.value, figure.low, threshold)})
    return rows


def _average_organs(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean over organs of the mean over cases, as it is and for each resample: (1 + resamples,)."""
    return np.nanmean(average(values, np.concatenate([np.ones((1, len(values))), weights])), 1)


def _divide(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.divide(one, other, out=np.full(one.shape, np.nan), where=other > 0)


def judge(value: float | None, low: float | None, threshold: float) -> str:
    """Say whether a figure and the lower end of its interval reach a threshold."""
    if value is None or value < threshold:
        return MISSED
    return SHOWN if low is not None and low >= threshold else NOT_SHOWN
