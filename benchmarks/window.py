"""Does the contrast window help the autoencoder? `python benchmarks/window.py STUDY [seed …]`, by default three seeds.

Trains stage II on a prepared study as its config says, with the window and without, from the same weights, on the same
batches; without discriminators, which would see windows in one arm alone, and without class means, which code apart
what the window is there for. Prints the error on held-out CTs: of all voxels, and of soft tissue (−160 to 240 HU).
Takes minutes per training; the study is not altered. It is no benchmark of the table.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from guidegen.models.contrast_autoencoder import ContrastAutoencoder
from guidegen.seeds import derive_seed
from guidegen.study import Study
from guidegen.train.cohort import HELD_OUT, Cohort
from guidegen.train.contrast_autoencoder import STAGE, ContrastAutoencoderStage
from guidegen.train.engine import TrainingRun, run_training

SOFT_TISSUE = (-160, 240)


def measure(study: Study, seed: int, window: bool) -> tuple[float, float]:
    """Return the mean absolute error (HU) of all voxels and of soft tissue."""
    settings = study.config.train.contrast_autoencoder
    changes = {"contrast_window": window, "class_means": False, "adversarial_weight": 0.0}
    settings = settings.model_copy(update={"model": settings.model.model_copy(update=changes)})
    cohort = Cohort.load(study)
    torch.manual_seed(derive_seed(seed, STAGE, "weights"))
    stage = ContrastAutoencoderStage(ContrastAutoencoder(settings.model, cohort.bind()), cohort, settings, seed)
    with tempfile.TemporaryDirectory() as state:
        run = TrainingRun(STAGE, seed, study.config.study.threads, Path(state), "benchmark", settings.optimization)
        trained = run_training(run, stage)
    assert trained is not None
    errors, soft = [], []
    for case in cohort.select(STAGE, HELD_OUT):
        ct, guess = stage.reconstruct(trained.model, case)
        error = np.abs(guess - ct)
        errors.append(error.mean())
        soft.append(error[(ct > SOFT_TISSUE[0]) & (ct < SOFT_TISSUE[1])].mean())
    return float(np.mean(errors)), float(np.mean(soft))


def main(folder: str, *seeds: str) -> None:
    """Print a row of a Markdown table per seed."""
    study = Study.load(Path(folder).resolve())
    print("| seed | window | all voxels (HU) | soft tissue (HU) |\n|---|---|---|---|", flush=True)
    for seed in map(int, seeds or ("1", "2", "3")):
        for window in (True, False):
            error, soft = measure(study, seed, window)
            print(f"| {seed} | {'on' if window else 'off'} | {error:.1f} | {soft:.1f} |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
