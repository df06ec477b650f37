"""Tiny networks for tests: a label grid of 16, six classes, token states of width 12."""

import numpy as np
import torch
from torch import nn

from guidegen.models.model_files import Binding
from guidegen.models.settings import (
    ConditioningSettings,
    ContrastAutoencoderSettings,
    LatentGeneratorSettings,
    SemanticSynthesizerSettings,
    UNetSettings,
)

CLASSES = ("background", "liver", "kidney", "lung", "heart", "tumour")
BINDING = Binding(
    grid=16, classes=CLASSES, labels_hash="l", encoder="e", encoder_hash="h", text_width=12, max_tokens=20
)
UNET = UNetSettings(channels=(8, 16), blocks=1, attention_grid=8, head_channels=8, norm_groups=4)
CONDITIONING = ConditioningSettings(queries=3, injection_layers=1, injection_width=16)
SYNTHESIZER = SemanticSynthesizerSettings(unet=UNET, conditioning=CONDITIONING, timesteps=100, sampling_steps=4)
AUTOENCODER = ContrastAutoencoderSettings(channels=(4, 8, 8), blocks=1, norm_groups=4, label_channels=4)
GENERATOR = LatentGeneratorSettings(unet=UNET, conditioning=CONDITIONING, timesteps=100, sampling_steps=4)
EMPTY = np.random.default_rng(9).normal(size=(2, 12)).astype(np.float16)


def make_states(seed: int, length: int = 7) -> np.ndarray:
    """Return token states of a made-up prompt."""
    return np.random.default_rng(seed).normal(size=(length, 12)).astype(np.float16)


def shake(model: nn.Module) -> nn.Module:
    """Give every parameter random values, as if trained: MONAI starts the last layers at zero."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.08)
    return model.eval()
