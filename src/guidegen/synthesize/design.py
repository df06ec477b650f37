"""Prompt plans by design: which combinations of levels are asked for, and how many of each were made."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from guidegen.pair.vocabulary import SITES
from guidegen.statements import Statements
from guidegen.synthesize.contradictions import find_contradictions, name_coverage
from guidegen.synthesize.settings import NO_TUMOUR, DesignSettings

FACTORS = tuple(DesignSettings.model_fields)


@dataclass(frozen=True)
class Cell:
    """One combination of levels; a factor that does not apply (side of the liver, size of no mass) is not in it."""

    levels: tuple[tuple[str, Any], ...]
    """Factor and level, e.g. `("age", (40, 60))`, in the order of `FACTORS`."""

    def draw(self, rng: np.random.Generator) -> Statements:
        """Return statements of this cell; age and size are drawn within their ranges."""
        said: dict[str, Any] = {}
        for factor, level in self.levels:
            if factor in ("age", "size_mm"):
                name = "tumour_size_mm" if factor == "size_mm" else factor
                said[name] = int(rng.integers(level[0], level[1] + 1))
            elif factor == "coverage":
                said["coverage_first"], said["coverage_last"] = level
            elif factor == "site":
                said |= {"tumour": False} if level == NO_TUMOUR else {"tumour": True, "site": level}
            else:
                said[factor] = level
        return Statements.model_validate(said)


def list_cells(design: DesignSettings) -> tuple[list[Cell], list[tuple[Cell, str]]]:
    """Return the cells of a design, and those that contradict themselves with the reason.

    Combinations that differ in a factor that does not apply are one cell, which is listed once for each of them: so
    all levels of a factor are asked for equally often.
    """
    cells, left_out = [], []
    factors = [name for name in FACTORS if getattr(design, name)]
    for levels in product(*(getattr(design, name) for name in factors)):
        cell = _make_cell(dict(zip(factors, levels, strict=True)))
        contradictions = find_contradictions(cell.draw(np.random.default_rng(0)), margin=0)
        if not contradictions:
            cells.append(cell)
        elif all(cell != other for other, _ in left_out):
            left_out.append((cell, contradictions[0]))
    return cells, left_out


def _make_cell(levels: dict[str, Any]) -> Cell:
    site = levels.get("site", NO_TUMOUR)
    if site == NO_TUMOUR:
        levels.pop("size_mm", None)
    if site == NO_TUMOUR or not SITES[site].paired:
        levels.pop("side", None)
    return Cell(tuple(levels.items()))


def name_level(factor: str, level: Any) -> str:
    """Return a level in words: `40 to 60`, `chest to pelvis`, `kidney`."""
    if factor == "coverage":
        return name_coverage(*level)
    return f"{level[0]} to {level[1]}" if factor in ("age", "size_mm") else str(level)


def find_cell(design: DesignSettings, said: Statements) -> Cell:
    """Return the cell that statements belong to; where ranges overlap, the first that fits."""
    stated: dict[str, Any] = {
        "sex": said.sex,
        "age": _find_range(design.age, said.age),
        "site": said.site if said.tumour else NO_TUMOUR if said.tumour is False else None,
        "side": said.side,
        "size_mm": _find_range(design.size_mm, said.tumour_size_mm),
        "phase": said.phase,
        "coverage": (said.coverage_first, said.coverage_last) if said.coverage_first else None,
    }
    return Cell(tuple((name, stated[name]) for name in FACTORS if stated[name] is not None))


def _find_range(ranges: Sequence[tuple[int, int]], value: float | None) -> tuple[int, int] | None:
    return next((span for span in ranges if value is not None and span[0] <= value <= span[1]), None)


def count_cells(design: DesignSettings, asked: Sequence[tuple[Statements, str]]) -> dict[str, Any]:
    """Return what became of a design.

    Args:
        design: the factors.
        asked: statements and status (ok, excluded, failed) of each case.

    Returns:
        `cells` (of the design, asked for, and with at least one case that is ok), `left_out` (cell → reason), and
        `levels` (factor → level → cases asked for and ok).
    """
    cells, left_out = list_cells(design)
    found = [(find_cell(design, said), status) for said, status in asked]
    levels = {
        factor: {
            name_level(factor, level): {
                "asked": sum((factor, level) in cell.levels for cell, _ in found),
                "ok": sum((factor, level) in cell.levels for cell, status in found if status == "ok"),
            }
            for level in getattr(design, factor)
        }
        for factor in FACTORS
        if getattr(design, factor)
    }
    return {
        "cells": {
            "design": len(set(cells)),
            "asked": len({cell for cell, _ in found}),
            "ok": len({cell for cell, status in found if status == "ok"}),
        },
        "left_out": {_name_cell(cell.levels): reason for cell, reason in left_out},
        "levels": levels,
    }


def _name_cell(levels: Sequence[tuple[str, Any]]) -> str:
    return ", ".join(f"{factor} {name_level(factor, level)}" for factor, level in levels)
