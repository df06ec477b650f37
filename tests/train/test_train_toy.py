"""A toy problem that stage I learns in seconds: two kinds of bodies, told apart by their prompt."""

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from guidegen.assets import ASSETS
from guidegen.config import StudyConfig
from guidegen.models.semantic_synthesizer import SemanticSynthesizer
from guidegen.study import Study
from guidegen.train.cohort import CohortCase
from guidegen.train.engine import TrainingRun, run_training
from guidegen.train.placeholder import PlaceholderCohort
from guidegen.train.semantic_synthesizer import STAGE, SemanticSynthesizerStage

GRID, CASES = 8, 12
GENERATOR = {
    "unet": {"channels": [16, 32], "blocks": 1, "attention_grid": 4, "head_channels": 16},
    "conditioning": {"queries": 3, "injection_layers": 1, "injection_width": 32},
    "sampling_precision": "float32",
    "sampling_steps": 2,
}
OPTIMIZATION = {
    "steps": 220,
    "batch": 8,
    "learning_rate": 3e-3,
    "warmup": 10,
    "ema": 0.95,
    "precision": "32-true",
    "checkpoint_every": 220,
    "held_out_cases": 4,
}
CONFIG = {
    "study": {"threads": 1},
    "prepare": {"grid": GRID, "encoder": {"max_tokens": 8}},
    "train": {
        "semantic_synthesizer": {"model": GENERATOR, "optimization": OPTIMIZATION},
        "contrast_autoencoder": {
            "model": {"channels": [8, 8, 16], "blocks": 1, "norm_groups": 4, "discriminator_layers": 1, "crop": None},
            "optimization": OPTIMIZATION,
        },
        "latent_generator": {"model": GENERATOR, "optimization": OPTIMIZATION},
    },
}


@dataclass(frozen=True)
class ToyCase(CohortCase):
    """Even cases: class 2 below class 1. Odd cases: class 3 below class 2."""

    number: int

    def load_labels(self) -> np.ndarray:
        labels = np.zeros((GRID,) * 3, np.uint8)
        border = 3 + self.number // 2 % 3
        low, high = ((2, 1), (3, 2))[self.number % 2]
        labels[1:7, 1:7, :border] = low
        labels[1:7, 1:7, border:] = high
        return labels


class ToyCohort(PlaceholderCohort):
    """Cases of both kinds; one prompt each."""

    def states(self, key: str) -> np.ndarray:
        seed = {"": 0, "even": 1, "odd": 2}[key]
        return np.random.default_rng(seed).normal(size=(5, 384)).astype(np.float16)


def make_study() -> Study:
    return Study(ASSETS, StudyConfig.model_validate(CONFIG))


def make_cohort() -> ToyCohort:
    cases, nowhere = [], Path("toy")
    for number in range(CASES):
        name, kind = str(number), ("even", "odd")[number % 2]
        cases.append(ToyCase(name, name, "", "train", nowhere, nowhere, None, None, ((kind, kind),), number))
    return ToyCohort(make_study(), tuple(cases))


@pytest.fixture(scope="module")
def synthesizer(tmp_path_factory: pytest.TempPathFactory) -> SemanticSynthesizer:
    """Stage I, trained by the engine."""
    cohort = make_cohort()
    settings = cohort.study.config.train.semantic_synthesizer
    torch.manual_seed(0)
    model = SemanticSynthesizer(settings.model, cohort.bind(), cohort.states(""))
    stage = SemanticSynthesizerStage(model, cohort, settings, 0)
    run = TrainingRun(STAGE, 0, 1, tmp_path_factory.mktemp("toy"), "toy", settings.optimization)
    trained = run_training(run, stage)
    assert trained is not None
    assert isinstance(trained.model, SemanticSynthesizer)
    return trained.model


def count_shares(maps: np.ndarray) -> np.ndarray:
    """Return the share of each class, the mean over label maps."""
    return np.mean([np.bincount(labels.ravel(), minlength=21) / labels.size for labels in maps], 0)


@pytest.mark.parametrize("steps", [20, 50, 100])
def test_samples_have_the_class_histogram_of_the_data(synthesizer, steps):
    count, cohort = 6, make_cohort()
    for kind, other in (("even", 3), ("odd", 1)):
        wanted = count_shares(np.stack([c.load_labels() for c in cohort.cases if c.prompts[0][0] == kind]))
        conditions = synthesizer.conditioning.pack([cohort.states(kind)] * count, [None] * count, [None] * count)
        with torch.inference_mode():
            maps = synthesizer._sample_batch(conditions, list(range(count)), steps, 1.0, None).numpy()
        found = count_shares(maps)
        assert np.abs(found - wanted).max() < 0.12, (kind, found[:5], wanted[:5])
        # the class that only the other prompt has
        assert found[other] < 0.02


def load_benchmark(name: str):
    path = Path(__file__).parents[2] / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"bench_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_gpu_script_goes_on_past_a_step_that_does_not_fit():
    gpu = load_benchmark("gpu")

    def fail():
        raise torch.OutOfMemoryError

    seconds, peak = gpu.time_or_give_up(fail, 1)
    assert "| out of memory |" in gpu.Figure("step", seconds, peak, gpu.Work(1.0, 1.0)).describe(gpu.CARDS["H200"])


def test_gpu_script_runs_on_a_cpu():
    gpu = load_benchmark("gpu")
    figures = gpu.measure(make_study(), 1)
    assert [figure.name for figure in figures] == [
        "training step, semantic_synthesizer",
        "training step, contrast_autoencoder",
        "training step, latent_generator",
        f"case of {2 * GRID}³ voxels",
    ]
    _, card = gpu.find_card()
    for figure in figures:
        assert figure.seconds > 0
        assert figure.peak > 0
        assert figure.work.operations > 0
        assert card.bound(figure.work) >= figure.work.moved / card.bandwidth > 0
        assert figure.describe(card).count("|") == 10
