"""Pictures of one case: CT in three planes with its label map over it, in the radiological convention.

The patient's right is on the left of the picture (axial, coronal), anterior is up (axial) or on the left (sagittal).
Slices are scaled by the voxel spacing, so that a round organ is round.
"""

import base64
import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.Image import Resampling

from guidegen.labels import TUMOUR, LabelTable

CONVENTION = "The patient's right is on the left of the picture."
PLANES = ("axial", "coronal", "sagittal")
MARKS = {"axial": "RLAP", "coronal": "RLSI", "sagittal": "APSI"}
"""Letters at the left, right, upper and lower edge."""
FILL_ALPHA = 90
WIDEST = 1.4
MARGIN_MM = 30.0
LINE_HEIGHT = 16
"""Of the text below a row of pictures, in pixels."""
OUTLINE = 128
"""Palette index of the outline of class k is k + OUTLINE."""


@dataclass(frozen=True)
class Window:
    """A HU window: `centre` and `width` as a radiologist names them."""

    name: str
    centre: float
    width: float

    def __str__(self) -> str:
        return f"{self.name} window ({self.centre:g}/{self.width:g} HU)".replace("-", "−")

    def apply(self, hu: np.ndarray) -> np.ndarray:
        """Return grey values, uint8."""
        low = self.centre - self.width / 2
        return np.clip((np.asarray(hu, np.float32) - low) / self.width * 255, 0, 255).round().astype(np.uint8)


SOFT_TISSUE = Window("soft tissue", 40, 400)
LUNG = Window("lung", -600, 1500)


@dataclass(frozen=True)
class Panel:
    """One picture of a case; `ct` and `labels` are PNG files of the same size, either may be missing."""

    plane: str
    window: str
    width: int
    height: int
    ct: bytes | None
    labels: bytes | None


def choose_slices(labels: np.ndarray, table: LabelTable) -> tuple[int, int, int]:
    """Return the (x, y, z) index to cut at: through the tumour if there is one, else where most classes meet.

    The sagittal cut without a tumour goes through the spine.
    """
    tumour = np.argwhere(labels == table.ids[TUMOUR])
    if len(tumour):
        x, y, z = np.median(tumour, 0).astype(int)
        return int(x), int(y), int(z)
    shape = labels.shape
    spine = np.argwhere(labels == table.ids["vertebrae"])
    x = int(np.median(spine[:, 0])) if len(spine) else shape[0] // 2
    return x, _find_richest(labels, 1, len(table)), _find_richest(labels, 2, len(table))


