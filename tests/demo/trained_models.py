"""Draws with the trained models of a finished study, each switch on or off.

Compared are means over several seeds of each of some held-out prompts, on the same weights and noise with a switch on
and off, and beside it with as many other seeds.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from guidegen.models.contrast_autoencoder import ContrastAutoencoder
from guidegen.models.latent_generator import LatentGenerator
from guidegen.models.semantic_synthesizer import SemanticSynthesizer
from guidegen.study import Study
from guidegen.train.cohort import HELD_OUT, Cohort
from guidegen.train.contrast_autoencoder import ContrastAutoencoderStage
from guidegen.train.order import spread_cases

PROMPTS, SEEDS, OTHERS = 4, 8, 1000
BATCHES = 48


class TrainedModels:
    """The models of a study, and held-out prompts with their label maps, each as often as there are seeds."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.cohort = Cohort.load(study)
        cases = [case for case in self.cohort.select("latent_generator", HELD_OUT) if case.labels and case.prompts]
        chosen = [case for case in spread_cases(cases, PROMPTS) for _ in range(SEEDS)]
        self.states = [self.cohort.states(case.prompts[0][1]) for case in chosen]
        self.maps = np.stack([case.load_labels() for case in chosen])
        models = study.root / "results" / "models"
        self.synthesizer = SemanticSynthesizer.load(models / "semantic_synthesizer")
        self.generator = LatentGenerator.load(models / "latent_generator")
        self.autoencoder = ContrastAutoencoder.load(models / "contrast_autoencoder")
        self.organs = self.maps[::SEEDS].repeat(2, 1).repeat(2, 2).repeat(2, 3) > 0

    def _conditions(self, first: int) -> tuple[Any, ...]:
        unknown = [None] * len(self.states)
        return self.states, unknown, unknown, [first + place % SEEDS for place in range(len(self.states))]

    def draw_maps(self, first: int = 0) -> np.ndarray:
        """Return the share of each class per voxel for each prompt, (PROMPTS, n, n, n, C)."""
        maps = self.synthesizer.sample(*self._conditions(first))
        shares = np.eye(len(self.synthesizer.binding.classes), dtype=np.float32)[maps]
        return shares.reshape(PROMPTS, SEEDS, *shares.shape[1:]).mean(1)

    def draw_latents(self, first: int = 0) -> np.ndarray:
        """Return latents for the real label map of each prompt and seed, (PROMPTS × SEEDS, L, n/2, n/2, n/2)."""
        return self.generator.sample(self.maps, *self._conditions(first))

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """Return the mean CT of each prompt for all its latents, HU (PROMPTS, 2n, 2n, 2n)."""
        pairs = zip(latents, self.maps, strict=True)
        cts = np.concatenate([self.autoencoder.decode(z[None], labels[None]) for z, labels in pairs])
        return cts.reshape(PROMPTS, SEEDS, *cts.shape[1:]).mean(1)

    def compare_maps(self, one: np.ndarray, other: np.ndarray) -> float:
        """Return the share of voxels that change their class."""
        return float(np.abs(one - other).sum(-1).mean() / 2)

    def compare_cts(self, one: np.ndarray, other: np.ndarray) -> float:
        """Return the mean absolute difference in organs (HU)."""
        return float(np.abs(one - other)[self.organs].mean())

    @cached_property
    def maps_drawn(self) -> tuple[np.ndarray, float]:
        """Label maps with all switches on, and how much other seeds change them."""
        kept = self.draw_maps()
        return kept, self.compare_maps(self.draw_maps(OTHERS), kept)

    @cached_property
    def latents_drawn(self) -> tuple[np.ndarray, np.ndarray, float]:
        """Latents and CTs with all switches on, and how much other seeds change the CTs."""
        latents = self.draw_latents()
        kept = self.decode(latents)
        return latents, kept, self.compare_cts(self.decode(self.draw_latents(OTHERS)), kept)

    def find_gradient(self, contrast_window: bool, first: int = 0) -> Tensor:
        """Return the direction of the mean gradient of stage II's reconstruction losses on some training crops.

        Its length is 1, so that a loss that is only larger changes nothing. Crops are the same for all calls; `first`
        seeds windows and noise. Without discriminators, which are not in the stored model.
        """
        settings = self.study.config.train.contrast_autoencoder
        model = settings.model.model_copy(update={"contrast_window": contrast_window, "adversarial_weight": 0.0})
        settings = settings.model_copy(update={"model": model})
        stage = ContrastAutoencoderStage(self.autoencoder, self.cohort, settings, self.study.config.study.seed)
        self.autoencoder.requires_grad_(True)
        self.autoencoder.zero_grad()
        for index in range(BATCHES):
            torch.manual_seed(first + index)
            (stage(stage.draw_batch(index), 0.0)["loss"] / BATCHES).backward()
        self.autoencoder.requires_grad_(False)
        gradient = torch.cat([p.grad.flatten() for p in self.autoencoder.parameters() if p.grad is not None])
        return gradient / gradient.norm()


@contextmanager
def change_settings(model: Any, **changes: Any) -> Iterator[None]:
    """Run the same weights, for a while, under changed settings."""
    kept = model.settings
    _apply_settings(model, kept.model_copy(update=changes))
    yield
    _apply_settings(model, kept)


def _apply_settings(model: Any, settings: Any) -> None:
    model.settings = settings
    if conditioning := getattr(model, "conditioning", None):
        conditioning.settings = settings.conditioning
        conditioning.injection.enabled = settings.conditioning.knowledge_injection


def turn_off(model: Any, switch: str) -> dict[str, Any]:
    """Return the changed settings of a generator without `text`, `knowledge_injection` or `guidance`."""
    if switch == "guidance":
        return {"guidance": 1.0}
    return {"conditioning": model.settings.conditioning.model_copy(update={switch: False})}
