"""Does every switch change what trained models draw? `python benchmarks/switches.py STUDY`, e.g. a finished demo.

Held-out prompts are drawn with several seeds each; what is compared is the mean of a prompt's draws, on the same
weights and noise with a switch on and off, and beside it with as many other seeds. A switch counts where its change is
the larger one. Takes a quarter of an hour at demo size on two cores; it is no benchmark of the table.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from guidegen.models.contrast_autoencoder import ContrastAutoencoder
from guidegen.models.latent_generator import LatentGenerator
from guidegen.models.semantic_synthesizer import SemanticSynthesizer
from guidegen.study import Study
from guidegen.train.cohort import HELD_OUT, Cohort
from guidegen.train.order import spread_cases

PROMPTS, SEEDS, OTHERS = 4, 8, 1000
CONDITIONING = {"text": False, "knowledge_injection": False}


class Drawer:
    """The models of a study, and held-out prompts with their label maps, each as often as there are seeds."""

    def __init__(self, study: Study) -> None:
        cohort = Cohort.load(study)
        cases = [case for case in cohort.select("latent_generator", HELD_OUT) if case.labels and case.prompts]
        chosen = [case for case in spread_cases(cases, PROMPTS) for _ in range(SEEDS)]
        self.states = [cohort.states(case.prompts[0][1]) for case in chosen]
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

    def draw_cts(self, first: int = 0) -> np.ndarray:
        """Return the mean CT of each prompt on its real label map, HU (PROMPTS, 2n, 2n, 2n)."""
        return self.decode(self.generator.sample(self.maps, *self._conditions(first)))

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """Return the mean CT of each prompt for all its latents."""
        pairs = zip(latents, self.maps, strict=True)
        cts = np.concatenate([self.autoencoder.decode(z[None], labels[None]) for z, labels in pairs])
        return cts.reshape(PROMPTS, SEEDS, *cts.shape[1:]).mean(1)


def apply_settings(model: Any, settings: Any) -> None:
    """Run the same weights under other settings."""
    model.settings = settings
    if conditioning := getattr(model, "conditioning", None):
        conditioning.settings = settings.conditioning
        conditioning.injection.enabled = settings.conditioning.knowledge_injection


@contextmanager
def change_settings(model: Any, **changes: Any) -> Iterator[None]:
    """Run the same weights, for a while, under changed settings."""
    kept = model.settings
    apply_settings(model, kept.model_copy(update=changes))
    yield
    apply_settings(model, kept)


def list_switches(model: Any) -> dict[str, dict[str, Any]]:
    """Return the changed settings of each switch of a generator."""
    kept = model.settings.conditioning
    found = {name: {"conditioning": kept.model_copy(update={name: value})} for name, value in CONDITIONING.items()}
    return found | {"guidance": {"guidance": 1.0}}


def main(folder: str) -> None:
    """Print a row of a Markdown table per stage and switch."""
    study = Study.load(Path(folder).resolve())
    torch.set_num_threads(2)
    drawer = Drawer(study)
    print("| what | switched off | change | with other seeds |\n|---|---|---|---|", flush=True)

    def report(what: str, switch: str, change: float, seeds: float, unit: str) -> None:
        print(f"| {what} | {switch} | {change:.3g} {unit} | {seeds:.3g} {unit} |", flush=True)

    def measure_maps(one: np.ndarray, other: np.ndarray) -> float:
        return float(np.abs(one - other).sum(-1).mean() / 2)

    def measure_cts(one: np.ndarray, other: np.ndarray) -> float:
        return float(np.abs(one - other)[drawer.organs].mean())

    for what, model, draw, measure, unit in (
        ("label maps", drawer.synthesizer, drawer.draw_maps, measure_maps, "of the voxels"),
        ("CT in organs", drawer.generator, drawer.draw_cts, measure_cts, "HU"),
    ):
        kept = draw()
        seeds = measure(draw(OTHERS), kept)
        for switch, changes in list_switches(model).items():
            with change_settings(model, **changes):
                report(what, switch, measure(draw(), kept), seeds, unit)
    with change_settings(drawer.autoencoder, label_pyramid=False):
        report(what, "label_pyramid", measure(drawer.draw_cts(), kept), seeds, unit)


if __name__ == "__main__":
    main(*sys.argv[1:])
