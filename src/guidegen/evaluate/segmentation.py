"""Segmenters compared on the same real test patients.

How a case is scored, and how a missed structure is penalised, stands in `guidegen.evaluate.scores`. A structure that is
absent in reference and prediction is left out, and the number of cases behind each figure says so. A tumour is scored
only where the reference is annotated for tumours. Runs that differ in their seed only are averaged case by case.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from guidegen.errors import GuideGenError
from guidegen.evaluate.bootstrap import Figure, average, draw_weights, estimate_mean, summarise
from guidegen.evaluate.claims import judge_claims
from guidegen.evaluate.published import describe_data, read_published
from guidegen.evaluate.scores import METRICS, score_case, score_labels
from guidegen.labels import TUMOUR, LabelTable
from guidegen.manifest import read_manifest
from guidegen.prepare.cohort import CohortCase
from guidegen.progress import track_progress
from guidegen.seeds import derive_rng
from guidegen.segment.external import list_external, read_label_table
from guidegen.segment.settings import Run
from guidegen.study import Study

ALL = "mean of organs"

Scores = dict[str, dict[str, np.ndarray]]
"""Variant → metric → scores (cases, classes), averaged over the seeds."""


def evaluate_segmentation(study: Study, cohort: Sequence[CohortCase]) -> dict[str, Any]:
    """Score every arm that was trained and compare the arms pair by pair.

    Returns:
        `left_out`: run → why it has no scores; `arms`: metric → variant (arm and set size) → structure → figure;
        `differences`: metric → "b − a" → structure → figure (patients paired); `seeds`: metric → variant → mean over
        organs of each training; `claims` (see `judge_claims`); `external`: set → the same on it; `patients`: number
        of test patients; `arms_order`: variants; `published`, `data`.
    """
    folder = study.root / "results" / "segmentation"
    runs = [run for name, run in study.config.segment.list_runs().items() if (folder / f"{name}.tsv").is_file()]
    test = [case for case in cohort if case.split == "test" and case.labels_path and case.ct_path]
    if not runs:
        raise GuideGenError(f"{study.root}: nothing to score: no arm in {folder}")
    left_out = {run.name: reason for run in runs if (reason := _explain_absence(study, run, test))}
    runs = [run for run in runs if run.name not in left_out]
    variants = list(dict.fromkeys(run.variant for run in runs))
    found: dict[str, Any] = {
        "arms_order": variants,
        "left_out": left_out,
        "patients": len({case.patient for case in test}) if runs else 0,
        "surface_tolerance_mm": study.config.evaluate.surface_tolerance_mm,
        "published": read_published("segmentation"),
        "data": describe_data(study, cohort),
    }
    if not runs:
        empty: dict[str, Any] = {metric: {} for metric in METRICS}
        return found | {"arms": empty, "differences": empty, "seeds": empty, "claims": [], "external": {}}
    by_run = _score_test(study, runs, test)
    scores = _average_seeds(runs, by_run)
    rng = derive_rng(study.config.study.seed, "evaluate", "segmentation")
    weights = draw_weights(rng, [case.patient for case in test], study.config.evaluate.bootstrap)
    return {
        **found,
        **_compare_arms(scores, weights, study.labels, range(1, len(study.labels))),
        "seeds": _list_seeds(runs, by_run, study.labels),
        "claims": judge_claims(study, {name: parts["dice"] for name, parts in scores.items()}, weights),
        "external": {name: _evaluate_external(study, runs, name) for name in study.config.segment.external},
    }


def _explain_absence(study: Study, run: Run, test: Sequence[CohortCase]) -> str:
    """Say why a run cannot be scored, "" where it can: no case to score on, or nothing to train on."""
    if not test:
        return "no test case with CT and labels"
    rows = read_manifest(study.manifest("results", "segmentation", run.name))
    excluded = [row["reason"] for row in rows if row["status"] == "excluded"]
    return excluded[0] if len(excluded) == len(rows) and excluded else ""


def _score_test(study: Study, runs: Sequence[Run], test: Sequence[CohortCase]) -> Scores:
    tolerance = study.config.evaluate.surface_tolerance_mm
    cases: dict[str, Callable[[np.ndarray], dict[str, np.ndarray]]] = {
        case.case: lambda found, case=case: score_case(found, case, study.labels, tolerance) for case in test
    }
    return _score_runs(study, runs, cases)


def _evaluate_external(study: Study, runs: Sequence[Run], name: str) -> dict[str, Any]:
    """Score all runs on an external set, each of its cases as a patient, on the classes that its table names."""
    named = sorted({study.labels.ids[word] for word in read_label_table(study, name).values() if word} - {0})
    tolerance = study.config.evaluate.surface_tolerance_mm
    cases: dict[str, Callable[[np.ndarray], dict[str, np.ndarray]]] = {}
    for case in list_external(study, name):
        _, truth, spacing = case.read()

        def score(found: np.ndarray, truth: np.ndarray = truth, spacing: Sequence[float] = spacing) -> dict:
            known = np.where(np.isin(found, named), found, 0)
            return score_labels(known, truth, spacing, len(study.labels), tolerance)

        cases[case.case] = score
    scores = _average_seeds(runs, _score_runs(study, runs, cases))
    rng = derive_rng(study.config.study.seed, "evaluate", "segmentation", name)
    weights = draw_weights(rng, list(cases), study.config.evaluate.bootstrap)
    return {"cases": len(cases), **_compare_arms(scores, weights, study.labels, named)}


def _score_runs(
    study: Study, runs: Sequence[Run], cases: Mapping[str, Callable[[np.ndarray], dict[str, np.ndarray]]]
) -> Scores:
    """Return run → metric → scores (cases, classes)."""
    found: Scores = {}
    with track_progress("evaluate: segmentation", len(runs) * len(cases)) as advance:
        for run in runs:
            files = _locate_predictions(study, run, list(cases))
            rows = []
            for case, score in cases.items():
                rows.append(score(np.load(files[case], allow_pickle=False)))
                advance(1, f"{run.name} {case}")
            found[run.name] = {metric: np.stack([row[metric] for row in rows]) for metric in METRICS}
    return found


def _locate_predictions(study: Study, run: Run, cases: Sequence[str]) -> dict[str, Any]:
    """Map case to prediction file. Raises GuideGenError where a case has none."""
    rows = read_manifest(study.manifest("results", "segmentation", run.name))
    files = {path.rsplit("/", 1)[1].removesuffix(".npy"): study.root / path for row in rows if (path := row["path"])}
    missing = [case for case in cases if case not in files]
    if missing:
        raise GuideGenError(f"arm '{run.name}': {len(missing)} test case(s) without a prediction, first {missing[0]}")
    return files


def _average_seeds(runs: Sequence[Run], by_run: Scores) -> Scores:
    found: Scores = {}
    for variant in dict.fromkeys(run.variant for run in runs):
        seeds = [by_run[run.name] for run in runs if run.variant == variant]
        found[variant] = {metric: _average_known(np.stack([seed[metric] for seed in seeds])) for metric in METRICS}
    return found


def _average_known(values: np.ndarray) -> np.ndarray:
    """Mean over the first axis of what is known; NaN where nothing is."""
    return average(values, np.ones((1, len(values))))[0]


def _list_seeds(runs: Sequence[Run], by_run: Scores, table: LabelTable) -> dict[str, dict[str, list[float | None]]]:
    found: dict[str, dict[str, list[float | None]]] = {metric: {} for metric in METRICS}
    for run in runs:
        for metric in METRICS:
            means = _average_known(by_run[run.name][metric][:, list_organs(table)])
            known = means[np.isfinite(means)]
            value = float(f"{known.mean():.6g}") if len(known) else None
            found[metric].setdefault(run.variant, []).append(value)
    return found


def list_organs(table: LabelTable) -> list[int]:
    """Ids of all classes but background and tumour."""
    return [entry.id for entry in table.classes[1:] if entry.name != TUMOUR]


def _compare_arms(scores: Scores, weights: np.ndarray, table: LabelTable, classes: Sequence[int]) -> dict[str, Any]:
    by_arm: dict[str, Any] = {}
    differences: dict[str, Any] = {}
    arms = list(scores)
    for metric, unit in METRICS.items():
        values = {arm: scores[arm][metric] for arm in arms}
        by_arm[metric] = {arm: _list_structures(values[arm], weights, unit, table, classes) for arm in arms}
        differences[metric] = {
            f"{arms[b]} − {arms[a]}": _list_differences(values[arms[a]], values[arms[b]], weights, unit, table, classes)
            for a in range(len(arms))
            for b in range(a + 1, len(arms))
        }
    return {"arms": by_arm, "differences": differences}


def _list_structures(
    values: np.ndarray, weights: np.ndarray, unit: str, table: LabelTable, classes: Sequence[int]
) -> dict[str, Any]:
    """Figures per structure and for the mean over organs (each organ counts the same, the tumour is apart)."""
    names = {entry.id: entry.name for entry in table.classes}
    found = {names[k]: estimate_mean(values[:, k], weights, unit).to_json() for k in classes}
    organs = [k for k in classes if names[k] != TUMOUR and np.isfinite(values[:, k]).any()]
    if not organs:
        return {ALL: Figure(None, None, None, 0, unit).to_json(), **found}
    cases = int(np.isfinite(values[:, organs]).any(1).sum())
    return {ALL: summarise(*_average_organs(values[:, organs], weights), cases, unit).to_json(), **found}


def _list_differences(
    one: np.ndarray, other: np.ndarray, weights: np.ndarray, unit: str, table: LabelTable, classes: Sequence[int]
) -> dict[str, Any]:
    """Figures of `other` − `one`, patient by patient per structure; for the mean over organs, of their means.

    An organ that a patient lacks counts only in the arm that drew it, which single structures cannot pair.
    """
    found = _list_structures(other - one, weights, unit, table, classes)
    organs = [k for k in classes if k != table.ids.get(TUMOUR) and np.isfinite(one[:, k] + other[:, k]).any()]
    if not organs:
        return found
    (plain, drawn), (other_plain, other_drawn) = (_average_organs(part[:, organs], weights) for part in (one, other))
    return {**found, ALL: summarise(other_plain - plain, other_drawn - drawn, found[ALL]["n"], unit).to_json()}


def _average_organs(values: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the mean over organs of their means over patients (patients, organs), and the same of each resample."""
    return float(_average_known(values).mean()), np.nanmean(average(values, weights), 1)
