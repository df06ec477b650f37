import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guidegen.evaluate.bootstrap import Figure, draw_weights, estimate_contrast, estimate_mean
from guidegen.seeds import derive_rng


def draw(cases: int, seed: int = 3, resamples: int = 500) -> np.ndarray:
    return draw_weights(derive_rng(seed, "test"), [str(i) for i in range(cases)], resamples)


def test_same_seed_same_interval_other_seed_other_interval() -> None:
    values = np.arange(10.0)
    first = estimate_mean(values, draw(10), "mm")
    assert first == estimate_mean(values, draw(10), "mm")
    assert first != estimate_mean(values, draw(10, seed=4), "mm")


def test_cases_of_one_patient_are_drawn_together() -> None:
    weights = draw_weights(derive_rng(1), ["a", "a", "b", "c"], 200)
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 0] != weights[:, 2]).any()


def test_interval_covers_the_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for trial in range(200):
        figure = estimate_mean(rng.normal(5, 2, 40), draw(40, seed=trial), "mm")
        assert figure.low is not None
        assert figure.high is not None
        inside += figure.low <= 5 <= figure.high
    assert 0.88 <= inside / 200 <= 0.99


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=20))
def test_interval_holds_the_value(values: list[float]) -> None:
    figure = estimate_mean(np.array(values), draw(len(values)), "mm")
    assert figure.value is not None
    assert figure.low is not None
    assert figure.high is not None
    assert figure.low - 1e-9 <= figure.value <= figure.high + 1e-9


def test_missing_values_are_not_counted_and_nothing_is_no_figure() -> None:
    figure = estimate_mean(np.array([1.0, np.nan, 3.0]), draw(3), "mm")
    assert (figure.value, figure.n) == (2.0, 2)
    assert estimate_mean(np.full(3, np.nan), draw(3), "mm") == Figure(None, None, None, 0, "mm")


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_control_equals_true_when_requests_say_nothing_about_cases(strength: float) -> None:
    rng = np.random.default_rng(5)
    asked = rng.integers(0, 2, 60)
    found = asked if strength else rng.integers(0, 2, 60)
    scores = (asked[:, None] == found[None, :]).astype(float)
    names = [str(i) for i in range(60)]
    contrast = estimate_contrast(scores, names, draw(60), derive_rng(2), 500, "share")
    assert contrast.difference.low is not None
    assert (contrast.difference.low > 0) == bool(strength)
    assert contrast.p_permutation is not None
    assert (contrast.p_permutation < 0.01) == bool(strength)


def test_control_is_the_mean_over_pairs_of_different_groups() -> None:
    scores = np.arange(16.0).reshape(4, 4)
    groups = ["a", "a", "b", "c"]
    contrast = estimate_contrast(scores, groups, np.ones((1, 4)), derive_rng(2), 100, "share")
    pairs = [scores[i, j] for i in range(4) for j in range(4) if groups[i] != groups[j]]
    assert contrast.control.value == pytest.approx(np.mean(pairs))
    assert contrast.true.value == pytest.approx(np.mean(np.diag(scores)))


def test_no_case_has_no_mean():
    assert estimate_mean(np.empty(0), np.ones((5, 1)), "share") == Figure(None, None, None, 0, "share")
