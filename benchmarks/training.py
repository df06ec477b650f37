"""Whole training steps: stage I against the literal posterior, stage III against encoding on the fly.

Networks, batches and optimizer are those of the preset `demo`; stage I with the paper's loss (KL), one case and full
precision, because the literal form takes gigabytes.
"""

import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torch.nn import functional

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "models"))

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


def compute_literal_kl(logits: Tensor, labels: Tensor, noisy: Tensor, alpha_t: Tensor, alpha_s: Tensor) -> Tensor:
    """Do what `compute_posterior_kl` does, with C × C values per voxel; one case."""
    from literal_posterior import marginalise_literally

    truth = functional.one_hot(labels, logits.shape[1]).movedim(-1, 1).float()
    alphas = float(alpha_t[0]), float(alpha_s[0])
    target, guess = (
        marginalise_literally(share, noisy, *alphas).clamp(min=SMALLEST) for share in (truth, logits.softmax(1))
    )
    return (target * (target.log() - guess.log())).sum(1)


@contextmanager
def use_literal_form() -> Iterator[None]:
    """Let stage I compute its KL literally."""
    kept = semantic_synthesizer.compute_posterior_kl
    semantic_synthesizer.compute_posterior_kl = compute_literal_kl
    try:
        yield
    finally:
        semantic_synthesizer.compute_posterior_kl = kept


class EncodedLatents(PlaceholderLatents):
    """Stage III that encodes each CT when a batch is drawn."""

    autoencoder: ContrastAutoencoder

    def load_latents(self, case: CohortCase) -> np.ndarray:
        return self.autoencoder.encode(case.load_ct()[None], case.load_labels()[None])[0]


def prepare_steps(study: Study, name: str, stage: Any, state: Path) -> Callable[[], float]:
    """Return a function that draws a batch, takes a step with it, and returns the seconds."""
    run = TrainingRun(name, 0, THREADS, state, "benchmark", getattr(study.config.train, name).optimization)
    training = Training(run, stage)

    def take_step() -> float:
        start = time.perf_counter()
        batches: Any = itertools.repeat(stage.draw_batch(0))
        training.compute_gradients(batches, 0, 0)
        training.update_weights()
        return time.perf_counter() - start

    return take_step


def compare(ours: Callable[[], float], theirs: Callable[[], float]) -> dict[str, float]:
    """Return median seconds of both, taken in turns after a warm-up."""
    pairs = [(ours(), theirs()) for _ in range(ROUNDS + 1)][1:]
    return {
        key: statistics.median(times) for key, times in zip(("ours", "baseline"), zip(*pairs, strict=True), strict=True)
    }


def measure_posterior(grid: int, state: Path) -> dict[str, Any]:
    """Return the row of stage I at a grid."""
    tree = load_preset("demo").model_dump()
    tree["prepare"]["grid"] = grid
    settings = tree["train"]["semantic_synthesizer"]
    settings["model"] |= {"kl_weight": 1.0, "cross_entropy_weight": 0.0}
    settings["optimization"] |= {"batch": 1, "precision": "32-true"}
    study, name = Study(ASSETS, StudyConfig.model_validate(tree)), "semantic_synthesizer"
    take_step = prepare_steps(study, name, build_stage(PlaceholderCohort.load(study), name), state)

    def take_literal_step() -> float:
        with use_literal_form():
            return take_step()

    found = compare(take_step, take_literal_step)
    baseline = "the same network with the literal posterior"
    return {"name": f"training step of stage I, {grid}³, one case, KL", "unit": "s", "baseline_name": baseline} | found


def measure_latents(state: Path) -> dict[str, Any]:
    """Return the row of stage III."""
    study, name = Study(ASSETS, load_preset("demo")), "latent_generator"
    cohort = PlaceholderCohort.load(study)
    stored, encoded = build_stage(cohort, name), build_stage(cohort, name)
    encoded.__class__ = EncodedLatents
    encoded.autoencoder = build_stage(cohort, "contrast_autoencoder").model.eval().requires_grad_(False)
    found = compare(*(prepare_steps(study, name, stage, state) for stage in (stored, encoded)))
    title, baseline = "training step of stage III, preset demo", "the same, each CT encoded when it is drawn"
    return {"name": title, "unit": "s", "baseline_name": baseline} | found


def rows() -> list[dict[str, Any]]:
    """Return seconds per step, batch included."""
    with tempfile.TemporaryDirectory() as state:
        found = [*(measure_posterior(grid, Path(state)) for grid in (32, 64)), measure_latents(Path(state))]
    return [row | {"goal": 1.0} for row in found]
