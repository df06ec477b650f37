import numpy as np
import pytest
from fabricated_study import make_volume
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from guidegen.prepare.resample import (
    build_area_weights,
    build_linear_weights,
    measure_shares,
    resample_ct,
    resample_labels,
)

sizes = st.integers(1, 60)


@given(sizes, sizes)
def test_rows_of_both_filters_sum_to_one(size: int, target: int) -> None:
    for build in (build_area_weights, build_linear_weights):
        np.testing.assert_allclose(build(size, target).toarray().sum(1), 1, atol=1e-5)


@given(sizes, sizes)
def test_area_weights_use_every_input_cell_equally(size: int, target: int) -> None:
    np.testing.assert_allclose(build_area_weights(size, target).toarray().sum(0), target / size, rtol=1e-4)


@given(st.integers(4, 60), st.integers(4, 120))
def test_linear_weights_keep_a_ramp_inside(size: int, target: int) -> None:
    """A linear function of position stays that function away from the border; exactly so when sampling up."""
    step = size / target
    ramp = build_linear_weights(size, target) @ (np.arange(size, dtype=np.float32) + 0.5)
    wanted = (np.arange(target) + 0.5) * step
    inside = (wanted > max(step, 0.5)) & (wanted < size - max(step, 0.5))
    np.testing.assert_allclose(ramp[inside], wanted[inside], rtol=1e-4, atol=1e-3 if step <= 1 else 0.2 * step)


shapes = st.tuples(*[st.integers(4, 20)] * 3)
maps = shapes.flatmap(lambda shape: hnp.arrays(np.uint8, shape, elements=st.integers(0, 4)))


@given(maps, st.integers(2, 12))
@settings(max_examples=50, deadline=None)
def test_no_id_appears_that_was_not_there_and_none_where_it_was_not(labels: np.ndarray, grid: int) -> None:
    result = resample_labels(labels, grid, 5)
    shares = measure_shares(labels, grid, 5)
    assert result.dtype == np.uint8
    taken = np.take_along_axis(shares, result[None].astype(int), 0)
    assert (taken > 0).all()


@given(maps)
@settings(max_examples=30, deadline=None)
def test_same_grid_changes_nothing(labels: np.ndarray) -> None:
    cube = labels[: min(labels.shape), : min(labels.shape), : min(labels.shape)]
    np.testing.assert_array_equal(resample_labels(cube, cube.shape[0], 5), cube)


@pytest.mark.parametrize("grid", [16, 24, 32, 48])
def test_volume_fractions_survive(grid: int) -> None:
    _, labels = make_volume(np.random.default_rng(1))
    before = np.bincount(labels.ravel(), minlength=21) / labels.size
    after = np.bincount(resample_labels(labels, grid, 21).ravel(), minlength=21) / grid**3
    for index in np.flatnonzero(before * grid**3 > 3):
        assert abs(after[index] - before[index]) * grid**3 <= max(1.5, 0.15 * before[index] * grid**3), index


def test_a_rib_thinner_than_a_voxel_keeps_its_volume() -> None:
    """About one voxel thick in cells of four: a plain majority vote would leave nothing."""
    labels = np.zeros((64, 64, 64), np.uint8)
    along = np.arange(64)
    labels[10 + along // 3, along, 20 + (along * 0.37).astype(int)] = 13
    shares = measure_shares(labels, 16, 21)
    assert not (shares.argmax(0) == 13).any()
    assert abs((resample_labels(labels, 16, 21) == 13).sum() - 1) <= 1
    labels[10 + along // 3, along, 21 + (along * 0.37).astype(int)] = 13
    labels[11 + along // 3, along, 20 + (along * 0.37).astype(int)] = 13
    assert abs((resample_labels(labels, 16, 21) == 13).sum() - 3) <= 1


def test_left_stays_left() -> None:
    labels = np.zeros((50, 40, 60), np.uint8)
    labels[5:15, 10:20, 30:40] = 1
    labels[30:45, 10:30, 25:40] = 3
    result = resample_labels(labels, 16, 21)
    assert np.argwhere(result == 1)[:, 0].mean() < 8 < np.argwhere(result == 3)[:, 0].mean()


def test_ct_keeps_its_mean_and_range() -> None:
    ct, _ = make_volume(np.random.default_rng(2))
    small = resample_ct(ct, 20)
    assert small.dtype == np.int16
    assert abs(small.mean() - ct.mean()) < 15
    assert small.min() >= -1024


def test_ct_does_not_alias() -> None:
    """A checkerboard finer than the grid averages out instead of showing up as a pattern."""
    ct = np.where(np.indices((64, 64, 64)).sum(0) % 2, 500, -500).astype(np.int16)
    assert np.abs(resample_ct(ct, 16)).max() <= 5


def test_unknown_id_is_refused() -> None:
    with pytest.raises(ValueError, match="label id 21"):
        resample_labels(np.full((8, 8, 8), 21, np.uint8), 4, 21)
