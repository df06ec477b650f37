"""Charts as inline SVG: drawn with the page's colours, so that they follow light and dark mode."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

SERIES_COLOURS = 6
"""The style sheet has `--s0` … `--s5`."""


@dataclass(frozen=True)
class Interval:
    """A value with its interval; None where unknown."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Axis:
    """A linear or logarithmic axis from data to pixels."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def place(self, value: float) -> float:
        low, high, value = (math.log10(v) for v in (self.low, self.high, value)) if self.log else (*self.span, value)
        return round(self.start + (value - low) / (high - low or 1.0) * (self.end - self.start), 2)

    @property
    def span(self) -> tuple[float, float]:
        return self.low, self.high

    def ticks(self, count: int = 5) -> list[float]:
        """Round values inside the axis: 1, 2 or 5 times a power of ten."""
        if self.log:
            powers = range(math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9) + 1)
            found = [10.0**p for p in powers]
            return found if len(found) > 1 else [self.low, self.high]
        raw = (self.high - self.low) / count or 1.0
        power = 10.0 ** math.floor(math.log10(raw))
        step = next((m * power for m in (1, 2, 5, 10) if m * power >= raw), 10 * power)
        first = math.ceil(self.low / step - 1e-9)
        return [round(k * step, 10) for k in range(first, math.floor(self.high / step + 1e-9) + 1)]


def format_number(value: float | None, digits: int = 3) -> str:
    """Write a number with about `digits` significant digits, a true minus, and a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    if value and abs(value) < 1e-3:
        text = f"{value:.1e}"
    else:
        places = max(0, digits - 1 - (math.floor(math.log10(abs(value))) if value else 0))
        text = f"{value:.{places}f}"
    return text.replace("-", "−")


def draw_lines(series: Mapping[str, tuple[np.ndarray, np.ndarray]], x_label: str, y_label: str) -> str:
    """Draw curves of values over steps; the y axis is logarithmic where positive values span more than 30-fold.

    Args:
        series: name → (steps, values), both shape (points,).
        x_label: unit or name of the steps.
        y_label: the same of the values.
    """
    width, height, left, bottom = 560, 250, 52, 38
    values = np.concatenate([y[np.isfinite(y)] for _, y in series.values()] or [np.zeros(0)])
    steps = np.concatenate([x for x, _ in series.values()] or [np.zeros(0)])
    if not len(values):
        return ""
    low, high = float(values.min()), float(np.quantile(values, 0.995))
    log = low > 0 and high / low > 30
    low, high = (low, high) if log else (min(low, 0.0) if low < 0.3 * high else low, high)
    y_axis = Axis(low, high if high > low else low + 1, height - bottom, 28, log)
    x_axis = Axis(float(steps.min()), max(float(steps.max()), float(steps.min()) + 1), left, width - 10)
    parts = [_open_svg(width, height, f"{y_label} over {x_label}"), *_draw_frame(x_axis, y_axis, x_label, y_label)]
    for number, (name, (x, y)) in enumerate(series.items()):
        known = np.isfinite(y)
        clipped = np.clip(y[known], *y_axis.span)
        points = " ".join(f"{x_axis.place(a)},{y_axis.place(b)}" for a, b in zip(x[known], clipped, strict=True))
        colour = f"var(--s{number % SERIES_COLOURS})"
        parts.append(f'<polyline class="line" style="stroke:{colour}" points="{points}"><title>{escape(name)}</title>')
        parts.append("</polyline>")
    return "".join([*parts, "</svg>"])


def draw_intervals(
    rows: Mapping[str, Sequence[Interval]],
    names: Sequence[str],
    label: str,
    low: float | None = None,
    high: float | None = None,
) -> str:
    """Draw dots with intervals, one row per key and one colour per name.

    Args:
        rows: row label → one interval per name.
        names: what the colours stand for.
        label: of the value axis.
        low: left end of the axis; from the data where None.
        high: right end.
    """
    ends = [e for row in rows.values() for i in row for e in (i.value, i.low, i.high) if e is not None]
    if not ends:
        return ""
    step = 11 * len(names) + 12
    left, top, width = 150, 6, 640
    height = top + step * len(rows) + 40
    x_axis = Axis(min(ends) if low is None else low, max(ends) if high is None else high, left, width - 14)
    parts = [_open_svg(width, height, label)]
    for tick in x_axis.ticks(6):
        x = x_axis.place(tick)
        parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="{top}" y2="{height - 36}"/>')
        parts.append(
            f'<text class="tick" x="{x}" y="{height - 20}" text-anchor="middle">{format_number(tick, 2)}</text>'
        )
    for index, (row, intervals) in enumerate(rows.items()):
        y = top + step * index
        middle = y + step / 2
        parts.append(f'<text class="label" x="{left - 10}" y="{middle + 4}" text-anchor="end">{escape(row)}</text>')
        if index:
            parts.append(f'<line class="rule" x1="8" x2="{width - 14}" y1="{y}" y2="{y}"/>')
        for number, (name, interval) in enumerate(zip(names, intervals, strict=True)):
            parts.append(_draw_interval(x_axis, y + 12 + 11 * number, interval, f"{row}, {name}", number))
    parts.append(f'<text class="axis" x="{(left + width) / 2}" y="{height - 4}" text-anchor="middle">{escape(label)}')
    return "".join([*parts, "</text></svg>"])


