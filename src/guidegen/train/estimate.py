"""What a stage will need, before it is trained: one batch on tensors that have shapes and no values."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from guidegen.study import Study
from guidegen.train.cohort import Cohort
from guidegen.train.counting import Work, count_work, strip_values
from guidegen.train.devices import checkpoint_activations
from guidegen.train.placeholder import PlaceholderCohort, build_stage

BYTES_PER_PARAMETER = 20
"""Weight, gradient, two moments of AdamW and the moving average, float32."""
MIXED_SHARE = 0.6
"""Activations with 16-bit mixed precision against 32-bit: most are halved, normalisations and losses are not."""

WORKSPACE = 1.7
"""Peak memory of a step against weights and kept activations alone: 1.5, 1.7 and 1.7 for the three stages of the preset
`paper` on an H200 (benchmarks/gpu.md)."""


@dataclass(frozen=True)
class BatchCost:
    """What one batch costs, forward and backward."""

    parameters: int
    """Of all networks that are trained."""
    kept: float
    """Bytes of float32 activations that are kept for the backward pass."""
    work: Work


@dataclass(frozen=True)
class Estimate:
    """Needs of one stage on one GPU."""

    stage: str
    parameters: int
    memory: int
    """Bytes: weights and their companions, what is kept for the backward pass of one batch, and workspace."""
    operations: float
    """Floating-point operations of one batch, forward and backward, as a mean over the training."""
    batches: float
    """Batches per epoch."""
    epochs: float
    """Epochs of the whole training."""

    def describe(self, rate: float, world: int) -> str:
        """Return a line for people; `rate` is operations per second of one of `world` devices."""
        seconds = self.operations / rate / world
        return (
            f"{self.stage}: {self.parameters / 1e6:.1f} M parameters, about {self.memory / 2**30:.2f} GiB; "
            f"{self.operations / 1e12:.3g} × 10¹² operations per batch, about {seconds:.3g} s; an epoch "
            f"({self.batches:.3g} batches) {format_time(seconds * self.batches)}, the training "
            f"({self.epochs:.3g} epochs) {format_time(seconds * self.batches * self.epochs)}"
        )


def estimate_stage(study: Study, cohort: Cohort, name: str) -> Estimate:
    """Return what one stage will need; nothing is computed, so that a login node can say it."""
    optimization = getattr(study.config.train, name).optimization
    cost = count_mean_batch(study, name)
    kept = cost.kept * (1.0 if optimization.precision == "32-true" else MIXED_SHARE)
    batches = len(cohort.select(name)) / optimization.batch
    return Estimate(
        stage=name,
        parameters=cost.parameters,
        memory=int((cost.parameters * BYTES_PER_PARAMETER + kept) * WORKSPACE),
        operations=cost.work.operations,
        batches=batches,
        epochs=optimization.steps * optimization.accumulate / batches,
    )


def count_mean_batch(study: Study, name: str) -> BatchCost:
    """Return what a batch of a stage costs as a mean over the training; of the memory the most."""
    costs = [(count_batch(study, name, share), weight) for share, weight in _list_phases(study, name)]
    work = sum((cost.work * weight for cost, weight in costs), Work(0, 0))
    return BatchCost(costs[0][0].parameters, max(cost.kept for cost, _ in costs), work)


def count_batch(study: Study, name: str, share: float) -> BatchCost:
    """Return what a batch costs when `share` of the training is done."""
    optimization = getattr(study.config.train, name).optimization
    with torch.device("meta"):
        stage = build_stage(PlaceholderCohort.load(study), name)
    batch = stage.draw_batch(round(share * optimization.steps) * optimization.accumulate)
    if optimization.activation_checkpointing:
        checkpoint_activations(stage)
    if name == "contrast_autoencoder":
        stage.adversarial = _LeastSquares()
        stage.perceptual.clear()  # a file's network takes tensors with values only, and is not counted
    weights = {parameter.untyped_storage()._cdata for parameter in stage.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage.nbytes()
        return tensor

    def take_step() -> None:
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            loss = stage(strip_values(batch), share)["loss"]
        loss.backward()

    work = count_work(take_step)
    return BatchCost(sum(parameter.numel() for parameter in stage.parameters()), sum(kept.values()), work)


def _list_phases(study: Study, name: str) -> Iterator[tuple[float, float]]:
    """Yield (share done at its middle, length) of the phases of a training, between which a batch changes its cost."""
    if name != "contrast_autoencoder":
        yield 0.5, 1.0
        return
    # stage II: discriminators start late, and whole volumes come at the end
    settings = study.config.train.contrast_autoencoder.model
    for start, stop in pairwise(sorted({0.0, settings.adversarial_start, 1 - settings.whole_share, 1.0})):
        yield (start + stop) / 2, stop - start


def measure_rate(precision: str, seconds: float = 1.0) -> float:
    """Return the operations per second of this machine's GPU or CPU in a 3D convolution, forward and backward."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    side, width = (128, 64) if device == "cuda" else (32, 16)
    volume = torch.randn(1, width, side, side, side, device=device, requires_grad=True)
    layer = nn.Conv3d(width, width, 3, padding=1).to(device)
    rounds, start = -1, time.monotonic()
    while rounds < 2 or time.monotonic() - start < seconds:
        with torch.autocast(device, torch.bfloat16, enabled=precision != "32-true"):
            layer(volume).sum().backward()
        if device == "cuda":
            torch.cuda.synchronize()
        rounds += 1
        start = time.monotonic() if rounds == 0 else start  # the first round only warms up
    operations = 6 * 27 * width * width * side**3
    return rounds * operations / (time.monotonic() - start)


def describe_device() -> str:
    """Return the name of the device that `measure_rate` measures."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"this CPU, {torch.get_num_threads()} threads"


def format_time(seconds: float) -> str:
    """Return a duration in the unit that suits it."""
    for unit, size in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


class _LeastSquares(nn.Module):
    """The adversarial loss for tensors without values, which MONAI's does not take."""

    def forward(self, verdict: Tensor, target_is_real: bool, for_discriminator: bool) -> Tensor:
        return (verdict - float(target_is_real)).square().mean()
