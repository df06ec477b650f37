"""Loss weights that let small organs and tumours be learned early."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from guidegen.train.cohort import CohortCase


def measure_frequencies(cases: Sequence[CohortCase], classes: int) -> Tensor:
    """Return the share of voxels that each class has over all cases with labels (C,), float64; none is 0."""
    counts = torch.ones(classes, dtype=torch.float64)
    for case in cases:
        if case.labels is not None:
            counts += torch.from_numpy(np.bincount(case.load_labels().ravel(), minlength=classes)).double()
    return counts / counts.sum()


def weigh_classes(frequencies: Tensor, balance: float) -> Tensor:
    """Return frequency^−balance per class (C,), float32, scaled so that the mean over all voxels is 1."""
    weights = frequencies**-balance
    return (weights / (weights * frequencies).sum()).float()
