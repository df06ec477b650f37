"""The training loop, one for all stages."""

import logging
import math
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from guidegen.errors import GuideGenError
from guidegen.progress import track_progress
from guidegen.seeds import derive_seed
from guidegen.train.checkpoints import CheckpointFolder, Curves
from guidegen.train.settings import OptimizationSettings

REQUEUE_CODE = 75
"""Exit code of a training that was told to stop (SIGTERM, SIGUSR1) and left a checkpoint: start it again."""

log = logging.getLogger(__name__)


class RequeueRequested(GuideGenError):
    """The job was told to stop; a checkpoint was written."""

    exit_code = REQUEUE_CODE


class StageModule(Protocol):
    """What the loop needs of a stage: an nn.Module whose forward returns losses, the one to minimise as `loss`."""

    model: nn.Module
    """The network whose moving average is kept."""

    def draw_batch(self, index: int) -> Any:
        """Return batch number `index`, a named tuple with the field `cases` (their ids)."""
        ...

    def measure_held_out(self, model: nn.Module) -> list[float]:
        """Return the held-out loss of each fixed case, with fixed noise."""
        ...


@dataclass(frozen=True)
class TrainingRun:
    """Name, seed and places of one training."""

    stage: str
    seed: int
    threads: int
    state: Path
    fingerprint: str
    settings: OptimizationSettings


@dataclass
class Trained:
    """What a training ends with."""

    model: nn.Module
    """The moving average, in evaluation mode."""
    curves: Curves = field(default_factory=Curves)


def run_training(run: TrainingRun, stage: Any) -> Trained:
    """Train a stage, or go on with it from its last checkpoint.

    Args:
        run: name, seed, places and settings.
        stage: a `StageModule` (an nn.Module).

    Raises:
        RequeueRequested: SIGTERM or SIGUSR1 came; a checkpoint was written.
        GuideGenError: the loss is not finite; names the cases of the batch.
    """
    settings = run.settings
    fix_numerics(run.threads)
    warnings.filterwarnings("ignore", message="The `srun` command is available")
    fabric = Fabric(accelerator="auto", devices=1, precision=settings.precision)
    average = AveragedModel(stage.model, multi_avg_fn=make_averaging(settings.ema)).to(fabric.device)
    module, optimizer = fabric.setup(stage, make_optimizer(stage, settings))
    checkpoints = CheckpointFolder(run.state, run.fingerprint, settings.checkpoints_kept)
    start, curves = checkpoints.restore(stage, average, optimizer)
    with catch_signals() as stopped, track_progress(f"train {run.stage}", settings.steps, "steps") as advance:
        advance(start, "kept from before") if start else None
        for step in range(start, settings.steps):
            torch.manual_seed(derive_seed(run.seed, run.stage, step))
            set_learning_rate(optimizer, settings, step)
            parts: list[dict[str, Tensor]] = []
            for micro in range(settings.accumulate):
                batch = fabric.to_device(stage.draw_batch(step * settings.accumulate + micro))
                losses = module(batch, step / settings.steps)
                check_finite(losses, batch.cases, run.stage, step)
                fabric.backward(losses["loss"] / settings.accumulate)
                parts.append(losses)
            fabric.clip_gradients(module, optimizer, max_norm=settings.clip, error_if_nonfinite=False)
            optimizer.step()
            optimizer.zero_grad()
            average.update_parameters(stage.model)
            values = {name: sum(float(part[name].detach()) for part in parts) / len(parts) for name in parts[0]}
            curves.pending.append(values)
            done = step + 1
            if done % settings.log_every == 0 or done == settings.steps:
                curves.close_interval(done)
            if done % settings.validate_every == 0 and done < settings.steps:
                held_out = stage.measure_held_out(average.module)
                curves.rows.append((done, "held_out", sum(held_out) / len(held_out)))
            if done % settings.checkpoint_every == 0 or done == settings.steps or stopped:
                checkpoints.save(done, stage, average, optimizer, curves)
            if stopped and done < settings.steps:
                raise RequeueRequested(f"train {run.stage}: stopped by {stopped[0]} after step {done}; start it again")
            advance(1, f"loss {values['loss']:.4g}")
    return Trained(average.module.eval().requires_grad_(False), curves)


def fix_numerics(threads: int) -> None:
    """Set the thread count and deterministic algorithms; on a GPU some have none, and only a warning is given."""
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    # filling fresh memory only serves to find reads of it, and takes time
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def make_optimizer(module: nn.Module, settings: OptimizationSettings) -> torch.optim.Optimizer:
    """Return AdamW; vectors (biases, norms) have no weight decay."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.99), foreach=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, settings: OptimizationSettings, step: int) -> None:
    """Set the rate of `step`: linear warm-up, then cosine decay to `final_rate`."""
    warm = min(1.0, (step + 1) / max(settings.warmup, 1))
    share = max(0.0, step - settings.warmup) / max(1, settings.steps - settings.warmup)
    decay = settings.final_rate + (1 - settings.final_rate) * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))
    for group in optimizer.param_groups:
        group["lr"] = settings.learning_rate * warm * decay


def make_averaging(decay: float) -> Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | int], None]:
    """Return the averaging function of the EMA; the decay starts low, so that the first weights are forgotten."""

    def average(means: Sequence[Tensor], values: Sequence[Tensor], count: Tensor | int) -> None:
        kept = min(decay, (1 + int(count)) / (10 + int(count)))
        for mean, value in zip(means, values, strict=True):
            mean.lerp_(value, 1 - kept)

    return average


def check_finite(losses: dict[str, Tensor], cases: list[str], stage: str, step: int) -> None:
    """Raise GuideGenError where a loss is not finite."""
    for name, value in losses.items():
        if not torch.isfinite(value):
            raise GuideGenError(
                f"train {stage}: {name} is {float(value.detach())} at step {step}; cases of the batch: "
                f"{', '.join(cases)}. Look at their arrays, or lower learning_rate or use precision 32-true"
            )


@contextmanager
def catch_signals() -> Iterator[list[str]]:
    """Yield a list that gets the name of SIGTERM or SIGUSR1 when it comes; the old handlers return at the end."""
    received: list[str] = []

    def note(number: int, frame: object) -> None:
        received.append(signal.Signals(number).name)

    old = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGUSR1)}
    try:
        yield received
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
