"""A fabricated cohort on a label grid of 16 and tiny networks that train in seconds."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from guidegen.study import Study

sys.path += [str(Path(__file__).parent), str(Path(__file__).parents[1] / "prepare")]
from fabricated_study import fabricate_study

CONFIG = """
prepare: {grid: 16, encoder: {max_tokens: 48}}
train:
  semantic_synthesizer:
    model: &generator
      unet: {channels: [8, 16], blocks: 1, attention_grid: 4, head_channels: 8, norm_groups: 4}
      conditioning: {queries: 3, injection_layers: 1, injection_width: 16}
      timesteps: 100
      sampling_steps: 2
    optimization: &optimization
      {steps: 8, batch: 2, accumulate: 2, learning_rate: 0.003, warmup: 2, ema: 0.9, checkpoint_every: 2, log_every: 3,
       validate_every: 4, held_out_cases: 2}
  contrast_autoencoder:
    model: {channels: [4, 4, 8], blocks: 1, norm_groups: 2, label_channels: 2, discriminator_channels: 2,
            discriminator_layers: 1, crop: 16, whole_share: 0.2}
    optimization: *optimization
  latent_generator: {model: *generator, optimization: *optimization}
"""


@pytest.fixture(scope="session")
def prepared_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cohort with ten whole cases, one with only a CT and one with only labels; tests copy it."""
    from guidegen.prepare.run import prepare_cohort

    root = tmp_path_factory.mktemp("train") / "study"
    prepare_cohort(fabricate_study(root, config=CONFIG, only={"0": "ct", "1": "labels"}))
    return root


@pytest.fixture(scope="session")
def trained_study(prepared_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All stages trained without interruption; tests do not alter it."""
    from guidegen.train.run import TRAINERS

    root = tmp_path_factory.mktemp("trained") / "study"
    shutil.copytree(prepared_study, root)
    for train in TRAINERS.values():
        train(Study.load(root))
    return root


@pytest.fixture
def copy_study(tmp_path: Path) -> Callable[[Path], Study]:
    """Return a function that copies a study to a place of this test's own, without checkpoints of stages."""

    def copy(root: Path) -> Study:
        shutil.copytree(root, tmp_path / "study")
        return Study.load(tmp_path / "study")

    return copy
