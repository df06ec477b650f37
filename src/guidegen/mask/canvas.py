"""Where segments of annotations become label maps: overlaps, missing sides and tumours are decided in one place."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from guidegen.labels import TUMOUR
from guidegen.mask.backends import Layer, make_flag
from guidegen.mask.resample import Grid
from guidegen.mask.settings import MaskSettings
from guidegen.mask.sides import find_midline, split_by_side


@dataclass
class Canvas:
    """Paints masks by source label on one grid and collects flags."""

    grid: Grid
    settings: MaskSettings
    source_ids: Mapping[str, int]
    ct: Path | None
    """The converted CT, whose middle tells sides where no vertebra is labelled."""
    flags: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._organs = np.zeros(self.grid.shape, np.uint8)
        self._tumour = np.zeros(self.grid.shape, bool)
        self._unsided: list[tuple[str, tuple[slice, ...], np.ndarray]] = []
        self._volumes: dict[int, int] = {}
        self._has_organs = False
        self._tumour_kind = ""

    def paint(self, name: str, kind: str, box: tuple[slice, ...], mask: np.ndarray) -> None:
        """Paint one segment.

        Args:
            name: source label, or a paired organ without its side (`kidney`).
            kind: kind of annotation, which decides whether a tumour is accepted.
            box: part of the grid that `mask` covers.
            mask: bool.
        """
        if name != TUMOUR:
            if name in self.source_ids:
                self._paint_organ(name, box, mask)
            elif mask.any():
                self._unsided.append((name, box, mask))
        elif kind not in self.settings.accepted_kinds:
            self.flags.append(make_flag("tumour_not_accepted", kind))
        elif mask.any():
            self._tumour[box] |= mask
            self._tumour_kind = kind

    def finish(self) -> Layer:
        """Return what was painted; sides that were not named are told from where the parts lie, or flagged."""
        for name, box, mask in self._unsided:
            self._paint_unsided(name, box, mask)
        return Layer(
            self.grid,
            self._organs if self._has_organs else None,
            self._tumour if self._tumour_kind else None,
            self._tumour_kind,
            tuple(self.flags),
        )

    def _paint_unsided(self, name: str, box: tuple[slice, ...], mask: np.ndarray) -> None:
        start = [part.indices(size)[0] for part, size in zip(box, self.grid.shape, strict=True)]
        found = find_midline(self._organs, self.ct, self.grid, self.source_ids)
        sides = split_by_side(mask, (start[0], start[1], start[2]), self.grid, *found) if found else {}
        for side, part in sides.items():
            self._paint_organ(f"{name}_{side}", box, part)
        code = "sided_by_position" if sides else "unsided_segment"
        self.flags.append(make_flag(code, f"{name}={' and '.join(sides)}" if sides else name))

    def _paint_organ(self, name: str, box: tuple[slice, ...], mask: np.ndarray) -> None:
        """Where organs overlap, the smaller one is kept: it is the one drawn inside the other."""
        self._has_organs = True
        value, size = self.source_ids[name], int(mask.sum())
        organs = self._organs[box]
        below = organs[mask]
        taken = below[(below != 0) & (below != value)]
        if taken.size:
            by_id = {v: k for k, v in self.source_ids.items()}
            for other, count in zip(*np.unique(taken, return_counts=True), strict=True):
                self.flags.append(make_flag("overlap", f"{by_id[int(other)]}/{name}={count}"))
            smaller = [other for other in np.unique(taken) if self._volumes[int(other)] < size]
            mask = mask & ~np.isin(organs, smaller)
        organs[mask] = value
        self._volumes[value] = self._volumes.get(value, 0) + size