def draw_bars(counts: Mapping[str, Mapping[str, float]], names: Sequence[str]) -> str:
    """Draw stacked horizontal bars, one per key, one colour per name."""
    total = max((sum(row.values()) for row in counts.values()), default=0)
    if not total:
        return ""
    left, width, step = 190, 640, 26
    height = step * len(counts) + 8
    parts = [_open_svg(width, height, "counts")]
    for index, (key, row) in enumerate(counts.items()):
        y, x = step * index + 6, float(left)
        parts.append(f'<text class="label" x="{left - 10}" y="{y + 13}" text-anchor="end">{escape(key)}</text>')
        for number, name in enumerate(names):
            value = row.get(name, 0)
            span = round(value / total * (width - left - 50), 2)
            colour = f"var(--s{number % SERIES_COLOURS})"
            title = f"<title>{escape(key)}, {escape(name)}: {value:g}</title>"
            parts.append(f'<rect x="{x:.2f}" y="{y}" width="{span}" height="18" style="fill:{colour}">{title}</rect>')
            x += span
        parts.append(f'<text class="tick" x="{x + 6:.2f}" y="{y + 13}">{sum(row.values()):g}</text>')
    return "".join([*parts, "</svg>"])


@dataclass(frozen=True)
class SpanGroup:
    """Spans of one group on a vertical axis; `colour` is the number of its series."""

    name: str
    colour: int
    spans: Sequence[tuple[float, float]]


def draw_spans(groups: Sequence[SpanGroup], bands: Mapping[str, tuple[float, float]], label: str) -> str:
    """Draw one vertical line per span, group beside group, over named horizontal bands; the axis points down.

    Args:
        groups: from left to right; spans of a group are sorted by their beginning.
        bands: name → (beginning, end) on the axis.
        label: what the chart shows, for readers who do not see it.
    """
    ends = [end for group in groups for span in group.spans for end in span]
    if not ends:
        return ""
    left, top, width, height, foot = 104, 8, 780, 400, 96
    axis = Axis(
        min(*ends, *(low for low, _ in bands.values())),
        max(*ends, *(high for _, high in bands.values())),
        top,
        height - foot,
    )
    parts = [_open_svg(width, height, label)]
    for name, (low, high) in bands.items():
        a, b = axis.place(low), axis.place(high)
        parts.append(f'<line class="grid" x1="{left}" x2="{width}" y1="{a}" y2="{a}"/>')
        parts.append(f'<line class="grid" x1="{left}" x2="{width}" y1="{b}" y2="{b}"/>')
        parts.append(
            f'<text class="label" x="{left - 8}" y="{(a + b) / 2 + 4:.2f}" text-anchor="end">{escape(name)}</text>'
        )
    column = (width - left) / len(groups)
    for number, group in enumerate(groups):
        start = left + column * number
        step = 0.8 * column / max(len(group.spans), 1)
        thick = min(max(0.7 * step, 0.4), 9)
        for place, (low, high) in enumerate(sorted(group.spans)):
            x = start + 0.1 * column + (place + 0.5) * step
            style = f"stroke:var(--s{group.colour % SERIES_COLOURS});stroke-width:{thick:.2f}"
            parts.append(
                f'<line style="{style}" x1="{x:.2f}" x2="{x:.2f}" y1="{axis.place(low)}" y2="{axis.place(high)}"/>'
            )
        x, y = start + column / 2, height - foot + 14
        text = f"{escape(group.name)} ({len(group.spans)})"
        parts.append(
            f'<text class="label" text-anchor="end" transform="translate({x:.2f} {y}) rotate(-38)">{text}</text>'
        )
    return "".join([*parts, "</svg>"])


def _open_svg(width: float, height: float, label: str) -> str:
    return f'<svg viewBox="0 0 {width} {height:g}" role="img" aria-label="{escape(label)}">'


def _draw_frame(x_axis: Axis, y_axis: Axis, x_label: str, y_label: str) -> list[str]:
    left, right, bottom = x_axis.start, x_axis.end, y_axis.start
    parts = []
    for tick in y_axis.ticks():
        y = y_axis.place(tick)
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text class="tick" x="{left - 7}" y="{y + 4}" text-anchor="end">{format_number(tick, 2)}</text>')
    for tick in x_axis.ticks(6):
        x = x_axis.place(tick)
        parts.append(f'<text class="tick" x="{x}" y="{bottom + 17}" text-anchor="middle">{tick:g}</text>')
    parts.append(f'<line class="base" x1="{left}" x2="{right}" y1="{bottom}" y2="{bottom}"/>')
    middle = (left + right) / 2
    parts.append(f'<text class="axis" x="{middle}" y="{bottom + 33}" text-anchor="middle">{escape(x_label)}</text>')
    note = ", logarithmic" if y_axis.log else ""
    parts.append(f'<text class="axis" x="{left}" y="14">{escape(y_label + note)}</text>')
    return parts


def _draw_interval(axis: Axis, y: float, interval: Interval, title: str, number: int) -> str:
    if interval.value is None:
        return f'<text class="tick" x="{axis.start + 4}" y="{y + 4}">no figure</text>'
    colour = f"var(--s{number % SERIES_COLOURS})"
    x = axis.place(float(np.clip(interval.value, *axis.span)))
    bar = ""
    if interval.low is not None and interval.high is not None:
        a, b = (axis.place(float(np.clip(end, *axis.span))) for end in (interval.low, interval.high))
        bar = f'<line class="bar" style="stroke:{colour}" x1="{a}" x2="{b}" y1="{y}" y2="{y}"/>'
    span = f" ({format_number(interval.low)} to {format_number(interval.high)})" if bar else ""
    text = f"<title>{escape(title)}: {format_number(interval.value)}{span}</title>"
    return f'<g>{text}{bar}<circle cx="{x}" cy="{y}" r="4" style="fill:{colour}"/></g>'
