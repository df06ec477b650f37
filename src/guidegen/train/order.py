"""Which cases a step sees: a pure function of (seed, stage, step), so that nothing has to be stored to resume."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from guidegen.seeds import derive_rng
from guidegen.train.cohort import CohortCase

Case = TypeVar("Case")


def pick_cases(cases: Sequence[Case], count: int, index: int, seed: int, stage: str) -> list[Case]:
    """Return the cases of one batch; every epoch is a new permutation, and every case is seen once in it.

    Args:
        cases: all training cases.
        count: cases per batch.
        index: number of the batch since the start of training.
        seed: study seed.
        stage: name of the stage.
    """
    positions = range(index * count, (index + 1) * count)
    orders: dict[int, np.ndarray] = {}
    picked = []
    for position in positions:
        epoch, place = divmod(position, len(cases))
        if epoch not in orders:
            orders[epoch] = derive_rng(seed, "order", stage, epoch).permutation(len(cases))
        picked.append(cases[int(orders[epoch][place])])
    return picked


def pick_prompt(case: CohortCase, index: int, seed: int) -> int:
    """Return which wording of a case's prompt batch number `index` uses."""
    return int(derive_rng(seed, "prompt", case.case, index).integers(len(case.prompts)))


def spread_cases(cases: Sequence[Case], count: int) -> list[Case]:
    """Return at most `count` cases, spread evenly over the list; always the same ones."""
    if len(cases) <= count:
        return list(cases)
    return [cases[int(place)] for place in np.linspace(0, len(cases) - 1, count).round()]
