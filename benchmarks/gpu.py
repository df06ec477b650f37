"""Memory and speed of training and synthesis on this machine's GPU, beside what its limits allow.

    guidegen init paper && python benchmarks/gpu.py paper

Takes the config of a study folder and needs no data: batches and weights have the config's shapes and no meaning. A
training step is the engine's own (precision, recomputed activations, optimizer, moving average). As a benchmark of
`make bench` it measures the preset `paper` where there is a CUDA GPU, and nothing elsewhere; on a CPU it runs with any
small config.

The arithmetic: operations of convolutions and matrix products over the card's highest rate, and bytes that all
operations read and write, as if none were fused, over its bandwidth. The slower of the two is a bound for code that
neither fuses nor waits.
"""

import argparse
import itertools
import math
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from guidegen.assets import ASSETS
from guidegen.config_files import load_preset
from guidegen.estimate.networks import count_sample
from guidegen.stages import NETWORKS
from guidegen.study import Study
from guidegen.train.counting import Work
from guidegen.train.engine import Training, TrainingRun
from guidegen.train.estimate import MIXED_SHARE, count_batch
from guidegen.train.placeholder import PlaceholderCohort, build_stage

GIB = 2**30
MOST_GIB = {"semantic_synthesizer": 24, "latent_generator": 24}
MOST_SECONDS = 6.0
"""Per case of 256³ voxels on a card of the H200's class."""
WARM_UP = 2


@dataclass(frozen=True)
class Card:
    """Limits by the vendor's data sheet: bfloat16 without sparsity, bytes per second."""

    operations: float
    bandwidth: float

    def bound(self, work: Work) -> float:
        """Return the seconds that the slower of arithmetic and memory takes."""
        return max(work.operations / self.operations, work.moved / self.bandwidth)


CARDS = {
    "H200": Card(989e12, 4.8e12),
    "H100": Card(989e12, 3.35e12),
    "A100": Card(312e12, 2.04e12),
    "L40S": Card(362e12, 0.864e12),
    "RTX 4090": Card(165e12, 1.008e12),
}
REFERENCE = "H200"
"""Stands for a card that is not in the list, and for a CPU."""


@dataclass(frozen=True)
class Figure:
    """One thing that was measured."""

    name: str
    seconds: float
    peak: int
    """Bytes: of the GPU, or without one the largest resident memory of this process so far."""
    work: Work

    @property
    def told(self) -> str:
        """The seconds, or that there was not enough memory."""
        return "out of memory" if math.isinf(self.seconds) else f"{self.seconds:.3g}"

    def describe(self, card: Card) -> str:
        """Return a row of a Markdown table."""
        bound = card.bound(self.work)
        return (
            f"| {self.name} | {self.told} | {1 / self.seconds:.3g} | {self.peak / GIB:.1f} | "
            f"{self.work.operations / 1e12:.3g} | {self.work.moved / 1e9:.3g} | "
            f"{self.work.operations / card.operations:.3g} | {self.work.moved / card.bandwidth:.3g} | "
            f"{bound / self.seconds:.0%} |"
        )


def find_card() -> tuple[str, Card]:
    """Return the name of the device that is measured and the limits that it is compared with."""
    if not torch.cuda.is_available():
        return f"CPU, {torch.get_num_threads()} threads, against an {REFERENCE}'s limits", CARDS[REFERENCE]
    name = torch.cuda.get_device_name()
    known = next((key for key in CARDS if key in name), None)
    return (name, CARDS[known]) if known else (f"{name}, against an {REFERENCE}'s limits", CARDS[REFERENCE])


