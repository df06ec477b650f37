"""Floating-point operations of the networks, counted on tensors without data (PyTorch's `FlopCounterMode`).

A training step costs three forward passes: one forward, two in the backward pass (gradients of inputs and of
weights), as in Kaplan et al. 2020, "Scaling Laws for Neural Language Models", section 2.1. Convolutions and matrix
products count, element-wise work does not. The discriminators of stage II are left out.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from guidegen.config import StudyConfig
from guidegen.models.contrast_autoencoder import ContrastAutoencoder
from guidegen.models.model_files import Binding
from guidegen.models.prompted_unet import PromptedUNet
from guidegen.models.settings import ConditioningSettings, UNetSettings
from guidegen.segment.training import build_network

PASSES_PER_STEP = 3
BYTES_PER_PARAMETER = 4


@dataclass(frozen=True)
class NetworkCosts:
    """Operations and sizes of one study's networks."""

    training: dict[str, float]
    """Operations of the whole training, by stage."""
    sampling: float
    """Operations of one generated case, drawn once."""
    segmenter: float
    """Operations of the training of one arm."""
    encoding: float
    """Operations of encoding one CT."""
    weights: dict[str, int]
    """Bytes of the float32 weights, by stage."""


def count_networks(config: StudyConfig, classes: int) -> NetworkCosts:
    """Count what the trainings, one generated case and one segmenter of a study cost.

    Args:
        config: the study's config.
        classes: torso classes, the background included.
    """
    train, grid = config.train, config.prepare.grid
    first, second, third = (train.semantic_synthesizer, train.contrast_autoencoder, train.latent_generator)
    latents = second.model.latent_channels
    with torch.device("meta"), torch.no_grad():
        layout, layout_weights = _count_unet(first.model.unet, first.model.conditioning, grid, classes, classes)
        inputs = latents + classes + 1
        flow, flow_weights = _count_unet(third.model.unet, third.model.conditioning, grid // 2, inputs, latents)
        binding = Binding(grid=grid, classes=tuple(map(str, range(classes))), labels_hash="")
        autoencoder = ContrastAutoencoder(second.model, binding)
        encode, decode = _count_autoencoder(autoencoder, 2 * grid)
        crop = min(second.model.crop or 2 * grid, 2 * grid)
        small = sum(_count_autoencoder(autoencoder, crop))
        segmenter = build_network(config.segment, classes)
        side = min(config.segment.patch, grid if config.segment.resolution == "labels" else 2 * grid)
        patch = _count(lambda: segmenter(torch.empty(1, 1, side, side, side)))
    whole = second.model.whole_share
    training = {
        "semantic_synthesizer": layout * _count_cases(first.optimization),
        "contrast_autoencoder": (whole * (encode + decode) + (1 - whole) * small) * _count_cases(second.optimization),
        "latent_generator": flow * _count_cases(third.optimization),
    }
    sampling = layout * _count_calls(first.model.sampling_steps, first.model.guidance) + decode
    sampling += flow * _count_calls(third.model.sampling_steps, third.model.guidance)
    weights = {
        "semantic_synthesizer": layout_weights,
        "contrast_autoencoder": _size(autoencoder),
        "latent_generator": flow_weights,
    }
    steps = config.segment.steps * config.segment.batch
    return NetworkCosts(
        {stage: PASSES_PER_STEP * count for stage, count in training.items()},
        sampling,
        PASSES_PER_STEP * patch * steps,
        encode,
        weights,
    )


def _count_cases(optimization: object) -> int:
    return optimization.steps * optimization.batch * optimization.accumulate  # type: ignore[attr-defined]


def _count_calls(steps: int, guidance: float) -> int:
    """Calls of a network per sample: guidance needs a second one, with the empty prompt."""
    return steps * (1 if guidance == 1 else 2)


def _count_unet(
    settings: UNetSettings, conditioning: ConditioningSettings, grid: int, inputs: int, outputs: int
) -> tuple[float, int]:
    unet = PromptedUNet(settings, grid, inputs, outputs, conditioning.injection_width)
    volume, times = torch.empty(1, inputs, grid, grid, grid), torch.empty(1)
    responses = [torch.empty(1, conditioning.queries, conditioning.injection_width) for _ in settings.channels]
    embedding = torch.empty(1, unet.embedding_width)
    return _count(lambda: unet(volume, times, responses, embedding)), _size(unet)


def _count_autoencoder(model: ContrastAutoencoder, side: int) -> tuple[float, float]:
    ct, labels = torch.empty(1, 1, side, side, side), torch.zeros(1, *(side // 2,) * 3, dtype=torch.long)
    latents = torch.empty(1, model.settings.latent_channels, *(side // 4,) * 3)
    return _count(lambda: model.encode_moments(ct, labels)), _count(lambda: model.decode_scaled(latents, labels))


def _count(run: Callable[[], object]) -> float:
    with FlopCounterMode(display=False) as counter:
        run()
    return float(counter.get_total_flops())


def _size(network: nn.Module) -> int:
    return BYTES_PER_PARAMETER * sum(parameter.numel() for parameter in network.parameters())
