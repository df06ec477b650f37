"""A picture of a flagged case: what a reader must see to judge its flags."""

import re
from collections.abc import Sequence

import numpy as np

from guidegen.labels import TUMOUR, LabelTable
from guidegen.mask.resample import Grid
from guidegen.overlay import CONVENTION, LUNG, PLANES, SOFT_TISSUE, compose_row, draw_panels

HEIGHT = 300
MOST_SAMPLES = 256
"""Larger volumes are drawn from every second, third, … voxel."""
SHOWN_FLAGS = 6
NEAR, LUNG_SHARE = 5, 0.3
"""Voxels around what was flagged, and the share of them in the lung that makes the lung's window the right one."""


def draw_flagged(
    title: str,
    ct: np.ndarray | None,
    torso: np.ndarray,
    grid: Grid,
    labels: LabelTable,
    flags: Sequence[str],
) -> bytes:
    """Return a PNG of the CT with its label map in three planes, cut through the organ that was flagged first.

    The text below names case, flags, window, and the side that the patient's right is on.

    Args:
        title: the case.
        ct: (X, Y, Z) HU, None for a case that has only labels.
        torso: (X, Y, Z) torso classes.
        grid: RAS+ grid of both.
        labels: the class table.
        flags: `gate:finding`, as in the manifest.
    """
    steps = [-(-size // MOST_SAMPLES) for size in torso.shape]
    thinned = tuple(slice(None, None, step) for step in steps)
    shown = torso[thinned]
    organ = find_organ(shown, flags, labels)
    cut = _find_centre(shown == organ) if organ else None
    near = shown[tuple(slice(max(i - NEAR, 0), i + NEAR + 1) for i in cut)] if cut else shown[:0]
    window = LUNG if cut and (near == labels.ids["lung"]).mean() > LUNG_SHARE else SOFT_TISSUE
    panels = draw_panels(
        ct[thinned] if ct is not None else None,
        shown,
        [float(mm) * step for mm, step in zip(grid.spacing_mm, steps, strict=True)],
        labels,
        [(plane, window) for plane in PLANES],
        HEIGHT,
        trim=True,
        cut=cut,
    )
    more = f" and {len(flags) - SHOWN_FLAGS} more" if len(flags) > SHOWN_FLAGS else ""
    note = f"{window}. {CONVENTION}" if ct is not None else f"No CT. {CONVENTION}"
    return compose_row(panels, f"{title}\n{', '.join(flags[:SHOWN_FLAGS])}{more}", note=note)


def find_organ(torso: np.ndarray, flags: Sequence[str], labels: LabelTable) -> int:
    """Return the first class that a flag names and the label map shows, 0 where there is none."""
    present = set(np.unique(torso).tolist())
    for flag in flags:
        code, _, detail = flag.partition(":")
        names = [TUMOUR] if code == "tumour_place" else re.findall(r"\w+", detail)
        for name in names:
            source = labels.source_ids.get(name, 0)
            found = labels.ids.get(name) or int(labels.source_to_torso[source])
            if found in present and found:
                return found
    return 0


def _find_centre(mask: np.ndarray) -> tuple[int, int, int]:
    """Return the voxel of a mask that is nearest to its centre."""
    voxels = np.argwhere(mask)
    x, y, z = voxels[np.square(voxels - voxels.mean(axis=0)).sum(axis=1).argmin()]
    return int(x), int(y), int(z)
