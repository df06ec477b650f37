"""Positions on the spine, and the words for a covered range."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guidegen.mask.coverage import ORGAN_POSITIONS, VERTEBRA_POSITIONS, count_slices, measure_axis, name_regions
from guidegen.statements import Region

LENGTH_MM, TOP_MM = 430.0, 1200.0


def make_profiles(labels, positions, z_mm) -> np.ndarray:
    """Each label is a slab of 20 mm about its position on a spine of 430 mm whose T1 lies at z = 1200 mm."""
    profiles = np.zeros((256, len(z_mm)))
    for name, position in positions.items():
        profiles[labels.source_ids[name], np.abs(TOP_MM - LENGTH_MM * position - z_mm) < 10] = 50
    return profiles


@pytest.mark.parametrize(
    ("top", "bottom", "expected"),
    [
        (-0.06, 0.6, (Region.CHEST, Region.CHEST)),
        (-0.06, 0.85, (Region.CHEST, Region.UPPER_ABDOMEN)),
        (0.37, 1.02, (Region.UPPER_ABDOMEN, Region.ABDOMEN)),
        (0.37, 1.36, (Region.UPPER_ABDOMEN, Region.PELVIS)),
        (-0.06, 1.36, (Region.CHEST, Region.PELVIS)),
        (1.0, 1.4, (Region.PELVIS, Region.PELVIS)),
        (0.55, 0.6, (Region.UPPER_ABDOMEN, Region.UPPER_ABDOMEN)),
    ],
)
def test_ranges_have_the_words_a_radiologist_uses(top, bottom, expected):
    assert name_regions(top, bottom) == expected


@given(st.floats(-0.3, 1.5), st.floats(0.01, 1.8))
def test_the_first_region_is_never_below_the_last(top, length):
    first, last = name_regions(top, top + length)
    order = list(Region)
    assert order.index(first) <= order.index(last)


def test_typical_positions_run_from_t1_to_l5():
    assert VERTEBRA_POSITIONS["vertebrae_T1"] == 0
    assert VERTEBRA_POSITIONS["vertebrae_L5"] == 1
    assert list(VERTEBRA_POSITIONS.values()) == sorted(VERTEBRA_POSITIONS.values())


def test_t1_and_l5_fix_the_axis(labels):
    z_mm = np.arange(700, 1300, 1.0)
    axis = measure_axis(
        make_profiles(labels, {"vertebrae_T1": 0.0, "vertebrae_L5": 1.0}, z_mm), z_mm, labels.source_ids
    )
    assert axis is not None
    assert axis.locate(TOP_MM) == pytest.approx(0, abs=1e-3)
    assert axis.locate(TOP_MM - LENGTH_MM) == pytest.approx(1, abs=1e-3)
    assert axis.place(0.5) == pytest.approx(TOP_MM - LENGTH_MM / 2, abs=1)


@pytest.mark.parametrize(("top", "bottom"), [(-0.06, 0.6), (0.37, 1.02), (0.37, 1.36), (0.45, 0.75)])
def test_a_part_of_the_spine_is_enough(top, bottom, labels):
    z_mm = np.arange(TOP_MM - LENGTH_MM * bottom, TOP_MM - LENGTH_MM * top, 2.0)
    axis = measure_axis(make_profiles(labels, VERTEBRA_POSITIONS, z_mm), z_mm, labels.source_ids)
    assert axis is not None
    assert axis.basis == "vertebrae"
    assert axis.locate(z_mm[-1]) == pytest.approx(top, abs=0.02)
    assert axis.locate(z_mm[0]) == pytest.approx(bottom, abs=0.02)


def test_organs_stand_in_where_there_are_no_vertebrae(labels):
    z_mm = np.arange(700, 1100, 2.0)
    axis = measure_axis(make_profiles(labels, ORGAN_POSITIONS, z_mm), z_mm, labels.source_ids)
    assert axis is not None
    assert axis.basis == "organs"
    assert axis.locate(900) == pytest.approx((TOP_MM - 900) / LENGTH_MM, abs=0.05)


def test_nothing_labelled_gives_no_axis(labels):
    assert measure_axis(np.zeros((256, 40)), np.arange(40.0), labels.source_ids) is None


def test_slices_are_counted_by_label():
    source = np.zeros((3, 4, 2), np.uint8)
    source[0, :, 1] = 7
    assert count_slices(source)[7].tolist() == [0, 4]
