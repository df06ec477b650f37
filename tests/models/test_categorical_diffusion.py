"""The mathematics of categorical diffusion."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from literal_posterior import marginalise_literally

from guidegen.models.categorical_diffusion import (
    compute_posterior,
    compute_posterior_kl,
    draw_times,
    list_sampling_times,
    make_cosine_schedule,
    q_sample,
    sample_categories,
)

TIMESTEPS = 1000
SCHEDULE = make_cosine_schedule(TIMESTEPS)


@st.composite
def draw_case(draw):
    """Return (classes, t, s, prediction (2, C, 3, 3, 3) float64, x_t)."""
    classes = draw(st.integers(2, 24))
    t = draw(st.integers(1, TIMESTEPS))
    s = draw(st.integers(0, t - 1))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    sharpness = draw(st.sampled_from([0.1, 1.0, 10.0]))
    logits = torch.randn(2, classes, 3, 3, 3, generator=generator, dtype=torch.float64) * sharpness
    noisy = torch.randint(classes, (2, 3, 3, 3), generator=generator)
    return classes, t, s, logits.softmax(1), noisy


def alphas(*times: int) -> list[torch.Tensor]:
    return [SCHEDULE[time].expand(2) for time in times]


@given(draw_case())
@settings(max_examples=60, deadline=None)
def test_closed_form_equals_the_literal_one_for_any_stride(case):
    _, t, s, prediction, noisy = case
    found = compute_posterior(prediction, noisy, *alphas(t, s))
    wanted = marginalise_literally(prediction, noisy, float(SCHEDULE[t]), float(SCHEDULE[s]))
    assert torch.allclose(found, wanted, rtol=0, atol=1e-12)


@given(draw_case())
@settings(max_examples=40, deadline=None)
def test_posterior_is_a_distribution(case):
    _, t, s, prediction, noisy = case
    found = compute_posterior(prediction, noisy, *alphas(t, s))
    assert (found >= 0).all()
    assert torch.allclose(found.sum(1), torch.ones_like(found[:, 0]), rtol=0, atol=1e-12)


@given(draw_case())
@settings(max_examples=20, deadline=None)
def test_last_step_returns_the_prediction(case):
    _, t, _, prediction, noisy = case
    assert torch.allclose(compute_posterior(prediction, noisy, *alphas(t, 0)), prediction, rtol=0, atol=1e-12)


def test_stride_one_is_the_papers_one_step_form():
    t, classes = 400, 21
    prediction = torch.rand(2, classes, 3, 3, 3, dtype=torch.float64).softmax(1)
    noisy = torch.randint(classes, (2, 3, 3, 3))
    alpha, before = SCHEDULE[t] / SCHEDULE[t - 1], SCHEDULE[t - 1]
    seen = torch.nn.functional.one_hot(noisy, classes).movedim(-1, 1).double()
    a = alpha * seen + (1 - alpha) / classes
    r = prediction / (before * a + (1 - before) / classes)
    wanted = a * (before * r + (1 - before) / classes * r.sum(1, keepdim=True))
    assert torch.allclose(compute_posterior(prediction, noisy, *alphas(t, t - 1)), wanted, rtol=0, atol=1e-12)


def test_two_steps_of_the_truth_agree_with_one_stride():
    """q(x_r | x_t, x_0) = Σ over x_s of q(x_r | x_s, x_0) q(x_s | x_t, x_0) for a known x_0."""
    classes, (r, s, t) = 5, (100, 300, 600)
    labels = torch.tensor([[[[2]]]])
    truth = torch.nn.functional.one_hot(labels, classes).movedim(-1, 1).double()
    noisy = torch.tensor([[[[4]]]])
    one = [SCHEDULE[time].expand(1) for time in (t, s, r)]
    middle = compute_posterior(truth, noisy, one[0], one[1])
    steps = [
        compute_posterior(truth, torch.full_like(noisy, k), one[1], one[2]) * middle[:, k : k + 1]
        for k in range(classes)
    ]
    direct = compute_posterior(truth, noisy, one[0], one[2])
    assert torch.allclose(torch.stack(steps).sum(0), direct, atol=1e-12)


@pytest.mark.parametrize("spacing", ["even", "cosine"])
@pytest.mark.parametrize("steps", [1, 7, 50, 1000])
def test_a_perfect_predictor_recovers_x0(spacing, steps):
    torch.manual_seed(0)
    classes = 6
    labels = torch.randint(classes, (2, 4, 4, 4))
    truth = torch.nn.functional.one_hot(labels, classes).movedim(-1, 1).double()
    noisy = torch.randint(classes, labels.shape)
    times = list_sampling_times(TIMESTEPS, steps, spacing)
    for t, s in pairwise(times):
        noisy = sample_categories(compute_posterior(truth, noisy, *alphas(t, s)), torch.rand(labels.shape))
    assert torch.equal(noisy, labels)


@pytest.mark.parametrize("spacing", ["even", "cosine"])
@pytest.mark.parametrize("steps", [1, 2, 13, 999, 1000, 5000])
def test_sampling_times_fall_from_the_last_step_to_zero(spacing, steps):
    times = list_sampling_times(TIMESTEPS, steps, spacing)
    assert times[0] == TIMESTEPS
    assert times[-1] == 0
    assert all(a > b for a, b in pairwise(times))
    assert len(times) == min(steps, TIMESTEPS) + 1


def test_schedule_falls_from_one_to_almost_nothing():
    assert SCHEDULE[0] == 1
    assert (SCHEDULE[1:] < SCHEDULE[:-1]).all()
    assert 0 < SCHEDULE[-1] < 1e-4


def test_schedule_is_the_cosine_of_nichol_and_dhariwal():
    """ᾱ_t = f(t) / f(0) with f(t) = cos²(π/2 · (t/T + 0.008) / 1.008)."""
    steps = len(SCHEDULE) - 1
    for t in (1, steps // 4, steps // 2, 3 * steps // 4):
        wanted = math.cos((t / steps + 0.008) / 1.008 * math.pi / 2) ** 2 / math.cos(0.008 / 1.008 * math.pi / 2) ** 2
        assert float(SCHEDULE[t]) == pytest.approx(wanted, abs=1e-6)


def test_noised_labels_follow_the_transition_kernel():
    torch.manual_seed(0)
    classes, t = 4, 500
    labels = torch.full((1, 60, 60, 60), 2)
    noisy = q_sample(labels, SCHEDULE[t].expand(1), classes, torch.rand(labels.shape), torch.rand(labels.shape))
    shares = torch.bincount(noisy.ravel(), minlength=classes).double() / noisy.numel()
    wanted = SCHEDULE[t] * torch.tensor([0, 0, 1, 0]) + (1 - SCHEDULE[t]) / classes
    assert torch.allclose(shares, wanted, atol=0.006)


def test_sampled_categories_follow_their_probabilities_and_never_take_an_impossible_one():
    torch.manual_seed(0)
    wanted = torch.tensor([0.0, 0.2, 0.0, 0.5, 0.3, 0.0])
    drawn = sample_categories(wanted.view(1, -1, 1, 1, 1).expand(1, 6, 40, 40, 40), torch.rand(1, 40, 40, 40))
    shares = torch.bincount(drawn.ravel(), minlength=6) / drawn.numel()
    assert torch.allclose(shares, wanted, atol=0.01)
    edge = sample_categories(wanted.view(1, -1, 1), torch.tensor([[0.0]]))
    assert edge.item() == 1


def test_training_times_follow_their_power():
    torch.manual_seed(0)
    times = draw_times(40_000, TIMESTEPS, 1.5)
    assert times.min() >= 1
    assert times.max() == TIMESTEPS
    # E[t]/T of a density ∝ t^1.5 is 2.5/3.5
    assert abs(times.double().mean() / TIMESTEPS - 2.5 / 3.5) < 0.005


def test_kl_is_zero_for_the_truth_positive_else_and_trains():
    torch.manual_seed(0)
    classes, t = 5, 700
    labels = torch.randint(classes, (2, 3, 3, 3))
    noisy = torch.randint(classes, labels.shape)
    truth = torch.nn.functional.one_hot(labels, classes).movedim(-1, 1) * 60.0
    args = (labels, noisy, *alphas(t, t - 1))
    assert compute_posterior_kl(truth, *args).abs().max() < 1e-5
    logits = torch.zeros(2, classes, 3, 3, 3, requires_grad=True)
    loss = compute_posterior_kl(logits, *args).mean()
    assert loss > 1e-4
    loss.backward()
    assert logits.grad is not None
    assert (logits.grad.abs().amax(1) > 0).all()


def test_at_t_one_kl_is_the_cross_entropy():
    torch.manual_seed(0)
    labels = torch.randint(5, (2, 3, 3, 3))
    logits = torch.randn(2, 5, 3, 3, 3)
    found = compute_posterior_kl(logits, labels, labels, *alphas(1, 0))
    assert torch.allclose(found, torch.nn.functional.cross_entropy(logits, labels, reduction="none"), atol=1e-5)
