"""Means over the voxels of each class: the autoencoder codes them apart, so that small organs keep their HU."""

import torch
from torch import Tensor
from torch.nn import functional

RIDGE = 1e-3
"""Added to the squared shares of each class, so that classes that are absent do no harm."""


def paint_class_means(values: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return at every voxel the mean of `values` over the voxels of its class, float32 (B, K, X, Y, Z).

    Region-wise average pooling and broadcasting of SEAN (Zhu et al., CVPR 2020).

    Args:
        values: (B, K, X, Y, Z).
        labels: class ids (B, X, Y, Z).
        classes: number of ids.
    """
    ids = labels.flatten(1).unsqueeze(1)
    count = torch.zeros(len(ids), 1, classes, device=ids.device).scatter_add_(2, ids, torch.ones_like(ids).float())
    ids = ids.expand(-1, values.shape[1], -1)
    total = torch.zeros(*ids.shape[:2], classes, device=ids.device).scatter_add(2, ids, values.float().flatten(2))
    return (total / count.clamp(min=1)).gather(2, ids).unflatten(2, values.shape[2:])


def find_class_means(latents: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return the mean of each class, float32 (B, L, classes), where latent voxels mix classes; 0 where there is none.

    Least squares: the means μ that make Σ_c share_c μ_c closest to the latents.

    Args:
        latents: (B, L, X, Y, Z).
        labels: class ids (B, 2 X, 2 Y, 2 Z).
        classes: number of ids.
    """
    with torch.autocast("cuda" if latents.is_cuda else "cpu", enabled=False):
        shares = functional.avg_pool3d(functional.one_hot(labels, classes).movedim(-1, 1).float(), 2).flatten(2)
        gram = shares @ shares.mT + RIDGE * torch.eye(classes, device=labels.device)
        return torch.linalg.solve(gram, shares @ latents.float().flatten(2).mT).mT


def unmix_class_means(latents: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return at every voxel the mean of its class, float32 (B, L, 2 X, 2 Y, 2 Z); see `find_class_means`."""
    means = find_class_means(latents, labels, classes)
    ids = labels.flatten(1).unsqueeze(1).expand(-1, means.shape[1], -1)
    return means.gather(2, ids).unflatten(2, labels.shape[1:])
