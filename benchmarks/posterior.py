"""The reverse step of categorical diffusion: closed form against the literal sum over all pairs of classes."""

import resource
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "models"))

SIDE, CLASSES, THREADS = 64, 20, 2
T, S = 600, 580
LITERAL = "literal sum, C × C values per voxel"


def run_form(form: str, repeats: int) -> tuple[float, float, float]:
    """Return median seconds, peak memory above the input (MB), and the checksum of one form in this process."""
    import torch
    from literal_posterior import marginalise_literally

    from guidegen.models.categorical_diffusion import compute_posterior, make_cosine_schedule

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    schedule = make_cosine_schedule(1000)
    prediction = torch.randn(1, CLASSES, SIDE, SIDE, SIDE).softmax(1)
    noisy = torch.randint(CLASSES, (1, SIDE, SIDE, SIDE))
    before, times, found = read_peak(), [], prediction
    for _ in range(repeats + 1):
        start = time.perf_counter()
        if form == "literal":
            found = marginalise_literally(prediction, noisy, float(schedule[T]), float(schedule[S]))
        else:
            found = compute_posterior(prediction, noisy, schedule[T].view(1), schedule[S].view(1))
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:]), read_peak() - before, float(found.square().sum())


def read_peak() -> float:
    """Return the peak memory of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def rows() -> list[dict[str, Any]]:
    """Return time and memory of one reverse step for one map of 64³ voxels and 20 classes."""
    found = {}
    for form, repeats in (("closed", 7), ("literal", 3)):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            found[form] = pool.submit(run_form, form, repeats).result()
    if abs(found["closed"][2] / found["literal"][2] - 1) > 1e-4:
        raise ValueError(f"the two forms disagree: {found}")
    title = f"posterior step, {SIDE}³, C = {CLASSES}"
    return [
        {
            "name": f"{title}, {what}",
            "unit": unit,
            "ours": found["closed"][index],
            "baseline": found["literal"][index],
            "baseline_name": LITERAL,
            "goal": goal,
        }
        for index, what, unit, goal in ((0, "time", "s", 10), (1, "peak memory", "MB", 5))
    ]
