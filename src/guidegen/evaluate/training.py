"""Held-out loss of each trained stage beside that of a predictor that only knows the averages."""

import json
from typing import Any

import numpy as np

from guidegen.errors import GuideGenError
from guidegen.evaluate.bootstrap import Figure, draw_weights, estimate_mean
from guidegen.seeds import derive_rng
from guidegen.stages import NETWORKS
from guidegen.study import Study


def evaluate_training(study: Study) -> dict[str, Any]:
    """Collect `held_out.json` of each stage.

    Where a stage states its losses case by case (`cases`, `losses`, `baselines`), the figures get intervals.

    Raises:
        GuideGenError: a stage was not trained, or its file lacks the loss or the baseline.
    """
    stages = {}
    for stage in NETWORKS:
        path = study.root / "results" / "models" / stage / "held_out.json"
        if not path.is_file():
            raise GuideGenError(f"{path}: missing; train the stage first: `guidegen train {stage}`")
        stages[stage] = _compare_stage(path.read_text(encoding="utf-8"), str(path), study)
    return {"stages": stages}


def _compare_stage(text: str, path: str, study: Study) -> dict[str, Any]:
    held_out = json.loads(text)
    for key in ("loss", "baseline", "baseline_name"):
        if key not in held_out:
            raise GuideGenError(f"{path}: key '{key}' is missing; found {', '.join(sorted(held_out))}")
    losses, baselines, cases = (held_out.get(key, []) for key in ("losses", "baselines", "cases"))
    if len(losses) == len(baselines) == len(cases) > 1:
        rng = derive_rng(study.config.study.seed, "evaluate", "training")
        patients = [case.rsplit("__", 1)[0] for case in cases]
        weights = draw_weights(rng, patients, study.config.evaluate.bootstrap)
        values = np.array([losses, baselines], float)
        figures = [estimate_mean(part, weights, "loss") for part in (*values, values[0] - values[1])]
    else:
        loss, baseline = float(held_out["loss"]), float(held_out["baseline"])
        figures = [Figure(value, None, None, 1, "loss") for value in (loss, baseline, loss - baseline)]
    return {
        "measure": held_out.get("measure", ""),
        "loss": figures[0].to_json(),
        "baseline": figures[1].to_json(),
        "difference": figures[2].to_json(),
        "baseline_name": held_out["baseline_name"],
        "better": held_out["loss"] < held_out["baseline"],
    }
