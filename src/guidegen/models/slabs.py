"""The autoencoder on volumes that do not fit into memory: slab by slab, with the normalisation statistics of the whole.

A slab is computed together with the rows around it that its convolutions see. Stored, in the host's memory, are only
the narrowest volumes between two normalisations; what lies between is computed again whenever rows of it are read.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from guidegen.models.memory import measure_free_memory

if TYPE_CHECKING:
    from guidegen.models.contrast_autoencoder import ContrastAutoencoder, ResidualBlock

COPIES = 5
"""Volumes of the widest block that are held at once when nothing is split, counted and not measured: its input, the
same joined with the labels, normalised and activated, and one for what convolutions work with."""
FREE_SHARE = 0.8
"""Share of the free memory that may be taken."""
MOST_PARTS = 64
log = logging.getLogger(__name__)


def choose_parts(voxels: int, channels: int, device: torch.device) -> int:
    """Return 1 where a whole volume fits into the free memory, else the number of slabs of which one does.

    Args:
        voxels: of the CT.
        channels: of the widest block at the CT's resolution.
        device: of the network.
    """
    free, need = FREE_SHARE * measure_free_memory(device), 4 * COPIES * channels * voxels
    parts = 1
    while need / parts > free and parts < MOST_PARTS:
        parts *= 2
    if parts > 1:
        log.warning(
            "a CT of %.3g M voxels needs %.1f GiB at once and %.1f are free: it is coded in %d parts (set parts: 1 to "
            "forbid it)",
            voxels / 1e6,
            need / 2**30,
            free / FREE_SHARE / 2**30,
            parts,
        )
    return parts


class Volume(Protocol):
    """A volume (B, C, X, Y, Z) that is read by rows of the x axis."""

    @property
    def rows(self) -> int:
        """X."""
        ...

    def read(self, first: int, last: int) -> Tensor:
        """Return the rows `first` … `last` − 1, on the network's device."""
        ...


@dataclass(frozen=True)
class Stored:
    """A volume in the host's memory."""

    tensor: Tensor
    device: torch.device

    @property
    def rows(self) -> int:
        return self.tensor.shape[2]

    def read(self, first: int, last: int) -> Tensor:
        return self.tensor[:, :, first:last].to(self.device)


