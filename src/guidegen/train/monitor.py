"""What can be watched while a training runs, in its state folder: curves.csv and TensorBoard's events.

Throughput, memory and the wait for batches are in these alone: the curves of the results say only what repeats.
"""

import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
import torch
from torch.utils.tensorboard.writer import SummaryWriter

from guidegen.atomic import write_text
from guidegen.train.checkpoints import Curves
from guidegen.train.loader import Loader
from guidegen.train.results import format_curves

OWN = ("steps_per_second", "memory_gib", "loader_wait_share")


class Monitor:
    """Writes the curves of one training from step `start` on.

    Args:
        folder: the state folder of the training.
        start: steps done before.
        curves: what was measured so far.
        batches: how long the training waited for them is shown.
    """

    def __init__(self, folder: Path, start: int, curves: Curves, batches: Loader[Any]) -> None:
        self._file = folder / "curves.csv"
        self._curves, self._batches = curves, batches
        self._start_file(start)
        self._events = SummaryWriter(str(folder / "tensorboard"), purge_step=start + 1)
        self._written = len(curves.rows)
        self._last = start, time.monotonic(), batches.waited

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._events.close()

    def close_interval(self, step: int) -> None:
        """Write what is new, and throughput (1/s), memory (GiB) and the share of the time that was spent waiting."""
        before, start, waited = self._last
        self._last = step, time.monotonic(), self._batches.waited
        seconds = max(self._last[1] - start, 1e-9)
        figures = ((step - before) / seconds, measure_memory(), (self._batches.waited - waited) / seconds)
        rows = [
            *self._curves.rows[self._written :],
            *((step, name, value) for name, value in zip(OWN, figures, strict=True)),
        ]
        self._written = len(self._curves.rows)
        for at, name, value in rows:
            self._events.add_scalar(name, value, at)
        with self._file.open("a", encoding="utf-8") as stream:
            stream.writelines(format_curves(rows))

    def _start_file(self, start: int) -> None:
        """Write the curves up to step `start`: what the checkpoint knows, and of the old file what only it knows."""
        old = self._file.read_text(encoding="utf-8").splitlines(keepends=True)[1:] if self._file.is_file() else []
        own = [line for line in old if line.endswith("\n") and line.split(",")[1] in OWN and _get_step(line) <= start]
        lines = sorted([*format_curves(self._curves.rows), *own], key=_get_step)
        write_text(self._file, "".join(["step,name,value\n", *lines]))


def _get_step(line: str) -> int:
    return int(line.split(",")[0])


def measure_memory() -> float:
    """Return the peak of the GPU's memory, or without a GPU the memory of this process (GiB)."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    return psutil.Process().memory_info().rss / 2**30
