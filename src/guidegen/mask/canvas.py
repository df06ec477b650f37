"""Where segments of annotations become label maps: overlaps, unknown names and tumours are decided in one place."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from guidegen.labels import TUMOUR
from guidegen.mask.backends import Layer, make_flag
from guidegen.mask.resample import Grid
from guidegen.mask.settings import MaskSettings


@dataclass
class Canvas:
    """Paints masks by source label on one grid and collects flags."""

    grid: Grid
    settings: MaskSettings
    source_ids: Mapping[str, int]
    flags: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._organs = np.zeros(self.grid.shape, np.uint8)
        self._tumour = np.zeros(self.grid.shape, bool)
        self._volumes: dict[int, int] = {}
        self._has_organs = False
        self._tumour_kind = ""

    def paint(self, name: str, kind: str, box: tuple[slice, ...], mask: np.ndarray) -> None:
        """Paint one segment.

        Args:
            name: source label.
            kind: kind of annotation, which decides whether a tumour is accepted.
            box: part of the grid that `mask` covers.
            mask: bool.
        """
        if name != TUMOUR:
            self._paint_organ(name, box, mask)
        elif kind not in self.settings.accepted_kinds:
            self.flags.append(make_flag("tumour_not_accepted", kind))
        elif mask.any():
            self._tumour[box] |= mask
            self._tumour_kind = kind

    def finish(self) -> Layer:
        """Return what was painted."""
        return Layer(
            self.grid,
            self._organs if self._has_organs else None,
            self._tumour if self._tumour_kind else None,
            self._tumour_kind,
            tuple(self.flags),
        )

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
