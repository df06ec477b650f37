"""The posterior of categorical diffusion written out literally: C × C values per voxel. For tests and benchmarks."""

import torch
from torch import Tensor
from torch.nn import functional


def marginalise_literally(prediction: Tensor, noisy: Tensor, alpha_bar_t: float, alpha_bar_s: float) -> Tensor:
    """Return Σ over x_0 of q(x_s | x_t, x_0) p(x_0), shape (B, C, …), by normalising q for every x_0."""
    classes = prediction.shape[1]
    kept = alpha_bar_t / alpha_bar_s
    seen = functional.one_hot(noisy, classes).movedim(-1, 1).to(prediction)
    forward = kept * seen + (1 - kept) / classes
    start = torch.eye(classes, dtype=prediction.dtype)
    prior = alpha_bar_s * start + (1 - alpha_bar_s) / classes
    shape = (1, classes, classes, *[1] * (prediction.ndim - 2))
    joint = forward.unsqueeze(1) * prior.view(shape)
    conditional = joint / joint.sum(2, keepdim=True)
    return (prediction.unsqueeze(2) * conditional).sum(1)
