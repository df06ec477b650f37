"""Which cases a step sees: a pure function of (seed, stage, step), so that nothing has to be stored to resume."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TypeVar

import numpy as np

from guidegen.seeds import derive_rng
from guidegen.train.cohort import CohortCase

Case = TypeVar("Case")
BLOCK = 1000
"""Shares of collections are exact to one in so many samples."""
NO_SHARES: Mapping[str, float] = {}


def pick_cases(
    cases: Sequence[CohortCase],
    count: int,
    index: int,
    seed: int,
    stage: str,
    shares: Mapping[str, float] = NO_SHARES,
) -> list[CohortCase]:
    """Return the cases of one batch.

    Without shares every epoch is a new permutation, and every case is seen once in it. With shares the places of each
    `BLOCK` are dealt to the groups (a named collection, or all others together) by their shares, and the cases of a
    group take turns.

    Args:
        cases: all training cases.
        count: cases per batch.
        index: number of the batch since the start of training.
        seed: study seed.
        stage: name of the stage.
        shares: share of the samples per collection; the other collections share what is left. A collection without
            training cases leaves its share to the others.
    """
    groups = _group_cases(cases, shares)
    length = BLOCK if len(groups) > 1 else len(cases)
    counts = _deal_places({name: share for name, (share, _) in groups.items()}, length)
    picked = []
    for position in range(index * count, (index + 1) * count):
        block, place = divmod(position, length)
        name, turn = _find_turns(tuple(counts.items()), block, seed, stage)[place]
        members = groups[name][1]
        epoch, rank = divmod(block * counts[name] + turn, len(members))
        picked.append(members[_shuffle(len(members), seed, "order", stage, *([name] if name else []), epoch)[rank]])
    return picked


def _group_cases(
    cases: Sequence[CohortCase], shares: Mapping[str, float]
) -> dict[str, tuple[float, Sequence[CohortCase]]]:
    """Return (share, cases) of each named collection that has cases, and under "" those of all others."""
    if not shares:
        return {"": (1.0, cases)}
    named = {name: [case for case in cases if case.collection == name] for name in sorted(shares)}
    groups: dict[str, tuple[float, Sequence[CohortCase]]] = {
        n: (shares[n], found) for n, found in named.items() if found
    }
    others = [case for case in cases if case.collection not in groups]
    rest = 1 - sum(share for share, _ in groups.values())
    if others and (rest > 1e-9 or not groups):
        groups[""] = (rest, others)
    return groups


def _deal_places(shares: Mapping[str, float], length: int) -> dict[str, int]:
    """Return how many of `length` places each group gets: largest remainders, at least one."""
    total = sum(shares.values())
    exact = {name: length * share / total for name, share in shares.items()}
    counts = {name: max(1, int(value)) for name, value in exact.items()}
    by_remainder = sorted(exact, key=lambda name: counts[name] - exact[name])
    for name in by_remainder[: max(0, length - sum(counts.values()))]:
        counts[name] += 1
    return counts


@lru_cache(maxsize=16)
def _find_turns(counts: tuple[tuple[str, int], ...], block: int, seed: int, stage: str) -> list[tuple[str, int]]:
    """Return (group, how often it had its turn in this block) of each place of a block."""
    turns = [(name, turn) for name, count in counts for turn in range(count)]
    if len(counts) == 1:
        return turns
    return [turns[place] for place in _shuffle(len(turns), seed, "groups", stage, block)]


@lru_cache(maxsize=64)
def _shuffle(count: int, seed: int, *parts: str | int) -> list[int]:
    return derive_rng(seed, *parts).permutation(count).tolist()


def pick_prompt(case: CohortCase, index: int, seed: int) -> int:
    """Return which wording of a case's prompt batch number `index` uses."""
    return int(derive_rng(seed, "prompt", case.case, index).integers(len(case.prompts)))


def spread_cases(cases: Sequence[Case], count: int) -> list[Case]:
    """Return at most `count` cases, spread evenly over the list; always the same ones."""
    if len(cases) <= count:
        return list(cases)
    return [cases[int(place)] for place in np.linspace(0, len(cases) - 1, count).round()]
