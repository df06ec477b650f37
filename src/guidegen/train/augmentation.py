"""Random rotations and shifts of training label maps; never a mirror image, which would be wrong anatomy."""

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.nn import functional

from guidegen.models.knowledge_injection import Spacing
from guidegen.train.settings import AugmentationSettings


def turn_and_shift(
    labels: Tensor, spacing: Spacing | None, settings: AugmentationSettings, rng: np.random.Generator
) -> Tensor:
    """Return class ids (n, n, n) turned about the middle of the grid and shifted, resampled to the nearest.

    What lies beyond the grid is what lies at its border.

    Args:
        labels: class ids (n, n, n).
        spacing: voxel size (mm), so that angles are those of the body; None: cubes.
        settings: largest rotation and shift.
        rng: where the angles and shifts come from.
    """
    angles = rng.uniform(-settings.rotation, settings.rotation, 3)
    shift = rng.uniform(-settings.shift, settings.shift, 3) * 2  # the grid reaches from -1 to 1
    size = np.array(spacing or (1.0, 1.0, 1.0))
    matrix = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * size / size[:, None]
    # grid_sample counts axes from the last
    theta = torch.from_numpy(np.column_stack([matrix[::-1, ::-1], shift[::-1]])).float()
    grid = functional.affine_grid(theta[None], [1, 1, *labels.shape], align_corners=False)
    volume = labels[None, None].float()
    found = functional.grid_sample(volume, grid, mode="nearest", padding_mode="border", align_corners=False)
    return found[0, 0].to(labels.dtype)
