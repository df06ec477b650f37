"""Measures of pairs of CTs: MS-SSIM within a set as its diversity, LPIPS between a case and its prompt's real case."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from guidegen.evaluate.bootstrap import Figure, draw_weights, estimate_mean
from guidegen.evaluate.features import window_ct
from guidegen.evaluate.volumes import Volume
from guidegen.seeds import derive_rng
from guidegen.study import Study
from guidegen.torchscript import load_script

KERNEL, SIGMA = 5, 1.0
WEIGHTS = (0.0448, 0.2856, 0.3001)
"""Of the first three scales of Wang et al. 2003; they are scaled to the sum 1."""


def measure_diversity(study: Study, name: str, volumes: Sequence[Volume]) -> Figure:
    """Return the mean MS-SSIM of pairs of cases of a group; `name` seeds their draw."""
    settings, seed = study.config.evaluate, study.config.study.seed
    pairs = draw_pairs(volumes, settings.diversity_pairs, derive_rng(seed, "evaluate", "ms_ssim", name))
    values = np.array([measure_ms_ssim(*(_shrink(volumes[i], settings.hu_window) for i in pair)) for pair in pairs])
    return _estimate(values, pairs, volumes, study, f"ms_ssim {name}", "MS-SSIM")


def draw_pairs(volumes: Sequence[Volume], count: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Draw different pairs of cases of different patients."""
    pairs = [
        (i, j) for i in range(len(volumes)) for j in range(i + 1, len(volumes)) if volumes[i].group != volumes[j].group
    ]
    return [pairs[k] for k in sorted(rng.permutation(len(pairs))[:count])]


def measure_ms_ssim(one: Tensor, other: Tensor) -> float:
    """Return the multi-scale structural similarity of two volumes (X, Y, Z) in [0, 1], by MONAI, over three scales."""
    from monai.metrics.regression import compute_ms_ssim

    total = sum(WEIGHTS)
    weights = [weight / total for weight in WEIGHTS]
    value = compute_ms_ssim(
        one[None, None], other[None, None], 3, kernel_size=KERNEL, kernel_sigma=SIGMA, weights=weights
    )
    return float(value)


def _shrink(volume: Volume, window: tuple[float, float]) -> Tensor:
    """Return the windowed CT averaged to at most 32³ voxels: finer detail would measure the noise."""
    image = window_ct(volume.load_ct(), window)
    while max(image.shape) > 32:
        image = torch.nn.functional.avg_pool3d(image[None], 2)[0]
    return image


def compare_perceptually(
    study: Study, name: str, cases: Sequence[Volume], test: Sequence[Volume], sources: Mapping[str, Volume]
) -> dict[str, dict[str, Any]]:
    """Return LPIPS of a set as `set` and `floor`.

    Args:
        study: the study; `evaluate.networks.lpips` names the network.
        name: of the set.
        cases: of the set.
        test: real test cases; pairs of them are the floor.
        sources: all real cases by case id; `group` of a generated case names the one that its prompt was taken from.
    """
    settings = study.config.evaluate
    network = load_script(study.root / settings.networks.lpips, "evaluate.networks")
    pairs = [(case, sources[case.group]) for case in cases if case.group in sources]
    rng = derive_rng(study.config.study.seed, "evaluate", "lpips", "floor")
    floor = [(test[i], test[j]) for i, j in draw_pairs(test, max(len(pairs), 2), rng)]
    return {
        key: _estimate(
            np.array(
                [measure_lpips(network, one, other, settings.hu_window, settings.slices) for one, other in chosen]
            ),
            [(i, i) for i in range(len(chosen))],
            [one for one, _ in chosen],
            study,
            f"lpips {name} {key}",
            "LPIPS",
        ).to_json()
        for key, chosen in (("set", pairs), ("floor", floor))
    }


@torch.no_grad()
def measure_lpips(
    network: Callable[[Tensor, Tensor], Tensor],
    one: Volume,
    other: Volume,
    window: tuple[float, float],
    slices: int,
) -> float:
    """Return the mean perceptual distance of corresponding axial slices, given as (slices, 3, X, Y) in [-1, 1]."""
    images = []
    for volume in (one, other):
        image = window_ct(volume.load_ct(), window)
        places = np.rint(np.linspace(0.1, 0.9, slices) * (image.shape[2] - 1)).astype(int)
        shown = image[..., torch.from_numpy(places)].movedim(2, 0)[:, None] * 2 - 1
        images.append(shown.expand(-1, 3, -1, -1).contiguous())
    return float(network(*images).mean())


def _estimate(
    values: np.ndarray, pairs: Sequence[tuple[int, int]], volumes: Sequence[Volume], study: Study, key: str, unit: str
) -> Figure:
    """Return the mean over pairs; a bootstrap draws patients, and a pair counts as often as both of its cases do."""
    if not len(values):
        return Figure(None, None, None, 0, unit)
    rng = derive_rng(study.config.study.seed, "evaluate", key)
    drawn = draw_weights(rng, [volume.group for volume in volumes], study.config.evaluate.bootstrap)
    weights = np.stack([drawn[:, i] * drawn[:, j] if i != j else drawn[:, i] for i, j in pairs], 1)
    return estimate_mean(values, weights, unit)