@dataclass(frozen=True)
class Computed:
    """What a layer makes of other volumes, computed when rows of it are read."""

    layer: Callable[..., Tensor]
    inputs: Sequence[Volume]
    halo: int = 1
    """Rows of the inputs beside its own that an output row depends on; a multiple of `down`."""
    up: int = 1
    """Factor by which the layer refines the grid."""
    down: int = 1
    """Factor by which it coarsens the grid."""

    @property
    def rows(self) -> int:
        return self.inputs[0].rows * self.up // self.down

    def read(self, first: int, last: int) -> Tensor:
        start = max(first * self.down // self.up - self.halo, 0)
        stop = min(-(-last * self.down // self.up) + self.halo, self.inputs[0].rows)
        found = self.layer(*(volume.read(start, stop) for volume in self.inputs))
        before = first - start * self.up // self.down
        return found[:, :, before : before + last - first]


class SlabAutoencoder:
    """Encodes and decodes like `ContrastAutoencoder`, in `parts` slabs; the results agree within 1e-4.

    Volumes are given and returned in the host's memory.

    Args:
        model: the network, in evaluation mode.
        parts: number of slabs.
    """

    def __init__(self, model: "ContrastAutoencoder", parts: int) -> None:
        self.model, self.parts = model, parts
        self.device = model.latent_mean.device

    def encode_moments(self, ct: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance (B, L, X/4, Y/4, Z/4).

        Args:
            ct: scaled to [−1, 1], (B, 1, X, Y, Z).
            labels: class ids (B, X/2, Y/2, Z/2).
        """
        model = self.model
        means = model.average_ct(ct, labels)
        x: Volume = Computed(model.conv_in, [Stored(ct, self.device)])
        for level, blocks in enumerate(model.down):
            x = self._run_level(blocks, x, self._embed_labels(labels, means, level))
            if level < len(model.shrink):
                x = Computed(model.shrink[level], [x], halo=2, down=2)
            x = self._store(x)
        norm = self._normalise(model.norm_latent, x)
        moments = self._store(Computed(lambda part: model.to_moments(_activate(norm(part))), [x])).tensor
        return model.split_moments(moments, means)

    def decode_scaled(self, latents: Tensor, labels: Tensor) -> Tensor:
        """Return CT (B, 1, X, Y, Z) scaled to [−1, 1], not clipped.

        Args:
            latents: (B, L, X/4, Y/4, Z/4).
            labels: class ids (B, X/2, Y/2, Z/2).
        """
        model = self.model
        means = model.average_latents(latents, labels)
        x: Volume = Computed(model.from_latent, [Stored(latents, self.device)])
        for level in reversed(range(len(model.up))):
            x = self._run_level(model.up[level], x, self._embed_labels(labels, means, level))
            if level:
                x = Computed(model.grow[level - 1], [self._store(x)], up=2)
        norm = self._normalise(model.norm_out, x)
        decoded = self._store(Computed(lambda part: model.conv_out(_activate(norm(part))), [x])).tensor.float()
        return model.add_means(decoded, means)

    def _embed_labels(self, labels: Tensor, means: Tensor | None, level: int) -> Volume:
        """Return the label pyramid's channels of a level."""

        def embed(ids: Tensor, painted: Tensor | None = None) -> Tensor:
            pyramid = self.model.pyramid
            return pyramid.fit_level(pyramid.embed_ids(ids[:, 0], painted), level)

        inputs = [Stored(labels.long().unsqueeze(1), self.device)]
        if means is not None:
            inputs.append(Stored(means, self.device))
        # the label map has the grid of level 1
        up, down = ((2, 1), (1, 1), (1, 2))[level]
        return Computed(embed, inputs, 0, up, down)

    def _run_level(self, blocks: nn.Module, x: Volume, labels: Volume) -> Volume:
        for index, block in enumerate(cast(nn.ModuleList, blocks)):
            if index:
                # in a line of its own, so that the block before is forgotten first
                x = self._store(x)
            x = self._run_block(cast("ResidualBlock", block), x, labels)
        return x

    def _run_block(self, block: "ResidualBlock", x: Volume, labels: Volume) -> Volume:
        norm_in = self._normalise(block.norm_in, x)

        def begin(part: Tensor, embedded: Tensor) -> Tensor:
            return block.conv_in(torch.cat([_activate(norm_in(part)), embedded], 1))

        hidden = self._store(Computed(begin, [x, labels]))
        norm_out = self._normalise(block.norm_out, hidden)

        def finish(part: Tensor, inner: Tensor) -> Tensor:
            return block.shortcut(part) + block.conv_out(_activate(norm_out(inner)))

        return Computed(finish, [x, hidden])

    def _list_slabs(self, rows: int) -> Iterator[tuple[int, int]]:
        parts = min(self.parts, rows)
        for index in range(parts):
            yield index * rows // parts, (index + 1) * rows // parts

    def _store(self, volume: Volume) -> Stored:
        found: Tensor | None = None
        for first, last in self._list_slabs(volume.rows):
            part = volume.read(first, last)
            if found is None:
                found = torch.empty(*part.shape[:2], volume.rows, *part.shape[3:], dtype=part.dtype)
            found[:, :, first:last] = part
        assert found is not None
        return Stored(found, self.device)

    def _normalise(self, norm: nn.GroupNorm, volume: Volume) -> Callable[[Tensor], Tensor]:
        """Return the group normalisation with mean and variance of the whole volume."""
        sums: list[Tensor] = []
        for first, last in self._list_slabs(volume.rows):
            part = volume.read(first, last)
            variance, mean = torch.var_mean(part.float(), dim=(2, 3, 4), correction=0)
            sums.append(torch.stack([mean.double(), variance.double() + mean.double().square()]) * (last - first))
        channels = torch.stack(sums).sum(0) / volume.rows
        width = norm.num_channels // norm.num_groups
        mean, square = channels.unflatten(2, (norm.num_groups, width)).mean(3).repeat_interleave(width, 2)
        scale = (square - mean.square() + norm.eps).rsqrt() * norm.weight
        shift = norm.bias - mean * scale
        scale, shift = (factor.float()[:, :, None, None, None] for factor in (scale, shift))
        return lambda part: torch.addcmul(shift, part, scale)


def _activate(part: Tensor) -> Tensor:
    return functional.silu(part, inplace=True)
