"""Categorical diffusion with a uniform transition kernel, and its posterior in closed form.

q(x_t | x_0) = Cat(ᾱ_t x_0 + (1 − ᾱ_t)/C). The reverse step marginalises q(x_s | x_t, x_0) over the predicted p(x_0);
done literally that needs C² values per voxel, the closed form of `compute_posterior` needs C, for any s < t.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

SMALLEST = 1e-30


def make_cosine_schedule(timesteps: int, offset: float = 0.008) -> Tensor:
    """Return ᾱ_0 … ᾱ_T, float64, shape (T + 1,), falling from 1 (Nichol & Dhariwal 2021, eq. 17; β is cut at 0.999)."""
    phase = (torch.arange(timesteps + 1, dtype=torch.float64) / timesteps + offset) / (1 + offset) * math.pi / 2
    curve = torch.cos(phase) ** 2
    steps = (curve[1:] / curve[:-1]).clamp(min=0.001, max=1.0)
    return torch.cat([torch.ones(1, dtype=torch.float64), torch.cumprod(steps, 0)])


def draw_times(count: int, timesteps: int, exponent: float) -> Tensor:
    """Draw `count` training steps t in 1 … T with probability ∝ t^exponent, int64."""
    weights = torch.arange(1, timesteps + 1, dtype=torch.float64) ** exponent
    return torch.multinomial(weights, count, replacement=True) + 1


def sample_categories(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """Return class ids (B, …) by inverting the distribution of (B, C, …) at `uniform` (B, …) in [0, 1)."""
    cumulative = probabilities.cumsum(1)
    threshold = uniform.unsqueeze(1) * cumulative[:, -1:]
    return (cumulative <= threshold).sum(1).clamp_(max=probabilities.shape[1] - 1)


def q_sample(labels: Tensor, alpha_bar: Tensor, classes: int, uniform: Tensor, replacement: Tensor) -> Tensor:
    """Return x_t (B, X, Y, Z) for x_0 `labels`: each voxel is kept with probability ᾱ_t, else drawn from all classes.

    Args:
        labels: class ids (B, X, Y, Z).
        alpha_bar: ᾱ_t per case (B,).
        classes: C.
        uniform: noise in [0, 1), decides which voxels are kept.
        replacement: noise in [0, 1), the class of the others.
    """
    keep = uniform < alpha_bar.to(uniform.dtype).view(-1, *[1] * (labels.ndim - 1))
    return torch.where(keep, labels, (replacement * classes).long().clamp_(max=classes - 1))


def compute_posterior(prediction: Tensor, noisy: Tensor, alpha_bar_t: Tensor, alpha_bar_s: Tensor) -> Tensor:
    """Return p(x_s | x_t) = Σ q(x_s | x_t, x_0) p(x_0), shape (B, C, …), in time and memory linear in C.

    Args:
        prediction: p(x_0), sums to one over C, shape (B, C, …).
        noisy: x_t as class ids, shape (B, …).
        alpha_bar_t: ᾱ_t per case, shape (B,).
        alpha_bar_s: ᾱ_s per case for any s < t; with s = 0 the result is p(x_0).
    """
    classes = prediction.shape[1]
    shape = (-1, *[1] * (prediction.ndim - 1))
    kept = (alpha_bar_t / alpha_bar_s).to(prediction.dtype).view(shape)
    before = alpha_bar_s.to(prediction.dtype).view(shape)
    spread = (1 - before) / classes
    forward = ((1 - kept) / classes).expand_as(prediction).clone()
    forward.scatter_add_(1, noisy.unsqueeze(1), kept.expand(-1, 1, *noisy.shape[1:]))
    ratio = prediction / (before * forward + spread).clamp_(min=SMALLEST)
    return forward * (before * ratio + spread * ratio.sum(1, keepdim=True))


def compute_posterior_kl(
    logits: Tensor, labels: Tensor, noisy: Tensor, alpha_bar_t: Tensor, alpha_bar_s: Tensor
) -> Tensor:
    """Return KL(q(x_s | x_t, x_0) ‖ p(x_s | x_t)) per voxel (B, …), in nats, float32."""
    truth = functional.one_hot(labels, logits.shape[1]).movedim(-1, 1).float()
    target = compute_posterior(truth, noisy, alpha_bar_t, alpha_bar_s)
    guess = compute_posterior(logits.float().softmax(1), noisy, alpha_bar_t, alpha_bar_s)
    return (target * (target.clamp(min=SMALLEST).log() - guess.clamp(min=SMALLEST).log())).sum(1)


def list_sampling_times(timesteps: int, steps: int, spacing: Literal["even", "cosine"] = "even") -> Sequence[int]:
    """Return the times T = t_0 > t_1 > … > t_steps = 0 that a sampler visits; cosine spacing is denser near 0."""
    share = torch.linspace(0, 1, min(steps, timesteps) + 1, dtype=torch.float64)
    if spacing == "cosine":
        share = 1 - torch.cos(share * math.pi / 2)
    times = (share * timesteps).round().long()
    for index in range(1, len(times)):
        times[index] = max(int(times[index]), int(times[index - 1]) + 1)
    return times.flip(0).tolist()
