"""Each switch changes what trained models draw, on the same weights and noise, by more than other seeds do."""

import pytest
from torch import Tensor
from trained_models import OTHERS, TrainedModels, change_settings, turn_off

SWITCHES = ["text", "knowledge_injection", "guidance"]


def check(what: str, change: float, seeds: float, unit: str) -> None:
    print(f"{what}: off {change:.3g} {unit}, other seeds {seeds:.3g}")
    assert change > seeds


@pytest.mark.parametrize("switch", SWITCHES)
def test_stage_one(trained: TrainedModels, switch: str) -> None:
    kept, seeds = trained.maps_drawn
    with change_settings(trained.synthesizer, **turn_off(trained.synthesizer, switch)):
        change = trained.compare_maps(trained.draw_maps(), kept)
    check(f"stage I, {switch}", change, seeds, "of the voxels")


@pytest.mark.parametrize("switch", SWITCHES)
def test_stage_three(trained: TrainedModels, switch: str) -> None:
    _, kept, seeds = trained.latents_drawn
    with change_settings(trained.generator, **turn_off(trained.generator, switch)):
        change = trained.compare_cts(trained.decode(trained.draw_latents()), kept)
    check(f"stage III, {switch}", change, seeds, "HU in organs")


def test_label_pyramid(trained: TrainedModels) -> None:
    latents, kept, seeds = trained.latents_drawn
    with change_settings(trained.autoencoder, label_pyramid=False):
        change = trained.compare_cts(trained.decode(latents), kept)
    check("stage II, label_pyramid", change, seeds, "HU in organs")


def test_contrast_window(trained: TrainedModels) -> None:
    """The window is a loss and changes no output itself, but where the same weights go from the same crops."""
    kept = trained.find_gradient(contrast_window=True)

    def compare(other: Tensor) -> float:
        return float((other - kept).norm())

    seeds = compare(trained.find_gradient(contrast_window=True, first=OTHERS))
    change = compare(trained.find_gradient(contrast_window=False))
    check("stage II, contrast_window", change, seeds, "between directions of the gradient")
