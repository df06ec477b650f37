import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from guidegen.report.charts import Axis, Interval, draw_bars, draw_intervals, draw_lines, format_number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (0.0, "0.00"),
        (0.98765, "0.988"),
        (-12.34, "−12.3"),
        (1234.5, "1234"),
        (2e-5, "2.0e−05"),
    ],
)
def test_numbers_keep_three_digits(value: float | None, text: str) -> None:
    assert format_number(value) == text


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3, 250), (0.1, 0.13), (5, 5)])
def test_ticks_lie_inside_the_axis(low: float, high: float) -> None:
    ticks = Axis(low, high, 0, 100).ticks()
    assert ticks
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in ticks)


def test_charts_are_well_formed_and_keep_every_series() -> None:
    steps = np.arange(10.0)
    lines = draw_lines({"a<b": (steps, np.exp(-steps)), "c": (steps, np.full(10, np.nan))}, "step", "loss")
    assert len(ElementTree.fromstring(lines).findall("polyline")) == 2
    dots = draw_intervals({"liver": [Interval(0.5, 0.4, 0.6), Interval(None)]}, ("a", "b"), "Dice", 0, 1)
    assert len(ElementTree.fromstring(dots).findall("g/circle")) == 1
    bars = ElementTree.fromstring(draw_bars({"x": {"a": 1, "b": 3}}, ("a", "b")))
    a, b = (float(rect.attrib["width"]) for rect in bars.findall("rect"))
    assert b == pytest.approx(3 * a, rel=0.01)


def test_nothing_to_draw_is_no_chart() -> None:
    assert draw_lines({}, "step", "loss") == draw_bars({}, ()) == draw_intervals({}, (), "x") == ""
