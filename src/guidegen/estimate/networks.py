"""What the networks of a study cost: operations and bytes, counted on tensors without data."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from guidegen.segment.training import build_network
from guidegen.stages import NETWORKS
from guidegen.study import Study
from guidegen.train.counting import Work, count_work, strip_values
from guidegen.train.estimate import count_mean_batch
from guidegen.train.placeholder import PlaceholderCohort, build_stage

PASSES_PER_STEP = 3
"""A step of the segmenter: one pass forward, two backward (gradients of inputs and of weights), as in Kaplan et al.
2020, "Scaling Laws for Neural Language Models", section 2.1."""
BYTES_PER_PARAMETER = 4


@dataclass(frozen=True)
class NetworkCosts:
    """Operations and sizes of one study's networks."""

    training: dict[str, float]
    """Operations of the whole training, by stage."""
    sampling: Work
    """One generated case, drawn once."""
    segmenter: float
    """Operations of the training of one arm; for nnU-Net, which plans its own network, those of a SegResNet."""
    encoding: float
    """Operations of encoding one CT."""
    weights: dict[str, int]
    """Bytes of the float32 weights, by stage."""
    segmenter_weights: int
    """Bytes of the float32 weights of one segmenter."""


def count_networks(study: Study) -> NetworkCosts:
    """Count what the trainings, one generated case and one segmenter of a study cost."""
    config, training, weights = study.config, {}, {}
    for name in NETWORKS:
        optimization = getattr(config.train, name).optimization
        batches = optimization.steps * optimization.accumulate
        training[name] = count_mean_batch(study, name).work.operations * batches
        weights[name] = _size_weights(_build(study, name).model)
    classes, grid = len(study.labels), config.prepare.grid
    with torch.device("meta"), torch.no_grad():
        segmenter = build_network(config.segment, classes)
        side = min(config.segment.patch, grid if config.segment.resolution == "labels" else 2 * grid)
        patch = count_work(lambda: segmenter(torch.empty(1, 1, side, side, side))).operations
    segmenters = PASSES_PER_STEP * patch * config.segment.steps * config.segment.batch
    sampling, encoding = count_sample(study), count_encoding(study)
    return NetworkCosts(training, sampling, segmenters, encoding, weights, _size_weights(segmenter))


def count_sample(study: Study) -> Work:
    """Return what one synthetic case costs: label map, latents and CT."""
    train, grid, total = study.config.train, study.config.prepare.grid, Work(0, 0)
    for name in ("semantic_synthesizer", "latent_generator"):
        settings, stage = getattr(train, name).model, _build(study, name)
        conditions = strip_values(stage.make_batch(stage.cases, [0]).conditions)
        labels, times = _shape(*(grid,) * 3).long(), _shape().long()
        volumes = (labels, times) if name == "semantic_synthesizer" else (_shape_latents(study), times, labels)
        call = count_work(lambda stage=stage, volumes=volumes, told=conditions: stage.model(*volumes, told))
        # guidance needs a second call, with the empty prompt
        total += call * (settings.sampling_steps * (1 if settings.guidance == 1 else 2))
    autoencoder = _build(study, "contrast_autoencoder").model
    return total + count_work(lambda: autoencoder.decode_scaled(_shape_latents(study), None))


def count_encoding(study: Study) -> float:
    """Return the operations of encoding one CT."""
    autoencoder, ct = _build(study, "contrast_autoencoder").model, _shape(1, *(2 * study.config.prepare.grid,) * 3)
    return count_work(lambda: autoencoder.encode_moments(ct, None)).operations


def _size_weights(network: nn.Module) -> int:
    return BYTES_PER_PARAMETER * sum(parameter.numel() for parameter in network.parameters())


def _build(study: Study, name: str) -> Any:
    with torch.device("meta"):
        return build_stage(PlaceholderCohort.load(study), name).requires_grad_(False)


def _shape(*sides: int) -> Tensor:
    """Return one case's tensor without values."""
    return torch.empty(1, *sides, device="meta")


def _shape_latents(study: Study) -> Tensor:
    channels = study.config.train.contrast_autoencoder.model.latent_channels
    return _shape(channels, *(study.config.prepare.grid // 2,) * 3)
