"""Stage II: CT ↔ latent, a KL autoencoder of MONAI's MAISI blocks with a label pyramid."""

import math
from itertools import pairwise
from pathlib import Path
from typing import Self, cast

import numpy as np
import torch
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import MaisiConvolution, MaisiDownsample, MaisiUpsample
from torch import Tensor, nn
from torch.nn import functional

from guidegen.models.class_means import paint_class_means, unmix_class_means
from guidegen.models.model_files import Binding, load_weights, read_description, save_model
from guidegen.models.settings import ContrastAutoencoderSettings
from guidegen.models.slabs import SlabAutoencoder, choose_parts

KIND = "contrast_autoencoder"
MEAN_GAIN = 8.0
"""Of the class means in the first latent channel, so that they stand well above the noise of an untrained encoder."""
WHOLE = {"num_splits": 1, "dim_split": 0, "print_info": False, "save_mem": False}


def _convolve(inputs: int, outputs: int, kernel: int = 3) -> MaisiConvolution:
    return MaisiConvolution(
        3,
        inputs,
        outputs,
        kernel_size=kernel,
        padding=kernel // 2,
        conv_only=True,
        **WHOLE,  # type: ignore[arg-type]
    )


class ResidualBlock(nn.Module):
    """Two normalised convolutions and a shortcut.

    The embedded label map is concatenated behind the first normalisation, which would make of a class what the other
    classes of the volume are not.
    """

    def __init__(self, inputs: int, outputs: int, labels: int, groups: int) -> None:
        super().__init__()
        self.norm_in = nn.GroupNorm(math.gcd(groups, inputs), inputs)
        self.conv_in = _convolve(inputs + labels, outputs)
        self.norm_out = nn.GroupNorm(groups, outputs)
        self.conv_out = _convolve(outputs, outputs)
        self.shortcut = nn.Identity() if inputs == outputs else _convolve(inputs, outputs, kernel=1)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        hidden = self.conv_in(torch.cat([functional.silu(self.norm_in(x)), labels], 1))
        hidden = self.conv_out(functional.silu(self.norm_out(hidden)))
        return self.shortcut(x) + hidden


class LabelPyramid(nn.Module):
    """The label map at every level of the autoencoder: embedded classes, repeated or averaged to the level's grid.

    An extra class stands for "labels unknown"; its embedding is learned (the null label).
    """

    def __init__(self, classes: int, channels: int, levels: int) -> None:
        super().__init__()
        self.classes = classes
        self.levels = levels
        self.embed = nn.Embedding(classes + 1, channels)

    def forward(self, labels: Tensor, means: Tensor | None = None) -> list[Tensor]:
        """Return (B, channels + K, …) per level.

        Args:
            labels: class ids (B, X, Y, Z) at half the CT's resolution.
            means: K more channels of that grid; see `paint_class_means`.
        """
        middle = self.embed_ids(labels, means)
        return [self.fit_level(middle, level) for level in range(self.levels)]

    def embed_ids(self, labels: Tensor, means: Tensor | None) -> Tensor:
        """Return the channels (B, channels + K, X, Y, Z) on the label grid; see `forward` for the arguments."""
        embedded = self.embed(labels).movedim(-1, 1)
        return embedded if means is None else torch.cat([embedded, means.to(embedded.dtype)], 1)

    @staticmethod
    def fit_level(embedded: Tensor, level: int) -> Tensor:
        """Repeat or average embedded labels (B, channels, …) of the label grid to the grid of a level."""
        if level == 0:
            return functional.interpolate(embedded, scale_factor=2.0, mode="nearest")
        for _ in range(level - 1):
            embedded = functional.avg_pool3d(embedded, 2)
        return embedded


