"""Whole training steps: stage I against the literal posterior, stage III against encoding on the fly.

Networks, batches and optimizer are those of the preset `demo`; stage I with the paper's loss (KL) and one case, because
the literal form takes gigabytes.
"""

import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "models"))

from literal_posterior import marginalise_literally

from guidegen.assets import ASSETS
from guidegen.config import StudyConfig
from guidegen.config_files import load_preset
from guidegen.models.contrast_autoencoder import ContrastAutoencoder
from guidegen.study import Study
from guidegen.train import semantic_synthesizer
from guidegen.train.cohort import CohortCase
from guidegen.train.engine import Training, TrainingRun
from guidegen.train.placeholder import PlaceholderCohort, PlaceholderLatents, build_stage

THREADS, ROUNDS, SMALLEST = 2, 5, 1e-30


def change(config: StudyConfig, stage: str, **changes: Any) -> StudyConfig:
    """Return the config with other settings of a stage: `model`, `optimization`."""
    tree = config.model_dump()
    for name, value in changes.items():
        tree["train"][stage][name] |= value
    return StudyConfig.model_validate(tree)


def compute_literal_kl(logits: Tensor, labels: Tensor, noisy: Tensor, alpha_t: Tensor, alpha_s: Tensor) -> Tensor:
    """Do what `compute_posterior_kl` does, with C × C values per voxel; one case."""
    truth = functional.one_hot(labels, logits.shape[1]).movedim(-1, 1).float()
    alphas = float(alpha_t[0]), float(alpha_s[0])
    target, guess = (
        marginalise_literally(share, noisy, *alphas).clamp(min=SMALLEST) for share in (truth, logits.softmax(1))
    )
    return (target * (target.log() - guess.log())).sum(1)


def time_steps(study: Study, name: str, stage: Any) -> Callable[[], float]:
    """Return a function that draws a batch, takes a step with it, and returns the seconds."""
    optimization = getattr(study.config.train, name).optimization
    folder = Path(tempfile.mkdtemp())
    training = Training(TrainingRun(name, 0, THREADS, folder, "benchmark", optimization), stage)

    def take_step() -> float:
        start = time.perf_counter()
        batches: Any = itertools.repeat(stage.draw_batch(0))
        training.compute_gradients(batches, 0, 0)
        training.update_weights()
        return time.perf_counter() - start

    return take_step


def compare(ours: Callable[[], float], theirs: Callable[[], float]) -> tuple[float, float]:
    """Return median seconds of both, taken in turns after a warm-up."""
    pairs = [(ours(), theirs()) for _ in range(ROUNDS + 1)][1:]
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)


class EncodedLatents(PlaceholderLatents):
    """Stage III that encodes each CT when a batch is drawn."""

    autoencoder: ContrastAutoencoder

    def load_latents(self, case: CohortCase) -> np.ndarray:
        return self.autoencoder.encode(case.load_ct()[None], case.load_labels()[None])[0]


def rows() -> list[dict[str, Any]]:
    """Return seconds per step."""
    found = []
    for grid in (32, 64):
        preset = load_preset("demo").model_copy(deep=True)
        config = change(
            preset,
            "semantic_synthesizer",
            model={"kl_weight": 1.0, "cross_entropy_weight": 0.0},
            optimization={"batch": 1, "precision": "32-true"},
        )
        study = Study(ASSETS, config.model_copy(update={"prepare": config.prepare.model_copy(update={"grid": grid})}))
        closed = time_steps(
            study, "semantic_synthesizer", build_stage(PlaceholderCohort.load(study), "semantic_synthesizer")
        )
        step = time_steps(
            study, "semantic_synthesizer", build_stage(PlaceholderCohort.load(study), "semantic_synthesizer")
        )

        def literal(step: Callable[[], float] = step) -> float:
            kept = semantic_synthesizer.compute_posterior_kl
            semantic_synthesizer.compute_posterior_kl = compute_literal_kl
            try:
                return step()
            finally:
                semantic_synthesizer.compute_posterior_kl = kept

        ours, theirs = compare(closed, literal)
        found.append(
            {
                "name": f"training step of stage I, {grid}³, one case, KL",
                "unit": "s",
                "ours": ours,
                "baseline": theirs,
                "baseline_name": "the same network with the literal posterior",
                "goal": 1.0,
            }
        )
    study = Study(ASSETS, load_preset("demo"))
    cohort = PlaceholderCohort.load(study)
    stored, encoded = build_stage(cohort, "latent_generator"), build_stage(cohort, "latent_generator")
    encoded.__class__ = EncodedLatents
    encoded.autoencoder = build_stage(cohort, "contrast_autoencoder").model.eval().requires_grad_(False)
    ours, theirs = compare(*(time_steps(study, "latent_generator", stage) for stage in (stored, encoded)))
    found.append(
        {
            "name": "training step of stage III, preset demo, batch of 4 with its loading",
            "unit": "s",
            "ours": ours,
            "baseline": theirs,
            "baseline_name": "the same, each CT encoded when it is drawn",
            "goal": 1.0,
        }
    )
    torch.set_num_threads(THREADS)
    return found
