"""Stages on cases that have the right shapes and hold nothing: what a step costs follows from the config alone."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from guidegen.models.contrast_autoencoder import ContrastAutoencoder
from guidegen.models.latent_generator import LatentGenerator
from guidegen.models.model_files import Binding, hash_labels
from guidegen.models.semantic_synthesizer import SemanticSynthesizer
from guidegen.study import Study
from guidegen.train.cohort import TRAINING, Cohort, CohortCase
from guidegen.train.contrast_autoencoder import ContrastAutoencoderStage
from guidegen.train.latent_generator import LatentGeneratorStage
from guidegen.train.semantic_synthesizer import SemanticSynthesizerStage

TEXT_WIDTH = 384
"""Of the embedded encoder's token states; the width hardly matters to what a step costs."""


@dataclass(frozen=True)
class PlaceholderCase(CohortCase):
    """A case whose arrays are zero."""

    grid: int

    def load_labels(self) -> np.ndarray:
        return np.zeros((self.grid,) * 3, np.uint8)

    def load_ct(self) -> np.ndarray:
        return np.zeros((2 * self.grid,) * 3, np.int16)


class PlaceholderCohort(Cohort):
    """A cohort that nothing is read for; its one case stands for every case of a batch."""

    @classmethod
    def load(cls, study: Study) -> "PlaceholderCohort":
        nowhere, spacing = Path("placeholder"), (1.0, 1.0, 1.0)
        prompts = (("placeholder", "placeholder"),)
        grid = study.config.prepare.grid
        case = PlaceholderCase("case", "patient", "", TRAINING[0], nowhere, nowhere, spacing, (0.0, 1.0), prompts, grid)
        return cls(study, (case,))

    def select(self, stage: str, splits: Iterable[str] = TRAINING) -> list[CohortCase]:
        return list(self.cases)

    def states(self, key: str) -> np.ndarray:
        return np.zeros((self.study.config.prepare.encoder.max_tokens, TEXT_WIDTH), np.float16)

    def bind(self) -> Binding:
        prepare, labels = self.study.config.prepare, self.study.labels
        return Binding(
            grid=prepare.grid,
            classes=tuple(entry.name for entry in labels.classes),
            labels_hash=hash_labels(labels),
            text_width=TEXT_WIDTH,
            max_tokens=prepare.encoder.max_tokens,
        )


class PlaceholderLatents(LatentGeneratorStage):
    """Stage III on latents that are zero."""

    def load_latents(self, case: CohortCase) -> np.ndarray:
        return np.zeros((self.model.latent_channels, *(self.model.binding.grid // 2,) * 3), np.float32)


def build_stage(cohort: PlaceholderCohort, name: str) -> Any:
    """Return a stage with fresh weights, as the config describes it."""
    train, seed = cohort.study.config.train, cohort.study.config.study.seed
    settings = getattr(train, name)
    if name == "semantic_synthesizer":
        model = SemanticSynthesizer(settings.model, cohort.bind(), cohort.states(""))
        return SemanticSynthesizerStage(model, cohort, settings, seed)
    if name == "contrast_autoencoder":
        return ContrastAutoencoderStage(ContrastAutoencoder(settings.model, cohort.bind()), cohort, settings, seed)
    channels = train.contrast_autoencoder.model.latent_channels
    model = LatentGenerator(settings.model, cohort.bind(), channels, cohort.states(""))
    latents = {case.case: Path("placeholder") for case in cohort.cases}
    return PlaceholderLatents(model, cohort, latents, settings, seed)