class ContrastAutoencoder(nn.Module):
    """Encodes CT of (2n)³ voxels to latents of (n/2)³, given the label map of n³ voxels or none.

    Args:
        settings: network and switches.
        binding: grid and classes.
    """

    latent_mean: Tensor
    latent_std: Tensor

    def __init__(self, settings: ContrastAutoencoderSettings, binding: Binding) -> None:
        super().__init__()
        self.settings = settings
        self.binding = binding
        channels, groups = settings.channels, settings.norm_groups
        levels = len(channels)
        self.pyramid = LabelPyramid(len(binding.classes), settings.label_channels, levels)
        self.conv_in = _convolve(1, channels[0])
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        self.shrink, self.grow = nn.ModuleList(), nn.ModuleList()
        for level, width in enumerate(channels):
            before = channels[max(level - 1, 0)]
            extra = settings.label_channels
            self.down.append(self._make_level(before, width, extra + settings.class_means))
            after = channels[min(level + 1, levels - 1)]
            self.up.append(self._make_level(after, width, extra + settings.class_means * settings.latent_channels))
            if level < levels - 1:
                self.shrink.append(MaisiDownsample(3, width, **WHOLE))  # type: ignore[arg-type]
                self.grow.append(MaisiUpsample(3, channels[level + 1], False, **WHOLE))  # type: ignore[arg-type]
        self.norm_latent = nn.GroupNorm(groups, channels[-1])
        self.to_moments = _convolve(channels[-1], 2 * settings.latent_channels)
        self.from_latent = _convolve(settings.latent_channels, channels[-1])
        self.norm_out = nn.GroupNorm(groups, channels[0])
        self.conv_out = _convolve(channels[0], 1)
        if settings.class_means:
            # begins as the class means alone
            for layer, rows in ((self.to_moments, slice(1)), (self.conv_out, slice(None))):
                for parameter in layer.parameters():
                    nn.init.zeros_(parameter.data[rows])
        self.register_buffer("latent_mean", torch.zeros(settings.latent_channels))
        self.register_buffer("latent_std", torch.ones(settings.latent_channels))

    def _make_level(self, inputs: int, width: int, extra: int) -> nn.ModuleList:
        widths = [inputs] + [width] * self.settings.blocks
        return nn.ModuleList(ResidualBlock(a, b, extra, self.settings.norm_groups) for a, b in pairwise(widths))

    def choose_labels(self, labels: Tensor | None, shape: tuple[int, ...]) -> Tensor:
        """Return class ids (B, X, Y, Z), int64; the null label where `labels` is None or the switch is off.

        Args:
            labels: class ids (B, X, Y, Z), `len(classes)` is the null label; half the CT's resolution.
            shape: (B, X, Y, Z) of the label grid.
        """
        if labels is None or not self.settings.label_pyramid:
            labels = torch.full(shape, len(self.binding.classes), device=None if labels is None else labels.device)
        return labels.long()

    def average_ct(self, ct: Tensor, labels: Tensor) -> Tensor | None:
        """Return the class means (B, 1, X/2, Y/2, Z/2) of a CT (B, 1, X, Y, Z), 0 in background and unknown.

        None where the switch is off.
        """
        if not self.settings.class_means:
            return None
        return paint_class_means(functional.avg_pool3d(ct, 2), labels, self.pyramid.classes + 1) * self._know(labels)

    def average_latents(self, latents: Tensor, labels: Tensor) -> Tensor | None:
        """Return the class means (B, L, 2 X, 2 Y, 2 Z) of latents (B, L, X, Y, Z); see `average_ct` for the rest."""
        if not self.settings.class_means:
            return None
        return unmix_class_means(latents, labels, self.pyramid.classes + 1) * self._know(labels)

    def _know(self, labels: Tensor) -> Tensor:
        """Return where a class says what is there: not in the background, which is air, fat and muscle."""
        return ((labels != 0) & (labels != self.pyramid.classes)).unsqueeze(1)

    def encode_moments(self, ct: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance (B, L, X/4, Y/4, Z/4) of CT (B, 1, X, Y, Z) scaled to [−1, 1]."""
        half = (ct.shape[0], *(side // 2 for side in ct.shape[2:]))
        ids = self.choose_labels(labels, half).to(ct.device)
        means = self.average_ct(ct, ids)
        pyramid = self.pyramid(ids, means)
        hidden = self.conv_in(ct)
        for level, blocks in enumerate(self.down):
            for block in cast(nn.ModuleList, blocks):
                hidden = block(hidden, pyramid[level])
            if level < len(self.shrink):
                hidden = self.shrink[level](hidden)
        return self.split_moments(self.to_moments(functional.silu(self.norm_latent(hidden))), means)

    def split_moments(self, moments: Tensor, means: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance (B, L, …) of the encoder's output (B, 2 L, …) and the class means of the CT."""
        mean, log_variance = moments.float().chunk(2, 1)
        if means is not None:
            first, *others = mean.split(1, 1)
            mean = torch.cat([first + MEAN_GAIN * functional.avg_pool3d(means.to(mean.device), 2), *others], 1)
        return mean, log_variance.clamp(-20, 10)

    def decode_scaled(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        """Return CT (B, 1, X, Y, Z) scaled to [−1, 1], not clipped."""
        grid = (latents.shape[0], *(2 * side for side in latents.shape[2:]))
        ids = self.choose_labels(labels, grid).to(latents.device)
        means = self.average_latents(latents, ids)
        pyramid = self.pyramid(ids, means)
        hidden = self.from_latent(latents)
        for level in reversed(range(len(self.up))):
            for block in cast(nn.ModuleList, self.up[level]):
                hidden = block(hidden, pyramid[level])
            if level:
                hidden = self.grow[level - 1](hidden)
        return self.add_means(self.conv_out(functional.silu(self.norm_out(hidden))).float(), means)

    @staticmethod
    def add_means(decoded: Tensor, means: Tensor | None) -> Tensor:
        """Add the class means of the first latent channel, which starts as those of the CT, to the decoder's output."""
        if means is None:
            return decoded
        first = means[:, :1].to(decoded.device) / MEAN_GAIN
        return decoded + functional.interpolate(first, scale_factor=2.0, mode="trilinear")

    def scale_hu(self, ct: Tensor) -> Tensor:
        """Clip HU to the settings' range and scale it to [−1, 1]."""
        low, high = self.settings.hu_range
        return (ct.clamp(low, high) - low) * (2 / (high - low)) - 1

    def unscale_hu(self, ct: Tensor) -> Tensor:
        """Return HU of values in [−1, 1]; not clipped."""
        low, high = self.settings.hu_range
        return (ct + 1) * ((high - low) / 2) + low

    @torch.inference_mode()
    def encode(self, ct: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
        """Return the latent means, float32 (B, L, n/2, n/2, n/2); in parts where settings or free memory ask for it.

        Args:
            ct: HU, (B, 2n, 2n, 2n).
            labels: class ids (B, n, n, n), or None for the null label.
        """
        volume = self.scale_hu(torch.from_numpy(np.array(ct, np.float32))).unsqueeze(1)
        ids = self._receive_labels(labels, (len(volume), *(side // 2 for side in volume.shape[2:])))
        parts = self._choose_parts(volume.numel(), self.settings.channels[0])
        if parts > 1:
            return SlabAutoencoder(self, parts).encode_moments(volume, ids)[0].numpy()
        device = self.latent_mean.device
        return self.encode_moments(volume.to(device), ids.to(device))[0].cpu().numpy()

    @torch.inference_mode()
    def decode(self, latents: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
        """Return HU, float32 (B, 2n, 2n, 2n), clipped to the settings' range; see `encode` for the rest."""
        z = torch.from_numpy(np.array(latents, np.float32))
        ids = self._receive_labels(labels, (len(z), *(2 * side for side in z.shape[2:])))
        parts = self._choose_parts(8 * ids.numel(), self.settings.channels[1])
        if parts > 1:
            volume = SlabAutoencoder(self, parts).decode_scaled(z, ids)
        else:
            device = self.latent_mean.device
            volume = self.decode_scaled(z.to(device), ids.to(device))
        return self.unscale_hu(volume.clamp(-1, 1))[:, 0].cpu().numpy()

    def _receive_labels(self, labels: np.ndarray | None, shape: tuple[int, ...]) -> Tensor:
        return self.choose_labels(None if labels is None else torch.from_numpy(np.array(labels, np.int64)), shape)

    def _choose_parts(self, voxels: int, width: int) -> int:
        """Return the number of slabs for `voxels` CT voxels that meet up to `width` channels beside the labels'."""
        if self.settings.parts is not None:
            return self.settings.parts
        return choose_parts(voxels, width + self.settings.label_channels, self.latent_mean.device)

    def save(self, folder: Path, **facts: object) -> None:
        """Write model.safetensors and model.json."""
        scale = {"latent_mean": self.latent_mean.tolist(), "latent_std": self.latent_std.tolist()}
        settings = self.settings.model_dump(mode="json")
        save_model(folder, KIND, self, self.binding, {"settings": settings, **scale, **facts})

    @classmethod
    def load(cls, folder: Path, *, labels_hash: str | None = None) -> Self:
        """Load a trained model; GuideGenError where it was trained with another label table."""
        binding, facts = read_description(folder, KIND, labels_hash=labels_hash)
        model = cls(ContrastAutoencoderSettings.model_validate(facts["settings"]), binding)
        load_weights(folder, model)
        return model
