"""Runs one arm: trains its segmenter and segments the real test patients with it."""

import hashlib
import json
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
from guidegen.segment.cases import SegmentCase, hash_cases, list_real, list_training
from guidegen.segment.training import Volumes, load_segmenter, predict_labels, save_segmenter, train_segmenter
from guidegen.study import Study

MODEL_FILES = ("curves.csv", "model.json", "model.safetensors")


def segment_arm(study: Study, arm: str) -> list[dict[str, str]]:
    """Train the segmenter of an arm, predict the real test cases, and return the manifest's rows.

    The trained model is kept in the state folder until its inputs change; a killed training starts from scratch. A
    study without a training case that has both CT and labels gets rows that say so instead of a segmenter.

    Raises:
        GuideGenError: unknown arm, or a synthetic set that tells of test patients.
    """
    arms = study.config.segment.arms
    if arm not in arms:
        raise GuideGenError(f"segment.arms: no arm '{arm}'; the config has {', '.join(arms)}")
    torch.set_num_threads(study.config.study.threads)
    training = list_training(study, arms[arm])
    cohort = read_cohort(study)
    test = list_real(cohort, "test")
    fingerprint = _hash_settings(study, arm)
    key = hashlib.sha256(f"{fingerprint}{hash_cases(training)}{hash_cases(list_real(cohort, 'val'))}".encode())
    folder = study.state_folder("results", "segmentation", arm) / "training"
    if not training:
        return _explain_absence(study, arm, test, fingerprint)
    if not _is_current(folder, key.hexdigest()):
        _train(study, arm, training, list_real(cohort, "val"), folder, key.hexdigest())
    return _store(study, arm, test, folder, key.hexdigest(), fingerprint)


def _hash_settings(study: Study, arm: str) -> str:
    settings = study.config.segment.model_copy(update={"arms": {arm: study.config.segment.arms[arm]}})
    text = json.dumps(settings.model_dump(mode="json"), sort_keys=True)
    shared = f"{study.config.hash_sections('prepare.grid')}-{hash_labels(study.labels)}"
    return f"{code_hash('segment')}-{shared}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _is_current(folder: Path, key: str) -> bool:
    path = folder / "key"
    return path.is_file() and path.read_text(encoding="utf-8") == key


def _train(
    study: Study, arm: str, training: list[SegmentCase], validation: list[SegmentCase], folder: Path, key: str
) -> None:
    settings = study.config.segment
    volumes = Volumes.load(training, settings.resolution), Volumes.load(validation, settings.resolution)
    seed = derive_seed(study.config.study.seed, "segment", arm)
    network, curves = train_segmenter(*volumes, settings, study.labels, seed)
    facts = {
        "arm": arm,
        "settings": settings.model_dump(mode="json", exclude={"arms"}),
        "sources": settings.arms[arm].model_dump(mode="json"),
        "cases": len(training),
        "grid": study.config.prepare.grid,
        "classes": [entry.name for entry in study.labels.classes],
        "labels_hash": hash_labels(study.labels),
    }
    with replace_folder(folder) as temporary:
        save_segmenter(temporary, network, curves, facts)
        write_text(temporary / "key", key)


def _explain_absence(study: Study, arm: str, test: list[SegmentCase], fingerprint: str) -> list[dict[str, str]]:
    def work(item: Item, target: Path) -> Outcome:
        raise ItemExcluded(f"arm '{arm}': no training case has both a CT and labels")

    items = [Item(name, {}) for name in (*MODEL_FILES, *(case.case for case in test))]
    shard = study.shard("results", "segmentation", arm)
    return process_items(shard, items, work, fingerprint=fingerprint, columns=("role",))


def _store(
    study: Study, arm: str, test: list[SegmentCase], folder: Path, key: str, fingerprint: str
) -> list[dict[str, str]]:
    settings = study.config.segment
    network = load_segmenter(folder, settings, len(study.labels))

    def work(item: Item, target: Path) -> Outcome:
        if item.payload is None:
            (target / item.case).write_bytes((folder / item.case).read_bytes())
            return Outcome({"": item.case}, {"role": "model"})
        ct, _ = item.payload.load(settings.resolution)
        name = f"predictions/{item.case}.npy"
        (target / "predictions").mkdir()
        np.save(target / name, predict_labels(network, ct, settings))
        return Outcome({"": name}, {"role": "prediction"})

    items = [Item(name, {"model": key}) for name in MODEL_FILES]
    items += [Item(case.case, {"model": key, "case": case.digest}, case) for case in test]
    shard = study.shard("results", "segmentation", arm)
    return process_items(shard, items, work, fingerprint=fingerprint, columns=("role",))
