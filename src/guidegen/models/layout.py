"""The layout of a label map: how much there is of each class and where its centre lies, read from the prompt.

A tumour of a few voxels hardly shows in the loss of a whole label map, so that a prompt's words for it are learned
late or never. In the layout every class counts the same: it is read from the prompt by a regression, and the network of
stage I sees it as one soft ball per class.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

FACTS = 4
"""Of each class: log volume, then its centre along x, y, z."""
SCALE = 1e4
"""A volume enters as log(1 + share of the grid × this), so that nothing is 0 and a voxel of a small grid counts."""


def measure_layout(labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Return the facts (B, C, 4) of label maps (B, X, Y, Z), and which of them are known (B, C, 4): 1 or 0.

    Centres lie in [−1, 1] along each axis; that of a class which is not there is unknown, its volume is 0.
    """
    ids = functional.one_hot(labels, classes).movedim(-1, 1).float()
    counts = ids.sum((2, 3, 4))
    sums = []
    for axis in (2, 3, 4):
        others = tuple(a for a in (2, 3, 4) if a != axis)
        sums.append(ids.sum(others) @ torch.linspace(-1, 1, labels.shape[axis - 1], device=labels.device))
    centres = torch.stack(sums, -1) / counts.clamp(min=1).unsqueeze(-1)
    volumes = torch.log1p(counts / labels[0].numel() * SCALE).unsqueeze(-1)
    there = (counts > 0).float().unsqueeze(-1)
    return torch.cat([volumes, centres], -1), torch.cat([torch.ones_like(there), there.expand_as(centres)], -1)


def draw_balls(facts: Tensor, grid: int) -> Tensor:
    """Return one soft ball per class (B, C, grid, grid, grid) in [0, 1], as large as the class.

    Args:
        facts: (B, C, 4) of `measure_layout`.
        grid: voxels per axis.
    """
    share = torch.expm1(facts[..., 0].clamp(0, math.log1p(SCALE))) / SCALE
    radius = (6 * share / math.pi).pow(1 / 3).clamp(min=2 / grid)  # of a ball in a cube of edge 2: 4/3 π r³ = 8 share
    places = torch.linspace(-1, 1, grid, device=facts.device)
    x, y, z = (torch.exp(-0.5 * ((places - facts[..., axis, None]) / radius.unsqueeze(-1)) ** 2) for axis in (1, 2, 3))
    there = 1 - torch.exp(-facts[..., 0].clamp(min=0))
    return torch.einsum("bc,bcx,bcy,bcz->bcxyz", there, x, y, z)
