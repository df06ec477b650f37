"""Writes the files of `results/evaluation/`, each with its protocol and what it was computed from."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from guidegen.atomic import hash_file, write_text
from guidegen.errors import GuideGenError
from guidegen.evaluate.adherence import evaluate_adherence
from guidegen.evaluate.attributes import fit_instruments
from guidegen.evaluate.bootstrap import LEVEL
from guidegen.evaluate.cases import Case, list_synthetic, list_synthetic_sets, read_real_cases, read_synthetic_cases
from guidegen.evaluate.fidelity import evaluate_fidelity
from guidegen.evaluate.intensity import evaluate_intensity
from guidegen.evaluate.memorisation import evaluate_memorisation
from guidegen.evaluate.segmentation import evaluate_segmentation
from guidegen.evaluate.settings import EVALUATIONS
from guidegen.evaluate.training import evaluate_training
from guidegen.prepare.cohort import CohortCase, read_cohort
from guidegen.progress import track_progress
from guidegen.stages import NETWORKS
from guidegen.study import Study

COHORT_TABLES = ("data/cohort/cohort.tsv", "data/cohort/arrays.tsv", "data/cohort/text/prompts.tsv")


def list_outputs(study: Study) -> list[Path]:
    """The files that the phase writes."""
    return [study.root / "results" / "evaluation" / f"{part}.json" for part in EVALUATIONS]


def list_inputs(study: Study) -> list[Path]:
    """The tables that the phase reads; manifests stand for the bulk that they name."""
    results = study.root / "results"
    found = [study.root / name for name in COHORT_TABLES]
    found += [results / "models" / stage / "held_out.json" for stage in NETWORKS]
    found += sorted(results.glob("segmentation/*.tsv"))
    found += sorted(results.glob("synthetic/*/*.tsv"))
    return found


def evaluate_study(study: Study) -> None:
    """Evaluate the study and write all files.

    Raises:
        GuideGenError: something that is to be evaluated was not made; names it.
    """
    settings, seed = study.config.evaluate, study.config.study.seed
    torch.set_num_threads(study.config.study.threads)
    cohort = read_cohort(study)
    real, synthetic = _observe_all(study, cohort)
    tools = fit_instruments([case for case in real if case.split == "train"], study.labels, settings)
    held_out = [case for case in real if case.split != "train"]
    asked = list_synthetic(study, settings.adherence_set)
    redrawn = sum(int(row["attempts"] or 1) > 1 for row in asked)
    parts: dict[str, Mapping[str, Any]] = {
        "training": evaluate_training(study),
        "segmentation": evaluate_segmentation(study, cohort),
        "adherence": {
            "set": settings.adherence_set,
            "prompts": len(asked),
            "not_generated": sum(row["status"] != "ok" for row in asked),
            "redrawn": redrawn,
            "numeric_conditions_empty": not any(
                row[name] for row in asked for name in ("spacing_mm", "coverage_top", "coverage_bottom")
            ),
            "instruments": {"fitted_on": len(real) - len(held_out), "checked_on": len(held_out)},
            **evaluate_adherence(synthetic[settings.adherence_set], held_out, tools, seed),
        },
        "intensity": evaluate_intensity(real, synthetic, study.labels, settings, seed),
        "fidelity": evaluate_fidelity(study, cohort, list(synthetic)),
        "memorisation": evaluate_memorisation(study, cohort, list(synthetic)),
    }
    for name, content in parts.items():
        _write_part(study, name, content)


def _observe_all(study: Study, cohort: Sequence[CohortCase]) -> tuple[list[Case], dict[str, list[Case]]]:
    names = list_synthetic_sets(study)
    wanted = study.config.evaluate.adherence_set
    if wanted not in names:
        raise GuideGenError(
            f"{study.root / 'results' / 'synthetic' / wanted}: no such set; found {', '.join(names) or 'none'}. "
            f"Make it with `guidegen synthesize`, or name another in evaluate.adherence_set"
        )
    with track_progress("evaluate: real cases", len(cohort)) as advance:
        real = list(read_real_cases(study, cohort, advance))
    synthetic = {}
    for name in names:
        with track_progress(f"evaluate: synthetic set {name}", len(list_synthetic(study, name))) as advance:
            synthetic[name] = list(read_synthetic_cases(study, name, advance))
    return real, synthetic


def _write_part(study: Study, name: str, content: Mapping[str, Any]) -> None:
    sources = {str(path.relative_to(study.root)): hash_file(path) for path in list_inputs(study) if path.is_file()}
    settings = study.config.evaluate
    protocol = {
        "interval": f"{LEVEL:.0%}, percentile bootstrap over patients, {settings.bootstrap} resamples",
        "seed": study.config.study.seed,
        "settings": settings.model_dump(mode="json"),
    }
    tree = {"protocol": protocol, **content, "sources": sources}
    text = json.dumps(tree, indent=1, ensure_ascii=False, allow_nan=False)
    write_text(study.root / "results" / "evaluation" / f"{name}.json", text + "\n")
