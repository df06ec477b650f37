"""What a section of the page is made of; the template knows how to draw each kind."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from guidegen.overlay import Panel, embed_png
from guidegen.report.charts import Interval, format_number


@dataclass(frozen=True)
class Cell:
    """One cell of a table: what is shown, what it sorts by, and a style."""

    text: str
    sort: float | str | None = None
    style: str = ""
    href: str = ""


@dataclass(frozen=True)
class Table:
    """A sortable table; `sources` are the files its numbers come from."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    sources: Sequence[str]
    title: str = ""
    note: str = ""
    kind: str = "table"


@dataclass(frozen=True)
class Chart:
    """An SVG chart with a legend."""

    svg: str
    names: Sequence[str]
    sources: Sequence[str]
    title: str = ""
    note: str = ""
    kind: str = "chart"


@dataclass(frozen=True)
class Charts:
    """Charts side by side."""

    items: Sequence[Chart]
    kind: str = "charts"


@dataclass(frozen=True)
class Fact:
    """One large number."""

    value: str
    label: str
    source: str


@dataclass(frozen=True)
class Facts:
    """Large numbers in a row."""

    items: Sequence[Fact]
    kind: str = "facts"


@dataclass(frozen=True)
class Notice:
    """A sentence that must not be missed; `level` is `info`, `warning` or `alarm`."""

    text: str
    level: str = "info"
    kind: str = "notice"


@dataclass(frozen=True)
class Picture:
    """One picture of a case, its label map as a second layer."""

    alt: str
    width: int
    height: int
    ct: str
    labels: str
    caption: str


@dataclass(frozen=True)
class CaseCard:
    """Pictures of one case in named rows, with what is said about it."""

    title: str
    rows: Sequence[tuple[str, Sequence[Picture]]]
    prompt: str = ""
    marks: Sequence[tuple[str, str]] = ()
    """(text, style) of small badges."""
    sources: Sequence[str] = ()
    script: str = ""
    """What the viewer loads to open the case, relative to the page; empty where it cannot be opened."""


@dataclass(frozen=True)
class Gallery:
    """Cards of cases, with a switch for the label maps."""

    cards: Sequence[CaseCard]
    note: str = ""
    switch: bool = False
    """Offer to switch the label maps over the CT on and off."""
    overlay: bool = True
    """Whether they are on at first."""
    kind: str = "gallery"


@dataclass(frozen=True)
class Legend:
    """Colours of the classes."""

    entries: Sequence[tuple[str, str]]
    kind: str = "legend"


@dataclass(frozen=True)
class RunFacts:
    """Where the page puts what tells of one run only (`run.js`)."""

    kind: str = "run"


@dataclass
class Part:
    """One section of the page, named by its phase."""

    id: str
    title: str
    lead: str = ""
    blocks: list = field(default_factory=list)


def number(value: float | None, digits: int = 3, style: str = "") -> Cell:
    """Return a numeric cell."""
    return Cell(format_number(value, digits), value, style or "number")


def count(value: int) -> Cell:
    """Return a cell with a whole number."""
    return Cell(f"{value:,}".replace(",", "\u202f"), value, "number")


def interval(figure: dict | None, digits: int = 3, style: str = "") -> Cell:
    """Return a cell with a figure and its interval, as the evaluation files hold them."""
    if not figure or figure["value"] is None:
        return Cell("–", None, "number")
    text = format_number(figure["value"], digits)
    if figure["low"] is not None:
        # Narrow tables break the line before the bracket, and nowhere else.
        text += f" ({format_number(figure['low'], digits)}\u00a0to\u00a0{format_number(figure['high'], digits)})"
    return Cell(text, figure["value"], f"{style or 'number'} interval")


def read_interval(figure: Mapping[str, Any]) -> Interval:
    """Return a figure of an evaluation file for a chart."""
    return Interval(figure["value"], figure["low"], figure["high"])


def embed_file(path: Path, alt: str) -> Picture:
    """Return a PNG file for the page, in its own size."""
    data = path.read_bytes()
    width, height = (int.from_bytes(data[start : start + 4], "big") for start in (16, 20))
    return Picture(alt, width, height, embed_png(data), "", "")


def show_panel(panel: Panel, title: str) -> Picture:
    """Return a panel for the page."""
    what = "label map" if panel.ct is None else f"CT, {panel.window} window"
    return Picture(
        alt=f"{title}: {panel.plane}, {what}",
        width=panel.width,
        height=panel.height,
        ct=embed_png(panel.ct) if panel.ct else "",
        labels=embed_png(panel.labels) if panel.labels else "",
        caption=panel.plane,
    )