def draw_panels(
    ct: np.ndarray | None,
    labels: np.ndarray | None,
    spacing_mm: Sequence[float],
    table: LabelTable,
    views: Sequence[tuple[str, Window]],
    height: int = 240,
    *,
    trim: bool = False,
    cut: tuple[int, int, int] | None = None,
) -> list[Panel]:
    """Draw one panel per (plane, window).

    Args:
        ct: HU, (X, Y, Z) in RAS+; None draws the label map alone, opaque.
        labels: torso classes on the same grid; None draws no labels.
        spacing_mm: (x, y, z).
        table: the torso classes.
        views: planes and windows.
        height: of the pictures in pixels; a wide slice is lower, so that it stays within 1.4 times this width.
        trim: leave out the air and the table around the trunk.
        cut: (x, y, z) index to cut at; None leaves it to `choose_slices`.
    """
    if ct is None and labels is None:
        raise ValueError("neither a CT nor a label map to draw")
    if trim and ct is not None and labels is not None and labels.any():
        box = _find_trunk(labels, spacing_mm)
        ct, labels = ct[box], labels[box]
        cut = (cut[0] - box[0].start, cut[1] - box[1].start, cut[2]) if cut else None
    volume = ct if ct is not None else labels
    assert volume is not None
    extent = np.asarray(volume.shape) * np.asarray(spacing_mm, float)
    if cut is None:
        x, y, z = (
            choose_slices(labels, table) if labels is not None and labels.any() else (n // 2 for n in volume.shape)
        )
        cut = x, y, z
    panels = []
    for plane, window in views:
        size = _fit_plane(extent, plane, height)
        grey = overlay = None
        if ct is not None:
            grey = _draw_grey(window.apply(_cut_plane(ct, plane, cut)), size, plane)
        if labels is not None:
            part = _enlarge_labels(_cut_plane(labels, plane, cut), size)
            overlay = _draw_labels(part, table, opaque=ct is None, plane=plane)
        panels.append(Panel(plane, window.name, *size, grey, overlay))
    return panels


def compose_row(
    panels: Sequence[Panel], title: str = "", gap: int = 6, note: str = CONVENTION, with_labels: bool = True
) -> bytes:
    """Return one PNG of panels side by side on black, with title and note below; for use outside the report."""
    height = max(panel.height for panel in panels)
    width = sum(panel.width for panel in panels) + gap * (len(panels) - 1)
    font = ImageFont.load_default(12)
    columns = max(int(width / font.getlength("n")), 20)
    # The font has no minus sign.
    lines = f"{title}\n{note}".replace("−", "-").splitlines()
    text = [part for line in lines for part in textwrap.wrap(line, columns)]
    row = Image.new("RGB", (width, height + 8 + LINE_HEIGHT * len(text)), "black")
    x = 0
    for panel in panels:
        y = (height - panel.height) // 2
        for data in (panel.ct, panel.labels if with_labels or panel.ct is None else None):
            if data is not None:
                layer = Image.open(io.BytesIO(data)).convert("RGBA")
                row.paste(layer, (x, y), layer)
        x += panel.width + gap
    for number, line in enumerate(text):
        ImageDraw.Draw(row).text((4, height + 4 + number * LINE_HEIGHT), line, fill="#cccccc", font=font)
    return _encode(row)


def embed_png(data: bytes) -> str:
    """Return a PNG as data URI."""
    return "data:image/png;base64," + base64.b64encode(data).decode()


def _cut_plane(volume: np.ndarray, plane: str, cut: tuple[int, ...]) -> np.ndarray:
    """Return one slice as an image (rows, columns) in the radiological convention."""
    x, y, z = cut
    if plane == "axial":
        return volume[::-1, ::-1, z].T
    if plane == "coronal":
        return volume[::-1, y, ::-1].T
    return volume[x, ::-1, ::-1].T


def _find_trunk(labels: np.ndarray, spacing_mm: Sequence[float]) -> tuple[slice, ...]:
    """Return the part of the grid with labels and a margin in x and y, all of z: air around the body tells nothing."""
    parts = []
    for axis in (0, 1):
        found = np.flatnonzero(labels.any(axis=tuple({0, 1, 2} - {axis})))
        margin = round(MARGIN_MM / spacing_mm[axis])
        parts.append(slice(max(int(found[0]) - margin, 0), int(found[-1]) + margin + 1))
    return (*parts, slice(None))


def _fit_plane(extent_mm: np.ndarray, plane: str, height: int) -> tuple[int, int]:
    """Return width and height in pixels of a plane, in its true proportions."""
    x, y, z = extent_mm
    wide, high = {"axial": (x, y), "coronal": (x, z), "sagittal": (y, z)}[plane]
    scale = min(height / high, WIDEST * height / wide)
    return max(round(wide * scale), 8), max(round(high * scale), 8)


def _find_richest(labels: np.ndarray, axis: int, classes: int) -> int:
    """Return the slice along an axis in which most classes have a fair share of their largest section."""
    flat = np.moveaxis(labels, axis, 0).reshape(labels.shape[axis], -1).astype(np.int64)
    count = np.stack([np.bincount(part, minlength=classes) for part in flat])[:, 1:]
    return int(np.sqrt(count / np.maximum(count.max(0), 1)).sum(1).argmax())


def _draw_grey(image: np.ndarray, size: tuple[int, int], plane: str) -> bytes:
    picture = Image.fromarray(np.ascontiguousarray(image)).resize(size, Resampling.BICUBIC)
    _write_marks(picture, plane, fill=255, stroke=0)
    return _encode(picture)


def _draw_labels(labels: np.ndarray, table: LabelTable, opaque: bool, plane: str) -> bytes:
    edge = np.zeros(labels.shape, bool)
    for axis in (0, 1):
        change = np.diff(labels.astype(np.int16), axis=axis) != 0
        edge |= np.pad(change, [(0, 1) if a == axis else (0, 0) for a in (0, 1)])
        edge |= np.pad(change, [(1, 0) if a == axis else (0, 0) for a in (0, 1)])
    indices = labels if opaque else np.where(edge & (labels > 0), labels + OUTLINE, labels)
    picture = Image.fromarray(indices.astype(np.uint8)).convert("P")
    palette, alpha = np.zeros((256, 3), np.uint8), np.zeros(256, np.uint8)
    for entry in table.classes:
        colour = tuple(bytes.fromhex(entry.colour.removeprefix("#")))
        palette[entry.id] = palette[entry.id + OUTLINE] = colour
        alpha[entry.id], alpha[entry.id + OUTLINE] = (255 if opaque else FILL_ALPHA), 255
    palette[255] = 255
    alpha[0], alpha[255] = (255 if opaque else 0), 255
    picture.putpalette(palette.tobytes())
    if opaque:
        _write_marks(picture, plane, fill=255, stroke=0)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True, transparency=alpha.tobytes())
    return buffer.getvalue()


def _enlarge_labels(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Enlarge a label image by one-hot interpolation and argmax, so that outlines are smooth and ids stay ids."""
    found = np.unique(labels)
    layers = [
        np.asarray(Image.fromarray((labels == k).astype(np.float32)).resize(size, Resampling.BILINEAR)) for k in found
    ]
    return found[np.argmax(layers, 0)]


def _write_marks(picture: Image.Image, plane: str, fill: int, stroke: int) -> None:
    width, height = picture.size
    places = ((4, height / 2, "lm"), (width - 4, height / 2, "rm"), (width / 2, 3, "mt"), (width / 2, height - 3, "mb"))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    draw.fontmode = "1"
    for letter, (x, y, anchor) in zip(MARKS[plane], places, strict=True):
        draw.text((x, y), letter, fill=fill, font=font, anchor=anchor, stroke_width=1, stroke_fill=stroke)


def _encode(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