def time_rounds(run: Callable[[], object], rounds: int) -> tuple[float, int]:
    """Return seconds per round after a warm-up, and the peak memory."""
    for index in range(WARM_UP + rounds):
        if index == WARM_UP:
            _wait()
            start = time.perf_counter()
        run()
    _wait()
    seconds = (time.perf_counter() - start) / rounds
    if torch.cuda.is_available():
        return seconds, torch.cuda.max_memory_allocated()
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def time_or_give_up(run: Callable[[], object], rounds: int) -> tuple[float, int]:
    """Return what `time_rounds` does, and infinite seconds where the GPU's memory is too small."""
    try:
        return time_rounds(run, rounds)
    except torch.OutOfMemoryError:
        pass
    torch.cuda.empty_cache()  # here, because the error kept what was computed alive
    return math.inf, torch.cuda.max_memory_allocated()


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def measure_training(study: Study, name: str, rounds: int) -> Iterator[Figure]:
    """Yield the figures of one optimizer step of a stage; of stage II with crops and with whole volumes.

    Where the memory is too small, the seconds are infinite.
    """
    settings = getattr(study.config.train, name)
    optimization = settings.optimization
    places = {name: optimization.steps - 1}
    if name == "contrast_autoencoder" and settings.model.crop:
        crops = int(optimization.steps * (1 - settings.model.whole_share)) - 1
        places = {f"{name}, crops": max(0, crops), f"{name}, whole volumes": optimization.steps - 1}
    for title, step in places.items():
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        stage = build_stage(PlaceholderCohort.load(study), name)
        batches: Any = itertools.repeat(stage.draw_batch(step * optimization.accumulate))
        with tempfile.TemporaryDirectory() as state:
            run = TrainingRun(name, 0, study.config.study.threads, Path(state), "gpu", optimization)
            training = Training(run, stage)

            def take_step(training: Training = training, batches: Any = batches, step: int = step) -> None:
                for turn in range(training.turns):
                    training.compute_gradients(batches, step, turn)
                training.update_weights()

            seconds, peak = time_or_give_up(take_step, rounds)
        cost = count_batch(study, name, step / optimization.steps)
        share = 1.0 if optimization.precision == "32-true" else MIXED_SHARE
        work = Work(cost.work.operations, cost.work.moved * share) * optimization.accumulate
        yield Figure(f"training step, {title}", seconds, peak, work)
        del stage, training, batches, take_step


def measure_case(study: Study, rounds: int) -> Figure:
    """Return the figures of one synthetic case: label map, latents and CT, one case at a time."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    cohort = PlaceholderCohort.load(study)
    models = (build_stage(cohort, name).model.eval().requires_grad_(False) for name in NETWORKS)
    first, second, third = (model.to(device) for model in models)
    text = [np.zeros((first.binding.max_tokens, first.binding.text_width), np.float16)]
    conditions = text, [(1.0, 1.0, 1.0)], [(0.0, 1.0)]

    def draw() -> None:
        labels = first.sample(*conditions, seeds=[0])
        second.decode(third.sample(labels, *conditions, seeds=[0]), labels)

    seconds, peak = time_or_give_up(draw, rounds)
    side = 2 * study.config.prepare.grid
    work = count_sample(study)
    return Figure(f"case of {side}³ voxels", seconds, peak, Work(work.operations, work.moved * MIXED_SHARE))


def measure(study: Study, rounds: int) -> Iterator[Figure]:
    """Yield all figures, each when it is measured."""
    for name in NETWORKS:
        yield from measure_training(study, name, rounds)
    yield measure_case(study, max(1, rounds // 3))


def rows() -> list[dict[str, Any]]:
    """Return the preset `paper`'s figures on this machine's GPU; none without one."""
    if not torch.cuda.is_available():
        return []
    name, _ = find_card()
    found: list[dict[str, Any]] = []
    for figure in measure(Study(ASSETS, load_preset("paper")), 10):
        title = f"{figure.name}, preset paper, {name}"
        stage = figure.name.removeprefix("training step, ")
        if math.isinf(figure.seconds):
            peak = {"unit": "GiB", "ours": figure.peak / GIB, "goal": "fits into the card", "holds": False}
            found.append({"name": f"{title}: out of memory at", **peak})
            continue
        if figure.name.startswith("case"):
            good = figure.seconds <= MOST_SECONDS
            found.append(
                {"name": title, "unit": "s", "ours": figure.seconds, "goal": f"{MOST_SECONDS:g} s", "holds": good}
            )
            continue
        most = MOST_GIB.get(stage)
        found.append({"name": f"{title}: time", "unit": "s", "ours": figure.seconds, "goal": "measured", "holds": True})
        found.append(
            {
                "name": f"{title}: peak memory",
                "unit": "GiB",
                "ours": figure.peak / GIB,
                "goal": f"within {most} GiB" if most else "measured",
                "holds": most is None or figure.peak / GIB <= most,
            }
        )
    return found


def main() -> None:
    """Print the figures of a study's config as Markdown."""
    parser = argparse.ArgumentParser(description="Measure training and synthesis on this machine's GPU.")
    parser.add_argument("study", type=Path, help="a study folder; only its config is read")
    parser.add_argument("--rounds", type=int, default=10, help="timed steps per stage")
    arguments = parser.parse_args()
    name, card = find_card()
    print(f"{name}: {card.operations / 1e12:.0f} TFLOP/s, {card.bandwidth / 1e12:.2f} TB/s\n")
    print("| what | s | per s | peak GiB | 10¹² operations | GB moved | s by arithmetic | s by memory | reached |")
    print("|---|---|---|---|---|---|---|---|---|")
    for figure in measure(Study.load(arguments.study), arguments.rounds):
        print(figure.describe(card), flush=True)


if __name__ == "__main__":
    main()
