"""The training loop, one for all stages."""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from lightning_fabric.strategies.model_parallel import ModelParallelStrategy
from lightning_fabric.wrappers import _FabricOptimizer
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from guidegen.errors import GuideGenError
from guidegen.progress import Advance, track_progress
from guidegen.seeds import derive_seed
from guidegen.train.checkpoints import HELD_OUT, CheckpointFolder, Curves, TrainingState
from guidegen.train.devices import Hardware, checkpoint_activations, gather_tensor, launch_fabric, shard_module
from guidegen.train.loader import Loader
from guidegen.train.monitor import Monitor, measure_memory
from guidegen.train.settings import OptimizationSettings
from guidegen.train.signals import RequeueRequested, note_signals, stop_at_once


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
    hardware: Hardware = field(default_factory=Hardware)
    draw: Callable[[nn.Module, Path], None] | None = None
    """Draws samples of a model into a PNG file; called with the moving average when the held-out loss is measured."""


@dataclass
class Trained:
    """What a training ends with."""

    model: nn.Module
    """The moving average, in evaluation mode."""
    curves: Curves = field(default_factory=Curves)
    progress: bool = False
    """Whether this process did steps, not one before it all of them."""


def run_training(run: TrainingRun, stage: Any) -> Trained | None:
    """Train a stage, or go on with it from its last checkpoint.

    Args:
        run: name, seed, places and settings.
        stage: a `StageModule` (an nn.Module).

    Returns:
        The trained model; None in all processes that train it but the first.

    Raises:
        RequeueRequested: SIGTERM or SIGUSR1 came; a checkpoint was written.
        GuideGenError: the loss is not finite; names the cases of the batch.
    """
    training = Training(run, stage)
    start, steps = training.restore(), run.settings.steps
    with note_signals() as stopped, training.watch(start) as (batches, monitor, advance):
        for step in range(start, steps):
            if training.is_validation_due(step):
                training.validate(step, step > start)
            training.set_learning_rate(step)
            parts = [training.compute_gradients(batches, step, turn) for turn in range(training.turns)]
            training.update_weights()
            losses, stopping = training.agree(parts, bool(stopped))
            done = step + 1
            training.note_losses(done, losses, monitor)
            if (
                stopping
                or done == steps
                or done % run.settings.checkpoint_every == 0
                or training.is_validation_due(done)
            ):
                training.save(done)
            if stopping and done < steps:
                who = stopped[0] if stopped else "a signal to another process"
                raise RequeueRequested(f"train {run.stage}: stopped by {who} after step {done}; start it again")
            advance(1, f"loss {losses['loss']:.4g}, {measure_memory():.1f} GiB")
    model = training.gather_average().eval().requires_grad_(False)
    return Trained(model, training.curves, start < steps) if training.fabric.is_global_zero else None


