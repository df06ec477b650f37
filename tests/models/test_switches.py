"""On the trained models of a finished demo, every switch changes the output by more than other seeds do.

One prompt is drawn with several seeds; what is compared is the mean of those draws, on weights and noise that are the
same with the switch on and off. How far the mean moves by itself is seen with as many other seeds.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from guidegen.models.contrast_autoencoder import ContrastAutoencoder
from guidegen.models.latent_generator import LatentGenerator
from guidegen.models.semantic_synthesizer import SemanticSynthesizer
from guidegen.study import Study
from guidegen.train.cohort import HELD_OUT, Cohort

PROMPTS, SEEDS = 4, 8
DEMO = Path(os.environ.get("GUIDEGEN_DEMO", Path(__file__).parents[2] / "studies" / "demo"))
MODELS = DEMO / "results" / "models"
pytestmark = pytest.mark.skipif(
    not (MODELS / "latent_generator.tsv").is_file(),
    reason=f"no trained demo models in {DEMO}: run `make demo`, or name a finished demo in GUIDEGEN_DEMO",
)
SWITCHES = {
    "text off": {"conditioning": {"text": False}},
    "knowledge injection off": {"conditioning": {"knowledge_injection": False}},
    "guidance off": {"guidance": 1.0},
}


class Demo:
    """Models of the demo, and held-out prompts with their label maps, all prompts as often as there are seeds."""

    def __init__(self) -> None:
        torch.set_num_threads(2)
        cohort = Cohort.load(Study.load(DEMO))
        cases = [case for case in cohort.select("latent_generator", HELD_OUT) if case.labels and case.prompts]
        chosen = cases[:: len(cases) // PROMPTS][:PROMPTS]
        self.states = [cohort.states(case.prompts[0][1]) for case in chosen for _ in range(SEEDS)]
        self.maps = np.stack([case.load_labels() for case in chosen for _ in range(SEEDS)])
        self.synthesizer = SemanticSynthesizer.load(MODELS / "semantic_synthesizer")
        self.generator = LatentGenerator.load(MODELS / "latent_generator")
        self.autoencoder = ContrastAutoencoder.load(MODELS / "contrast_autoencoder")
        self.body = self.maps[::SEEDS].repeat(2, 1).repeat(2, 2).repeat(2, 3) > 0

    def draw_maps(self, first: int = 0) -> np.ndarray:
        """Return the share of each class per voxel, (PROMPTS, C, n, n, n)."""
        maps = self.synthesizer.sample(*self._conditions(), self._seeds(first))
        shares = np.eye(len(self.synthesizer.binding.classes), dtype=np.float32)[maps]
        return np.moveaxis(shares.reshape(PROMPTS, SEEDS, *shares.shape[1:]).mean(1), -1, 1)

    def draw_latents(self, first: int = 0) -> np.ndarray:
        return self.generator.sample(self.maps, *self._conditions(), self._seeds(first))

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """Return the mean CT of each prompt, HU."""
        cts = np.concatenate(
            [self.autoencoder.decode(z[None], y[None]) for z, y in zip(latents, self.maps, strict=True)]
        )
        return cts.reshape(PROMPTS, SEEDS, *cts.shape[1:]).mean(1)

    def _conditions(self) -> list:
        return [self.states, [None] * len(self.states), [None] * len(self.states)]

    def _seeds(self, first: int) -> list[int]:
        return [first + place % SEEDS for place in range(len(self.states))]


@pytest.fixture(scope="module")
def demo() -> Demo:
    return Demo()


@pytest.fixture(scope="module")
def drawn_maps(demo) -> list[np.ndarray]:
    return [demo.draw_maps(first) for first in (0, 1000)]


@pytest.fixture(scope="module")
def drawn_latents(demo) -> list[np.ndarray]:
    return [demo.draw_latents(first) for first in (0, 1000)]


def turn(monkeypatch, model, name: str) -> None:
    """Turn a switch of a loaded model off, for the time of a test."""
    changes = SWITCHES[name]
    conditioning = model.settings.conditioning.model_copy(update=changes.get("conditioning", {}))
    settings = model.settings.model_copy(update=changes | {"conditioning": conditioning})
    monkeypatch.setattr(model, "settings", settings)
    monkeypatch.setattr(model.conditioning, "settings", conditioning)
    monkeypatch.setattr(model.conditioning.injection, "enabled", conditioning.knowledge_injection)


@pytest.mark.parametrize("name", SWITCHES)
def test_switches_change_label_maps_more_than_other_seeds(monkeypatch, demo, drawn_maps, name):
    turn(monkeypatch, demo.synthesizer, name)
    maps, others = drawn_maps
    change, seeds = (np.abs(one - maps).sum(1).mean() / 2 for one in (demo.draw_maps(), others))
    print(f"label maps, {name}: {change:.4f} of the voxels' shares move, with other seeds {seeds:.4f}")
    assert change > seeds


@pytest.mark.parametrize("name", SWITCHES)
def test_switches_change_cts_more_than_other_seeds(monkeypatch, demo, drawn_latents, name):
    turn(monkeypatch, demo.generator, name)
    cts, others = map(demo.decode, drawn_latents)
    change, seeds = (np.abs(one - cts)[demo.body].mean() for one in (demo.decode(demo.draw_latents()), others))
    print(f"CT, {name}: organs change by {change:.1f} HU, with other seeds by {seeds:.1f} HU")
    assert change > seeds


@pytest.mark.parametrize("name", ["label_pyramid", "class_means"])
def test_switches_of_the_autoencoder_change_cts_more_than_other_seeds(monkeypatch, demo, drawn_latents, name):
    cts, others = map(demo.decode, drawn_latents)
    if name == "class_means":
        monkeypatch.setattr(type(demo.autoencoder), "add_means", staticmethod(lambda decoded, means: decoded))
    else:
        settings = demo.autoencoder.settings.model_copy(update={name: False})
        monkeypatch.setattr(demo.autoencoder, "settings", settings)
    change, seeds = (np.abs(one - cts)[demo.body].mean() for one in (demo.decode(drawn_latents[0]), others))
    print(f"CT, {name} off: organs change by {change:.1f} HU, with other seeds by {seeds:.1f} HU")
    assert change > seeds
