"""The ranking of a patient's CT series by what the index says about them."""

from typing import Any

import pytest

from guidegen.index.select import estimate_extents, find_thickness, rank_series
from guidegen.index.series import Series


def make_series(description: str, instances: int = 100, study: str = "1", **facts: Any) -> Series:
    uid = f"{study}.{description}.{instances}"
    return Series("lab", "P-1", uid, study, description=description, instances=instances, **facts)


def choose(*members: Series) -> str:
    """Return the description of the best series, in whatever order they are offered."""
    extents = estimate_extents(members)
    return min(members, key=lambda series: rank_series(series, extents[series.series_uid])).description


@pytest.mark.parametrize(
    ("description", "thickness"),
    [
        ("AXIAL 5MM", 5.0),
        ("ABDOMEN PELVIS 5X5", 5.0),
        ("Venous Phase  2.0  B41s", 2.0),
        ("A/P 5/2.5MM", 2.5),
        ("0.625 +C", 0.625),
        ("CHEST", 0.0),
        ("DELAY 150 SEC", 0.0),
        ("V 1.2.840.1", 0.0),
        ("120.0 kV", 0.0),
        ("0.00 mm", 0.0),
    ],
)
def test_thickness_is_read_where_the_description_names_one(description: str, thickness: float) -> None:
    assert find_thickness(make_series(description)) == thickness


def test_stated_thickness_comes_first() -> None:
    assert find_thickness(make_series("AXIAL 5MM", thickness_mm=1.25)) == 1.25


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (make_series("SOFT 5.0 B30f"), make_series("LUNG 5.0 B70f", 200)),
        (make_series("CHEST 5.0 B30f"), make_series("CHEST 8.0 B30f")),
        (make_series("C/A/P 5MM", 60), make_series("ABD/PELVIS 5MM")),
        (make_series("Chest/Abd  5.0  B31f", 60), make_series("ABD PELVIS 5MM")),
        (make_series("CT_WB 5.0 B31f", 60), make_series("LIVER 5.0 B31f")),
        (make_series("AP_Routine  5.0  B40f", 60), make_series("LIVER  5.0  B40f")),
        (make_series("NATIVE  5.0  B41s", 150), make_series("VENOUS  2.0  B41s", 294)),
        (make_series("LIVER 5MM", 60), make_series("LIVER 5MM", 50)),
        (make_series("A", study_date="2001-01-01", study="1"), make_series("B", study_date="2002-01-01", study="2")),
    ],
    ids=["kernel", "thickness", "trunk", "chest and abdomen", "whole body", "underscore", "extent", "images", "date"],
)
def test_better_series_ranks_first(better: Series, worse: Series) -> None:
    assert choose(worse, better) == choose(better, worse) == better.description


def test_series_without_a_thickness_counts_as_those_of_its_study() -> None:
    thins, named = make_series("STND THINS", 769), make_series("STND 2.5MM", 191)
    assert choose(thins, named) == "STND THINS"
    alone = make_series("HELICAL", 244, study="2")
    assert choose(alone, named) == "STND 2.5MM"
    assert estimate_extents([thins, named, alone]) == {
        thins.series_uid: 477.5,
        named.series_uid: 477.5,
        alone.series_uid: 0.0,
    }


def test_extent_that_nobody_has_says_nothing() -> None:
    stacked, plain = make_series("Abd.CT 5.0 B30s", 404, study="1"), make_series("CHEST 5.0 B20f", 71, study="2")
    assert choose(stacked, plain) == "CHEST 5.0 B20f"
