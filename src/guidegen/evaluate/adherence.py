"""Prompt adherence: what was asked for against what was made, with shuffled prompts as control.

All generated cases are measured once. A request is compared with its own case, and as control with the cases of all
other requests: the mean over those pairs is what shuffled prompts reach on average. Both arms see the same cases, so
that only the link between text and case can make a difference. Beside each figure stands the same measure on real
held-out cases, which is the most that the instrument allows.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import rankdata

from guidegen.evaluate.attributes import ATTRIBUTES, SIZE, SIZE_MEASURE, Instruments, Reading, arrange_scores
from guidegen.evaluate.bootstrap import Contrast, draw_weights, estimate_contrast, estimate_mean, summarise
from guidegen.evaluate.cases import Case
from guidegen.seeds import derive_rng

FINEST = 0.1
"""A size is given in mm only where a voxel of the label grid is at most this share of it."""
FOLLOWED, NOT_SHOWN, IGNORED, NOT_TESTED = "followed", "not shown", "ignored", "not tested"


def evaluate_adherence(generated: Sequence[Case], held_out: Sequence[Case], tools: Instruments, seed: int) -> dict:
    """Measure every attribute on generated cases and, as ceiling, on real held-out ones.

    Returns:
        `attributes`: name → measure, figures (`true`, `control`, `difference`, `p_permutation`), the same on real
        held-out cases (`real`), and a verdict; `alarm`: the sentence to be shown in red, or ""; `sex_classifier`:
        `accuracy` on held-out real cases (figure) and `largest_class` (share that guessing reaches);
        `size_in_mm`: mean absolute error of asked tumour sizes where the voxels allow it; `cases`: what was asked and
        measured, per case.
    """
    readings = [tools.read(case.seen) for case in generated]
    real = [case for case in held_out if case.tumour_annotated or case.statements.tumour is None]
    real_readings = [tools.read(case.seen) for case in real]
    measured: dict[str, Any] = {}
    for attribute in ATTRIBUTES:
        contrasts: list[tuple[Contrast, int]] = []
        for arm, cases, found in (("generated", generated, readings), ("real", real, real_readings)):
            statements = [case.statements for case in cases]
            scores, columns, distinct = arrange_scores(attribute, statements, found, tools.table)
            contrast = _contrast_scores(scores, [cases[j] for j in columns], tools, (seed, attribute.name, arm))
            contrasts.append((contrast, distinct))
        measured[attribute.name] = _report_attribute(attribute.measure, contrasts[0], contrasts[1], attribute.all_cases)
    sizes = [
        _contrast_sizes(cases, found, tools, (seed, SIZE, arm))
        for arm, cases, found in (("generated", generated, readings), ("real", real, real_readings))
    ]
    measured[SIZE] = _report_attribute(SIZE_MEASURE, sizes[0], sizes[1], all_cases=False)
    ignored = [name for name, entry in measured.items() if entry["verdict"] == IGNORED]
    alarm = f"The text is ignored for {', '.join(ignored)}: shuffled prompts do as well as the true ones."
    return {
        "attributes": measured,
        "alarm": alarm if ignored else "",
        "sex_classifier": _check_sex_reader(real, real_readings, tools, seed),
        "size_in_mm": _measure_size_error(generated, readings, tools, seed),
        "cases": [_describe_case(case, reading) for case, reading in zip(generated, readings, strict=True)],
    }


def _check_sex_reader(
    real: Sequence[Case], readings: Sequence[Reading], tools: Instruments, seed: int
) -> dict[str, Any]:
    known = [(case, reading.sex) for case, reading in zip(real, readings, strict=True) if case.statements.sex]
    right = np.array([float(found == str(case.statements.sex)) for case, found in known])
    female = float(np.mean([str(case.statements.sex) == "female" for case, _ in known])) if known else 0.5
    rng = derive_rng(seed, "evaluate", "sex classifier")
    weights = draw_weights(rng, [case.group for case, _ in known] or ["none"], tools.settings.bootstrap)
    accuracy = estimate_mean(right, weights, "share")
    return {"accuracy": accuracy.to_json(), "largest_class": round(max(female, 1 - female), 4)}


def _measure_size_error(
    cases: Sequence[Case], readings: Sequence[Reading], tools: Instruments, seed: int
) -> dict[str, Any]:
    """Return the error in mm where a voxel is at most `FINEST` of the median asked diameter; else only why not."""
    asked = [
        (case, case.statements.tumour_size_mm, reading.size_mm)
        for case, reading in zip(cases, readings, strict=True)
        if case.statements.tumour and case.statements.tumour_size_mm is not None
    ]
    if not asked:
        return {"error": None, "reason": "no prompt asks for a size"}
    voxel = float(np.median([case.voxel_mm for case, _, _ in asked]))
    usual = float(np.median([size for _, size, _ in asked]))
    if voxel > FINEST * usual:
        return {
            "error": None,
            "reason": f"a voxel is {voxel:.1f} mm wide, half of the asked sizes below {usual:.1f} mm",
        }
    errors = np.array([abs(found - size) for _, size, found in asked])
    rng = derive_rng(seed, "evaluate", "size in mm")
    weights = draw_weights(rng, [case.group for case, _, _ in asked], tools.settings.bootstrap)
    return {"error": estimate_mean(errors, weights, "mm").to_json(), "reason": ""}


def _contrast_scores(
    scores: np.ndarray, cases: Sequence[Case], tools: Instruments, key: tuple[int, str, str]
) -> Contrast:
    seed, name, arm = key
    groups = [case.group for case in cases] or ["none"]
    weights = draw_weights(derive_rng(seed, "evaluate", name, arm), groups, tools.settings.bootstrap)
    rng = derive_rng(seed, "evaluate", "permutation", name, arm)
    return estimate_contrast(scores, groups, weights, rng, tools.settings.permutations, "share")


def _contrast_sizes(
    cases: Sequence[Case], readings: Sequence[Reading], tools: Instruments, key: tuple[int, str, str]
) -> tuple[Contrast, int]:
    chosen = [i for i, c in enumerate(cases) if c.statements.tumour and c.statements.tumour_size_mm is not None]
    asked = np.array([cases[i].statements.tumour_size_mm for i in chosen], float)
    found = np.array([readings[i].size_mm for i in chosen], float)
    seed, name, arm = key
    groups = [cases[i].group for i in chosen] or ["none"]
    weights = draw_weights(derive_rng(seed, "evaluate", name, arm), groups, tools.settings.bootstrap)
    rng = derive_rng(seed, "evaluate", "permutation", name, arm)
    return contrast_ranks(asked, found, weights, rng, tools.settings.permutations), len(set(asked.tolist()))


def contrast_ranks(
    asked: np.ndarray, found: np.ndarray, weights: np.ndarray, rng: np.random.Generator, permutations: int
) -> Contrast:
    """Return Spearman's rank correlation, and under permutations of the requests as control."""
    n, unit = len(asked), "rank correlation"
    nothing = summarise(np.nan, np.empty(0), n, unit)
    if n < 3 or len(set(asked.tolist())) < 2:
        return Contrast(nothing, nothing, nothing, None)
    true = correlate_ranks(asked, found)
    draws = (np.repeat(np.arange(n), row.astype(int)) for row in weights)
    resampled = np.array([correlate_ranks(asked[draw], found[draw]) for draw in draws])
    shuffled = np.array([correlate_ranks(rng.permutation(asked), found) for _ in range(permutations)])
    control = float(shuffled.mean())
    return Contrast(
        true=summarise(true, resampled, n, unit),
        control=summarise(control, shuffled, n, unit),
        difference=summarise(true - control, resampled - control, n, unit),
        p_permutation=(1 + int((shuffled >= true - 1e-12).sum())) / (1 + permutations),
    )


