"""Pictures of what a stage makes: three planes of label maps and CTs, in the radiological view."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from guidegen.labels import LabelTable

HU_WINDOW = (-160.0, 240.0)
PROMPT_WIDTH = 38
"""Characters per line: as wide as a picture."""
CONVENTION = "Radiological view: the patient's right is on the left of axial and coronal pictures; sagittal faces left."


@dataclass(frozen=True)
class Panel:
    """One volume to draw: class ids (`labels`) or HU, (X, Y, Z) in RAS+, and its voxel size in mm."""

    title: str
    volume: np.ndarray
    spacing: tuple[float, float, float]
    labels: bool


@dataclass(frozen=True)
class Row:
    """One case: its prompt and its panels."""

    case: str
    prompt: str
    panels: Sequence[Panel]


def draw_samples(path: Path, title: str, rows: Sequence[Row], table: LabelTable) -> None:
    """Write a PNG with one row per case: the prompt, then the three middle planes of each panel."""
    columns = 1 + 3 * max(len(row.panels) for row in rows)
    figure = Figure(figsize=(2.2 * columns, 2.6 * len(rows) + 0.9), dpi=80, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    figure.suptitle(f"{title}\n{CONVENTION}", fontsize=10)
    for row, line in zip(rows, axes, strict=True):
        for axis in line:
            axis.set_axis_off()
        words = f"{row.case}\n\n{textwrap.fill(row.prompt, PROMPT_WIDTH)}"
        line[0].text(0, 1, words, va="top", fontsize=7, transform=line[0].transAxes)
        for index, panel in enumerate(row.panels):
            _draw_planes(line[1 + 3 * index : 4 + 3 * index], panel, table)
    figure.savefig(path, metadata={"Software": None})


def _draw_planes(axes: Sequence[Axes], panel: Panel, table: LabelTable) -> None:
    colours = ListedColormap([entry.colour for entry in table.classes])
    style = (
        {"cmap": colours, "vmin": -0.5, "vmax": len(table) - 0.5, "interpolation": "nearest"}
        if panel.labels
        else {"cmap": "gray", "vmin": HU_WINDOW[0], "vmax": HU_WINDOW[1]}
    )
    x, y, z = (side // 2 for side in panel.volume.shape)
    width, depth, height = panel.spacing
    planes = (
        (panel.volume[::-1, ::-1, z].T, depth / width),
        (panel.volume[::-1, y, ::-1].T, height / width),
        (panel.volume[x, ::-1, ::-1].T, height / depth),
    )
    for axis, (plane, aspect), name in zip(axes, planes, ("axial", "coronal", "sagittal"), strict=True):
        axis.imshow(plane, aspect=aspect, **style)  # type: ignore[arg-type]
        axis.set_title(f"{panel.title}, {name}", fontsize=7)
