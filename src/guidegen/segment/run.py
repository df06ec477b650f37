"""Runs one arm: trains its segmenter and segments the real test patients with it."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from guidegen.atomic import replace_folder, write_text
from guidegen.codehash import code_hash
from guidegen.errors import GuideGenError, ItemExcluded
from guidegen.manifest import Item, Outcome, process_items
from guidegen.models.model_files import hash_labels
from guidegen.prepare.cohort import read_cohort
from guidegen.seeds import derive_seed
from guidegen.segment.cases import GridCase, SegmentCase, TrainingSet, hash_cases, list_real, list_training
from guidegen.segment.external import ExternalCase, list_external
from guidegen.segment.settings import Run
from guidegen.study import Study

MODEL_FILES = ("curves.csv", "model.json", "model.safetensors")


def segment_arm(study: Study, name: str) -> list[dict[str, str]]:
    """Train the segmenter of one run of an arm, predict all test cases, and return the manifest's rows.

    The trained model is kept in the state folder until its inputs change; a killed training starts from scratch. A
    study without a training case that has both CT and labels gets rows that say so instead of a segmenter.

    Raises:
        GuideGenError: unknown run, a synthetic set that tells of test patients, or an external set that cannot be
            read.
    """
    runs = study.config.segment.list_runs()
    if name not in runs:
        raise GuideGenError(f"segment.arms: no arm '{name}'; the config has {', '.join(runs)}")
    _check_grid(study)
    torch.set_num_threads(study.config.study.threads)
    run = runs[name]
    training = list_training(study, run)
    cohort = read_cohort(study)
    test, validation = list_real(cohort, "test"), list_real(cohort, "val")
    fingerprint = _hash_settings(study, run)
    parts = (fingerprint, hash_cases(training.real), hash_cases(training.synthetic), hash_cases(validation))
    key = hashlib.sha256("".join(parts).encode()).hexdigest()
    folder = study.state_folder("results", "segmentation", name) / "training"
    if not training.cases:
        return _explain_absence(study, run, test, fingerprint)
    if not _is_current(folder, key):
        _train(study, run, training, validation, folder, key)
    return _store(study, run, test, folder, key, fingerprint)


def _check_grid(study: Study) -> None:
    """Raise GuideGenError where volumes that are used whole do not fit the network."""
    settings, grid = study.config.segment, study.config.prepare.grid
    side = grid if settings.resolution == "labels" else 2 * grid
    if settings.backend == "swinunetr" and side < settings.patch and (side % 32 or side < 64):
        raise GuideGenError(
            f"segment.backend: swinunetr takes volumes of 64, 96, 128 … voxels; segment.resolution "
            f"'{settings.resolution}' with prepare.grid {grid} gives {side}"
        )


def _hash_settings(study: Study, run: Run) -> str:
    segment = study.config.segment
    settings = segment.model_copy(update={"arms": {run.arm: segment.arms[run.arm]}, "external": {}, "seeds": 1})
    text = json.dumps([settings.model_dump(mode="json"), run.size, run.seed], sort_keys=True)
    shared = f"{study.config.hash_sections('prepare.grid')}-{hash_labels(study.labels)}"
    return f"{code_hash('segment')}-{shared}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _is_current(folder: Path, key: str) -> bool:
    path = folder / "key"
    return path.is_file() and path.read_text(encoding="utf-8") == key


def _train(
    study: Study, run: Run, training: TrainingSet, validation: list[SegmentCase], folder: Path, key: str
) -> None:
    settings = study.config.segment
    facts = {
        "arm": run.arm,
        "size": run.size,
        "seed": run.seed,
        "settings": settings.model_dump(mode="json", exclude={"arms", "external", "seeds"}),
        "sources": settings.arms[run.arm].model_dump(mode="json", exclude={"sizes"}),
        "cases": len(training.cases),
        "grid": study.config.prepare.grid,
        "classes": [entry.name for entry in study.labels.classes],
        "labels_hash": hash_labels(study.labels),
    }
    with replace_folder(folder) as temporary:
        if settings.backend == "nnunet":
            from guidegen.segment.nnunet import train_nnunet

            threads = study.config.study.threads
            made, curves = train_nnunet(temporary, training, validation, settings, study.labels, threads)
            facts |= made
        else:
            from guidegen.segment.training import Volumes, plan_courses, save_weights, train_segmenter

            courses = plan_courses(training, settings, settings.arms[run.arm].finetune)
            # the arms of a seed begin with the same weights and draw the same patches: they differ by their cases alone
            seed = derive_seed(study.config.study.seed, "segment", str(run.seed))
            held_out = Volumes.load(validation, settings.resolution)
            network, curves = train_segmenter(courses, held_out, settings, study.labels, seed)
            save_weights(temporary, network)
        write_text(temporary / "model.json", json.dumps(facts, indent=1, sort_keys=True) + "\n")
        lines = ["step,name,value", *(f"{step},{name},{value:.6g}" for step, name, value in curves)]
        write_text(temporary / "curves.csv", "\n".join(lines) + "\n")
        write_text(temporary / "key", key)


def _explain_absence(study: Study, run: Run, test: list[SegmentCase], fingerprint: str) -> list[dict[str, str]]:
    def work(item: Item, target: Path) -> Outcome:
        raise ItemExcluded(f"arm '{run.name}': no training case has both a CT and labels")

    items = [Item(name, {}) for name in (*MODEL_FILES, *(case.case for case in test))]
    shard = study.shard("results", "segmentation", run.name)
    return process_items(shard, items, work, fingerprint=fingerprint, columns=("role",))


def _store(
    study: Study, run: Run, test: list[SegmentCase], folder: Path, key: str, fingerprint: str
) -> list[dict[str, str]]:
    predict = _load_predictor(study, folder)

    def work(item: Item, target: Path) -> Outcome:
        if item.payload is None:
            (target / item.case).write_bytes((folder / item.case).read_bytes())
            return Outcome({"": item.case}, {"role": "model"})
        role = "external" if isinstance(item.payload, ExternalCase) else "prediction"
        part = "external" if role == "external" else "predictions"
        (target / part).mkdir()
        np.save(target / part / f"{item.case}.npy", predict(item.payload))
        return Outcome({"": f"{part}/{item.case}.npy"}, {"role": role})

    items = [Item(name, {"model": key}) for name in MODEL_FILES]
    items += [Item(case.case, {"model": key, "case": case.digest}, case) for case in test]
    for name in study.config.segment.external:
        cases = list_external(study, name)
        items += [Item(case.case, {"model": key, "case": case.hash_files()}, case) for case in cases]
    shard = study.shard("results", "segmentation", run.name)
    return process_items(shard, items, work, fingerprint=fingerprint, columns=("role",))


def _load_predictor(study: Study, folder: Path) -> Callable[[GridCase], np.ndarray]:
    """Return what segments a case on the label grid with the model of a folder."""
    settings = study.config.segment
    if settings.backend == "nnunet":
        from guidegen.segment.nnunet import load_predictor

        return load_predictor(folder, settings.nnunet, settings.resolution, study.labels)
    from guidegen.segment.training import load_segmenter, predict_labels

    network = load_segmenter(folder, settings, len(study.labels))
    return lambda case: predict_labels(network, case.load(settings.resolution)[0], settings)
