"""What a stage will need, before it is trained: one step on tensors that have shapes and no values."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from guidegen.models.contrast_autoencoder import ContrastAutoencoder
from guidegen.models.latent_generator import LatentGenerator
from guidegen.models.semantic_synthesizer import SemanticSynthesizer
from guidegen.study import Study
from guidegen.train.cohort import Cohort
from guidegen.train.contrast_autoencoder import ContrastAutoencoderStage
from guidegen.train.devices import checkpoint_activations
from guidegen.train.latent_generator import LatentGeneratorStage
from guidegen.train.semantic_synthesizer import SemanticSynthesizerStage

BYTES_PER_PARAMETER = 20
"""Weight, gradient, two moments of AdamW and the moving average, float32."""
MIXED_SHARE = 0.6
"""Activations with 16-bit mixed precision against 32-bit: most are halved, normalisations and losses are not."""


@dataclass(frozen=True)
class Estimate:
    """Needs of one stage on one GPU."""

    stage: str
    parameters: int
    memory: int
    """Bytes: weights and their companions, and what is kept for the backward pass of one batch."""
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
    settings = getattr(study.config.train, name)
    optimization, stage = settings.optimization, _build_stage(study, cohort, name)
    total = optimization.steps * optimization.accumulate
    # stage II sees crops first and whole volumes at the end
    whole = settings.model.whole_share if name == "contrast_autoencoder" else 0.0
    probes = [(stage.draw_batch(0), 1 - whole), (stage.draw_batch(total - 1), whole)]
    if optimization.activation_checkpointing:
        checkpoint_activations(stage)
    stage.to("meta")
    needs = [(_probe(stage, _move(batch)), share) for batch, share in probes]
    parameters = sum(p.numel() for p in stage.parameters())
    kept = max(need.kept for need, _ in needs) * (1.0 if optimization.precision == "32-true" else MIXED_SHARE)
    batches = len(stage.cases) / optimization.batch
    return Estimate(
        stage=name,
        parameters=parameters,
        memory=int(parameters * BYTES_PER_PARAMETER + kept),
        operations=sum(need.operations * share for need, share in needs),
        batches=batches,
        epochs=total / batches,
    )


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


def _build_stage(study: Study, cohort: Cohort, name: str) -> Any:
    settings, seed = getattr(study.config.train, name), study.config.study.seed
    if name == "semantic_synthesizer":
        model = SemanticSynthesizer(settings.model, cohort.bind(), cohort.states(""))
        return SemanticSynthesizerStage(model, cohort, settings, seed)
    if name == "contrast_autoencoder":
        stage = ContrastAutoencoderStage(ContrastAutoencoder(settings.model, cohort.bind()), cohort, settings, seed)
        stage.adversarial = _LeastSquares()  # type: ignore[assignment]
        return stage
    channels = study.config.train.contrast_autoencoder.model.latent_channels
    stage = LatentGeneratorStage(
        LatentGenerator(settings.model, cohort.bind(), channels, cohort.states("")),
        cohort,
        {case.case: case.ct for case in cohort.cases if case.ct},
        settings,
        seed,
    )
    # the latents need not be there yet
    shape = (channels, *(study.config.prepare.grid // 2,) * 3)
    stage.load_latents = lambda case: np.zeros(shape, np.float32)  # type: ignore[method-assign]
    return stage


class _LeastSquares(nn.Module):
    """The adversarial loss for tensors without values, which MONAI's does not take."""

    def forward(self, verdict: Tensor, target_is_real: bool, for_discriminator: bool) -> Tensor:
        return (verdict - float(target_is_real)).square().mean()


def _move(value: Any) -> Any:
    """Return a batch (a named tuple, nested) without its values."""
    if isinstance(value, Tensor):
        return value.to("meta")
    if isinstance(value, tuple):
        return type(value)(*(_move(part) for part in value))
    return value


@dataclass
class _Probe:
    """Bytes kept for the backward pass of one batch, and floating-point operations of both passes."""

    kept: int
    operations: int


def _probe(stage: nn.Module, batch: Any) -> _Probe:
    weights = {parameter.untyped_storage()._cdata for parameter in stage.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage.nbytes()
        return tensor

    # at the end of the training all losses are there
    with FlopCounterMode(display=False) as counter:
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            loss = stage(batch, 1.0)["loss"]
        loss.backward()
    return _Probe(sum(kept.values()), counter.get_total_flops())
