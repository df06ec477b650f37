"""The random contrast window h(x) = clip((x − w_c + w_r) / (2 w_r), 0, 1) of the contrast-aware autoencoder."""

import torch
from torch import Tensor

from guidegen.models.settings import ContrastAutoencoderSettings


def draw_windows(count: int, settings: ContrastAutoencoderSettings) -> tuple[Tensor, Tensor]:
    """Draw one window per sample: centre (uniform) and half-width (log-uniform), in HU, each of shape (count,)."""
    low, high = settings.window_centre
    centre = low + (high - low) * torch.rand(count)
    narrow, wide = settings.window_half_width
    return centre, narrow * (wide / narrow) ** torch.rand(count)


def apply_window(volume: Tensor, centre: Tensor, half_width: Tensor) -> Tensor:
    """Return h(x) in [0, 1] for `volume` (B, C, …) in HU and one window per sample.

    The paper's learnable gain is fixed: inside a loss a free gain collapses to zero.
    """
    shape = (-1, *[1] * (volume.ndim - 1))
    centre, half_width = centre.to(volume).view(shape), half_width.to(volume).view(shape)
    return ((volume - centre + half_width) / (2 * half_width)).clamp(0, 1)