def correlate_ranks(one: np.ndarray, other: np.ndarray) -> float:
    """Return Spearman's rank correlation; 0 where one side does not vary, because nothing was followed then."""
    a, b = rankdata(one) - (len(one) + 1) / 2, rankdata(other) - (len(other) + 1) / 2
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale > 0 else 0.0


def _report_attribute(
    measure: str, generated: tuple[Contrast, int], real: tuple[Contrast, int], all_cases: bool
) -> dict[str, Any]:
    contrast, distinct = generated
    return {
        "measure": measure,
        "requested_values": distinct,
        **_list_figures(contrast),
        "real": _list_figures(real[0]),
        "verdict": judge_contrast(contrast, distinct, all_cases),
    }


def judge_contrast(contrast: Contrast, distinct: int, all_cases: bool = False) -> str:
    """Say what a contrast means: followed, not shown, ignored, or not tested (nothing to shuffle)."""
    difference = contrast.difference
    if difference.value is None or (distinct < 2 and not all_cases):
        return NOT_TESTED
    if difference.value <= 0:
        return IGNORED
    return FOLLOWED if difference.low is not None and difference.low > 0 else NOT_SHOWN


def _list_figures(contrast: Contrast) -> dict[str, Any]:
    return {
        "true": contrast.true.to_json(),
        "control": contrast.control.to_json(),
        "difference": contrast.difference.to_json(),
        "p_permutation": None if contrast.p_permutation is None else float(f"{contrast.p_permutation:.6g}"),
    }


def _describe_case(case: Case, reading: Reading) -> Mapping[str, Any]:
    asked = case.statements.model_dump(mode="json", exclude_none=True)
    found = {
        "coverage": list(reading.coverage) if reading.coverage else None,
        "tumour": reading.tumour,
        "side": reading.side,
        "site": reading.site,
        "size_mm": round(reading.size_mm, 2),
        "phase": reading.phase,
        "absent": sorted(reading.missing),
        "sex": reading.sex,
    }
    return {"case": case.case, "asked": asked, "measured": found}