class Training:
    """The steps of the loop, and what they share.

    A step takes `accumulate` batches, shared out among the processes: batch `number` has the same cases and the same
    noise whoever draws it, so that the number of processes changes nothing but the order of sums.
    """

    def __init__(self, run: TrainingRun, stage: Any) -> None:
        settings = run.settings
        self.run, self.stage = run, stage
        self.fabric = launch_fabric(run.hardware, settings.precision, settings.accumulate)
        self.turns = settings.accumulate // self.fabric.world_size
        fix_numerics(run.threads)
        self.average = AveragedModel(stage.model, multi_avg_fn=make_averaging(settings.ema)).to(self.fabric.device)
        self._whole: nn.Module | None = None
        if isinstance(self.fabric.strategy, ModelParallelStrategy):
            self._whole = copy.deepcopy(self.average.module)
            shard_module(self.average.module, self.fabric.strategy.device_mesh["data_parallel"])
        if settings.activation_checkpointing:
            checkpoint_activations(stage)
        self.module = self.fabric.setup_module(torch.compile(stage) if settings.compile else stage)  # type: ignore[arg-type]
        self._plain_optimizer = make_optimizer(stage, settings)
        self.optimizer = cast(_FabricOptimizer, self.fabric.setup_optimizers(self._plain_optimizer))
        self.state = TrainingState(stage, self.average, self._plain_optimizer)
        self.checkpoints = CheckpointFolder(run.state, run.fingerprint, settings.checkpoints_kept)
        self.curves = Curves()

    def restore(self) -> int:
        """Go back to the newest whole checkpoint; return the steps done, 0 where there is none."""
        found = self.checkpoints.load()
        if found is None:
            return 0
        facts, tensors = found
        self.state.restore(tensors)
        self.fabric.strategy.precision.load_state_dict(facts["scaler"])
        self.curves = Curves([tuple(row) for row in facts["curves"]], facts["pending"])
        return facts["step"]

    def save(self, done: int) -> None:
        """Write a checkpoint; every process takes part, the first writes."""
        tensors = self.state.collect()
        if self.fabric.is_global_zero:
            self.checkpoints.save(done, tensors, self.curves, self.fabric.strategy.precision.state_dict())
        self.fabric.barrier()

    @contextmanager
    def watch(self, start: int) -> Iterator[tuple[Loader[Any], Monitor | None, Advance]]:
        """Yield this process's batches from step `start` on and, in the first process, what shows the progress."""
        steps = range(start, self.run.settings.steps)
        numbers = (self._number(step, turn) for step in steps for turn in range(self.turns))
        with ExitStack() as stack:
            batches = stack.enter_context(closing(Loader(self.stage.draw_batch, numbers)))
            if not self.fabric.is_global_zero:
                yield batches, None, lambda amount=1, note="": None
                return
            title = f"train {self.run.stage}"
            monitor = stack.enter_context(Monitor(self.checkpoints.folder, start, self.curves, batches))
            yield batches, monitor, stack.enter_context(track_progress(title, steps.stop, "steps", kept=start))

    def _number(self, step: int, turn: int) -> int:
        accumulate, world = self.run.settings.accumulate, self.fabric.world_size
        return step * accumulate + turn * world + self.fabric.global_rank

    def is_validation_due(self, done: int) -> bool:
        """Return whether the held-out loss is measured after `done` steps; at the end the results hold it."""
        return done > 0 and done % self.run.settings.validate_every == 0 and done < self.run.settings.steps

    def validate(self, done: int, progress: bool) -> None:
        """Measure the held-out loss of the moving average and draw samples; a checkpoint was written before."""
        model = self.gather_average()
        if not self.fabric.is_global_zero:
            return
        # with several processes, one that left here would let the others wait
        leave = stop_at_once(self.run.stage, progress) if self.fabric.world_size == 1 else nullcontext()
        with leave:
            losses = self.stage.measure_held_out(model)
            if self.run.draw:
                self.run.draw(model, self.checkpoints.folder / f"samples-{done:08d}.png")
        self.curves.rows.append((done, HELD_OUT, sum(losses) / len(losses)))

    def gather_average(self) -> nn.Module:
        """Return the moving average as one whole module."""
        if self._whole is None:
            return self.average.module
        found = {name: gather_tensor(tensor) for name, tensor in self.average.module.state_dict().items()}
        self._whole.load_state_dict(found)
        return self._whole

    def set_learning_rate(self, step: int) -> None:
        """Set the rate of `step`."""
        set_learning_rate(self._plain_optimizer, self.run.settings, step)

    def compute_gradients(self, batches: Loader[Any], step: int, turn: int) -> dict[str, float]:
        """Add the gradients of one batch; return its losses. Raises GuideGenError where one is not finite."""
        run, fabric = self.run, self.fabric
        torch.manual_seed(derive_seed(run.seed, run.stage, self._number(step, turn)))
        batch = fabric.to_device(next(batches))
        waits = fabric.world_size > 1 and turn < self.turns - 1
        with fabric.no_backward_sync(self.module, enabled=waits):
            losses = self.module(batch, step / run.settings.steps)
            values = torch.stack([loss.detach().float() for loss in losses.values()])
            self._check_finite(dict(zip(losses, values.tolist(), strict=True)), batch.cases, step)
            fabric.backward(losses["loss"] / self.turns)
        return dict(zip(losses, values.tolist(), strict=True))

    def _check_finite(self, losses: dict[str, float], cases: list[str], step: int) -> None:
        """All processes learn of a loss that is not finite before any of them waits for gradients of another."""
        bad = {name: value for name, value in losses.items() if not math.isfinite(value)}
        anywhere = bool(bad)
        if self.fabric.world_size > 1:
            anywhere = float(self.fabric.all_reduce(torch.tensor(float(anywhere)), reduce_op="sum")) > 0  # type: ignore[arg-type]
        if not anywhere:
            return
        hint = "Look at their arrays, or lower learning_rate or use precision 32-true"
        if not bad:
            raise GuideGenError(f"train {self.run.stage}: a loss of another process is not finite at step {step}")
        what = ", ".join(f"{name} is {value}" for name, value in bad.items())
        raise GuideGenError(
            f"train {self.run.stage}: {what} at step {step}; cases of the batch: {', '.join(cases)}. {hint}"
        )

    def update_weights(self) -> None:
        """Clip the gradients, take a step, follow it with the moving average."""
        clip = self.run.settings.clip
        self.fabric.clip_gradients(self.module, self.optimizer, max_norm=clip, error_if_nonfinite=False)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.average.update_parameters(self.stage.model)

    def agree(self, parts: list[dict[str, float]], stopped: bool) -> tuple[dict[str, float], bool]:
        """Return the mean losses of all processes' batches, and whether any process was told to stop."""
        losses = {name: sum(part[name] for part in parts) / len(parts) for name in parts[0]}
        if self.fabric.world_size == 1:
            return losses, stopped
        values = torch.tensor([float(stopped), *losses.values()], dtype=torch.float64)
        told, *means = self.fabric.all_reduce(values, reduce_op="mean").tolist()  # type: ignore[union-attr]
        return dict(zip(losses, means, strict=True)), told > 0

    def note_losses(self, done: int, losses: dict[str, float], monitor: Monitor | None) -> None:
        """Add the losses of a step to the curves."""
        self.curves.pending.append(losses)
        if done % self.run.settings.log_every == 0 or done == self.run.settings.steps:
            self.curves.close_interval(done)
            if monitor:
                monitor.close_interval(done)


def fix_numerics(threads: int) -> None:
    """Set the thread count and, without a GPU, deterministic algorithms.

    A GPU lacks some of them, and does trilinear interpolation through index tensors of gigabytes (benchmarks/gpu.md).
    """
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(not torch.cuda.is_available())
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
