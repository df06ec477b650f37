"""Feature networks behind the Fréchet distances.

The default has fixed random weights. It needs no download, it has seen no data and thus favours neither the real nor
the generated cases, and it is the same in every study, so that figures of studies with equal grids can be compared;
a segmenter of the study would be trained on one of the two sides of the floor. Distances under random features rank
sets sensibly where pretrained ones are far from the data (Naeem et al., ICML 2020, arXiv 2002.09797, section 4.2).
Another network comes as a TorchScript file.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from guidegen.errors import GuideGenError
from guidegen.seeds import derive_rng
from guidegen.torchscript import load_script

WIDTHS = (8, 16, 16)
CELLS = 2
"""Activations are averaged in 2 cells per axis, so that features tell left from right, top from bottom."""
FEATURES = 64
CONTRAST_GAIN = 8.0
"""Half of the first filters see contrasts only, this much amplified: texture is weak beside the range from air to bone.
Without them, noise and blur hardly moved the distances."""
RANDOM = f"fixed random convolutions {WIDTHS}, {FEATURES} features"

FeatureNetwork = Callable[[Tensor], Tensor]
"""Maps (B, C, X, Y) or (B, C, X, Y, Z) to (B, F)."""


class RandomNetwork(nn.Module):
    """Convolutions of width 3 with leaky ReLU at three scales; averages per cell, projected to `FEATURES` numbers.

    The weights depend on nothing but the two arguments.
    """

    def __init__(self, dimensions: int, channels: int = 1) -> None:
        super().__init__()
        rng = derive_rng(0, "evaluate", "features", dimensions, channels)
        self.dimensions = dimensions
        self.weights: list[Tensor] = []
        fan = channels
        for level, width in enumerate(WIDTHS):
            inputs = fan * 3**dimensions
            weight = rng.normal(0, np.sqrt(2 / inputs), (width, fan, *(3,) * dimensions))
            if level == 0:
                contrast = weight[width // 2 :]
                contrast -= contrast.mean(axis=tuple(range(1, weight.ndim)), keepdims=True)
                contrast *= CONTRAST_GAIN
            self.weights.append(torch.from_numpy(weight.astype(np.float32)))
            fan = width
        basis = np.linalg.qr(rng.normal(size=(sum(WIDTHS) * CELLS**dimensions, FEATURES)))[0]
        self.projection = torch.from_numpy(basis.astype(np.float32))

    def forward(self, images: Tensor) -> Tensor:
        """Return features (B, F) of images (B, C, X, Y) or (B, C, X, Y, Z) in [0, 1]."""
        convolve, shrink, average = {
            2: (functional.conv2d, functional.avg_pool2d, functional.adaptive_avg_pool2d),
            3: (functional.conv3d, functional.avg_pool3d, functional.adaptive_avg_pool3d),
        }[self.dimensions]
        found, x = [], images
        for weight in self.weights:
            x = functional.pad(x, (1, 1) * self.dimensions, mode="replicate")
            x = functional.leaky_relu(convolve(x, weight), 0.1)
            found.append(average(x, CELLS).flatten(1))
            x = shrink(x, 2)
        return torch.cat(found, 1) @ self.projection


def load_network(file: str, study: Path, dimensions: int) -> FeatureNetwork:
    """Return the network of a setting: the random one, or a TorchScript file (relative to the study).

    Features with places, (B, F, …), are averaged over them.

    Raises:
        GuideGenError: the file is missing or no TorchScript.
    """
    if not file:
        return RandomNetwork(dimensions)
    network = load_script(study / file, "evaluate.networks")

    def extract(images: Tensor) -> Tensor:
        found = network(images)
        if not isinstance(found, Tensor) or found.ndim < 2 or len(found) != len(images):
            shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise GuideGenError(f"{file}: gives {shape} for images {tuple(images.shape)}, expected (batch, features)")
        return found.flatten(2).mean(2) if found.ndim > 2 else found

    return extract


def window_ct(ct: np.ndarray, window: tuple[float, float]) -> Tensor:
    """Return a CT in HU as float32 in [0, 1] over a window."""
    low, high = window
    return torch.from_numpy((np.clip(ct, low, high).astype(np.float32) - low) / (high - low))


@torch.no_grad()
def extract_slices(network: FeatureNetwork, volume: Tensor, slices: int) -> np.ndarray:
    """Return features of evenly spaced slices of the middle 80 % along each axis.

    Args:
        network: for two dimensions.
        volume: (C, X, Y, Z) in [0, 1].
        slices: per plane.

    Returns:
        (3, slices, F), float64: sagittal, coronal, axial.
    """
    found = []
    for axis in (1, 2, 3):
        places = np.rint(np.linspace(0.1, 0.9, slices) * (volume.shape[axis] - 1)).astype(int)
        images = volume.index_select(axis, torch.from_numpy(places)).movedim(axis, 0)
        found.append(network(images.contiguous()).double().numpy())
    return np.stack(found)


@torch.no_grad()
def extract_whole(network: FeatureNetwork, volume: Tensor) -> np.ndarray:
    """Return features (F,) of a volume (C, X, Y, Z) in [0, 1]."""
    return network(volume[None])[0].double().numpy()


@torch.no_grad()
def extract_clips(network: FeatureNetwork, volume: Tensor, clips: int, length: int) -> np.ndarray:
    """Return features (clips, F) of stacks of neighbouring axial slices, evenly spaced, of (C, X, Y, Z) in [0, 1]."""
    length = min(length, volume.shape[3])
    starts = np.rint(np.linspace(0, volume.shape[3] - length, clips)).astype(int)
    stacks = torch.stack([volume[..., start : start + length] for start in starts])
    return network(stacks).double().numpy()
