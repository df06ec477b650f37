"""The torso classes and the source labels that they are merged from."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from guidegen.errors import GuideGenError
from guidegen.tables import read_tsv

TUMOUR = "tumour"


@dataclass(frozen=True)
class TorsoClass:
    """One class of the torso label map.

    `hu_low` and `hu_high` bound the plausible median HU of the class; `colour` is `#rrggbb`.
    """

    id: int
    name: str
    source_labels: tuple[str, ...]
    hu_low: float
    hu_high: float
    colour: str


@dataclass(frozen=True)
class LabelTable:
    """The torso classes by id, and the ids of the sided source labels (TotalSegmentator's `total`, and `tumour`)."""

    classes: tuple[TorsoClass, ...]
    source_ids: dict[str, int]

    @cached_property
    def ids(self) -> dict[str, int]:
        """Class id by class name."""
        return {entry.name: entry.id for entry in self.classes}

    @cached_property
    def source_to_torso(self) -> np.ndarray:
        """Lookup table, shape (256,), uint8: torso class id of each source id, 0 where no class takes it."""
        table = np.zeros(256, np.uint8)
        for entry in self.classes:
            for name in entry.source_labels:
                table[self.source_ids[name]] = entry.id
        return table

    def __len__(self) -> int:
        return len(self.classes)


def load_labels(config_folder: Path) -> LabelTable:
    """Read `labels.tsv` and `source_labels.tsv` of a study.

    Raises:
        GuideGenError: a cell is no number, ids are not 0..n-1, a name is used twice, or a source label is unknown or
            claimed twice.
    """
    path = config_folder / "labels.tsv"
    source_path = config_folder / "source_labels.tsv"
    source_ids = {
        row["name"]: int(_read_number(source_path, row, "id")) for row in read_tsv(source_path, ("id", "name"))
    }
    classes = tuple(
        TorsoClass(
            id=int(_read_number(path, row, "id")),
            name=row["name"],
            source_labels=tuple(filter(None, row["source_labels"].split(","))),
            hu_low=_read_number(path, row, "hu_low"),
            hu_high=_read_number(path, row, "hu_high"),
            colour=row["colour"],
        )
        for row in read_tsv(path, ("id", "name", "source_labels", "hu_low", "hu_high", "colour"))
    )
    if [entry.id for entry in classes] != list(range(len(classes))):
        raise GuideGenError(f"{path}: class ids must be 0, 1, 2, … in order; found {[e.id for e in classes]}")
    owners: dict[str, str] = {}
    for entry in classes:
        for name in entry.source_labels:
            if name not in source_ids:
                raise GuideGenError(f"{path}: class '{entry.name}' takes '{name}', which {source_path} does not list")
            if name in owners:
                raise GuideGenError(f"{path}: '{name}' is claimed by '{owners[name]}' and by '{entry.name}'")
            owners[name] = entry.name
    if len({entry.name for entry in classes}) != len(classes):
        raise GuideGenError(f"{path}: a class name is used twice")
    return LabelTable(classes, source_ids)


def _read_number(path: Path, row: dict[str, str], column: str) -> float:
    try:
        return float(row[column])
    except ValueError:
        raise GuideGenError(f"{path}: '{row['name']}': {column} is '{row[column]}', expected a number") from None
