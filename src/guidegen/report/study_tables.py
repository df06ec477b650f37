"""Reads what the phases left in a study, for the report; a table that is not there yet is an empty one."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from guidegen.evaluate.published import holds_phantoms
from guidegen.study import Study
from guidegen.tables import read_tsv


@dataclass(frozen=True)
class StudyTables:
    """The tables of a study, read once; every path is relative to the study."""

    study: Study
    viewer: dict[str, dict[str, str]] = field(default_factory=dict)
    """Rows of the viewer's manifest by case, once it is written."""

    def read(self, name: str) -> list[dict[str, str]]:
        """Rows of a table, none where it was not made."""
        path = self.study.root / name
        return read_tsv(path) if path.is_file() else []

    def read_json(self, name: str) -> dict[str, Any]:
        path = self.study.root / name
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    def find(self, pattern: str) -> list[str]:
        """Files of the study that match a pattern, sorted."""
        return sorted(str(path.relative_to(self.study.root)) for path in self.study.root.glob(pattern))

    @cached_property
    def index(self) -> dict[str, list[dict[str, str]]]:
        """Used series by collection."""
        return {name: self.read(f"data/index/{name}.tsv") for name in self.study.collections}

    @cached_property
    def excluded(self) -> dict[str, list[dict[str, str]]]:
        """Series left out by collection."""
        return {name: self.read(f"data/index/{name}.excluded.tsv") for name in self.study.collections}

    @cached_property
    def ct(self) -> list[dict[str, str]]:
        return self._read_shards("ct")

    @cached_property
    def mask(self) -> list[dict[str, str]]:
        return self._read_shards("mask")

    @cached_property
    def text(self) -> list[dict[str, str]]:
        return [
            row | {"collection": name} for name in self.study.collections for row in self.read(f"data/text/{name}.tsv")
        ]

    @cached_property
    def cohort(self) -> list[dict[str, str]]:
        return self.read("data/cohort/cohort.tsv")

    @cached_property
    def phantom(self) -> bool:
        """Whether the CTs are those of phantoms."""
        return holds_phantoms(self.study)

    def _read_shards(self, phase: str) -> list[dict[str, str]]:
        return [
            row | {"collection": name, "table": table}
            for name in self.study.collections
            for table in self.find(f"data/{phase}/{name}/s*.tsv")
            for row in self.read(table)
        ]


def count_by(rows: Iterable[dict[str, str]], column: str, missing: str = "unknown") -> Counter[str]:
    """Count the rows by the value of a column."""
    return Counter(row.get(column) or missing for row in rows)


def read_volume(path: Path) -> tuple[np.ndarray, tuple[float, ...]]:
    """Read a NIfTI volume as (X, Y, Z) in RAS+ with its spacing in mm."""
    image = nibabel.as_closest_canonical(nibabel.load(path))
    zooms = tuple(float(value) for value in image.header.get_zooms()[:3])  # type: ignore[attr-defined]
    return np.asanyarray(image.dataobj), zooms


def read_curves(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Read `curves.csv` (step, name, value) as name → (steps, values), in order of first appearance."""
    if not path.is_file():
        return {}
    points: dict[str, list[tuple[float, float]]] = {}
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        step, name, value = line.split(",")
        points.setdefault(name, []).append((float(step), float(value)))
    return {name: (np.array([p[0] for p in rows]), np.array([p[1] for p in rows])) for name, rows in points.items()}


def clean_number(text: str) -> float | None:
    """Return the number in a cell, None where it is empty."""
    return float(text) if text else None
