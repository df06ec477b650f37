"""How many sampling steps stage I needs: `python benchmarks/sampling.py STUDY [cases] [steps …]`.

Draws held-out prompts of a finished study with the same noise and 1000, 100, 50, 20 steps, spaced as the study's config
says, and prints seconds per label map with, against the real label map of each prompt, the Dice of the class histograms
(1: every class has the right volume) and the share of neighbouring voxels that differ (real maps' beside it). An hour
of CPU time at demo size; it is no benchmark of the table.
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch

from guidegen.models.semantic_synthesizer import SemanticSynthesizer
from guidegen.seeds import derive_rng, derive_seed
from guidegen.study import Study
from guidegen.train.cohort import HELD_OUT, Cohort
from guidegen.train.order import spread_cases

STEPS = (1000, 100, 50, 20)
RESAMPLES = 2000


def compare_histograms(maps: np.ndarray, real: np.ndarray, classes: int) -> np.ndarray:
    """Return the Dice of the foreground's class histograms of each pair."""
    found, wanted = (
        np.stack([np.bincount(one.ravel(), minlength=classes)[1:] for one in stack]) for stack in (maps, real)
    )
    return 2 * np.minimum(found, wanted).sum(1) / (found.sum(1) + wanted.sum(1))


def measure_roughness(maps: np.ndarray) -> float:
    """Return the share of neighbouring voxels that differ."""
    return float(np.mean([(np.diff(maps.astype(int), axis=axis) != 0).mean() for axis in (1, 2, 3)]))


def main(folder: str, count: str = "12", *steps: str) -> None:
    """Print a row of a Markdown table per number of steps."""
    study = Study.load(Path(folder).resolve())
    torch.set_num_threads(study.config.study.threads)
    model = SemanticSynthesizer.load(study.root / "results" / "models" / "semantic_synthesizer")
    cohort = Cohort.load(study)
    cases = spread_cases(cohort.select("semantic_synthesizer", HELD_OUT), int(count))
    states = [cohort.states(case.prompts[0][1]) for case in cases]
    seeds = [derive_seed(study.config.study.seed, "benchmark sampling", case.case) for case in cases]
    real = np.stack([case.load_labels() for case in cases])
    print(f"{len(cases)} held-out prompts, guidance {model.settings.guidance:g}")
    print(f"neighbours that differ in real label maps: {measure_roughness(real):.3f}\n")
    print("| steps | s per label map | histogram Dice, 95 % interval | neighbours that differ |")
    print("|---|---|---|---|", flush=True)
    for number in map(int, steps or map(str, STEPS)):
        start = time.perf_counter()
        maps = model.sample(states, [None] * len(cases), [None] * len(cases), seeds, steps=number)
        seconds = (time.perf_counter() - start) / len(cases)
        dice = compare_histograms(maps, real, len(model.binding.classes))
        draws = derive_rng(0, "bootstrap").integers(len(dice), size=(RESAMPLES, len(dice)))
        low, high = np.quantile(dice[draws].mean(1), [0.025, 0.975])
        quality = f"{dice.mean():.3f} ({low:.3f} to {high:.3f}) | {measure_roughness(maps):.3f}"
        print(f"| {number} | {seconds:.2f} | {quality} |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
