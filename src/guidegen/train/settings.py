"""Config section of the phase `train`."""

from typing import Literal

from pydantic import Field

from guidegen.models.settings import (
    ContrastAutoencoderSettings,
    LatentGeneratorSettings,
    SemanticSynthesizerSettings,
)
from guidegen.section import Section


class OptimizationSettings(Section):
    """How long and how one network is trained."""

    steps: int = Field(ge=1)
    """Optimizer steps."""
    batch: int = Field(ge=1)
    """Cases per batch."""
    accumulate: int = Field(1, ge=1)
    """Batches per optimizer step."""
    learning_rate: float = Field(ge=0)
    """Highest learning rate (AdamW); cosine decay after the warm-up."""
    warmup: int = Field(100, ge=0)
    """Steps of linear warm-up."""
    final_rate: float = Field(0.02, ge=0, le=1)
    """Share of the learning rate that is left at the end."""
    weight_decay: float = Field(0.01, ge=0)
    """Weight decay of AdamW."""
    clip: float = Field(1.0, gt=0)
    """Gradients are clipped to this norm."""
    ema: float = Field(0.999, ge=0, lt=1)
    """Decay of the moving average of the weights; it starts lower, as (1 + step) / (10 + step)."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "bf16-mixed"
    """Numeric precision (Lightning Fabric)."""
    checkpoint_every: int = Field(1000, ge=1)
    """Steps between checkpoints."""
    checkpoints_kept: int = Field(2, ge=1)
    """How many of the last checkpoints are kept."""
    log_every: int = Field(50, ge=1)
    """Steps between points of the curves; each is the mean over these steps."""
    validate_every: int = Field(5000, ge=1)
    """Steps between points of the held-out loss."""
    held_out_cases: int = Field(32, ge=1)
    """How many held-out cases (validation and test) the held-out loss is measured on."""


class SemanticSynthesizerTraining(Section):
    """Stage I."""

    model: SemanticSynthesizerSettings = SemanticSynthesizerSettings()  # type: ignore[call-arg]
    """Network, diffusion and switches."""
    optimization: OptimizationSettings = OptimizationSettings(steps=200_000, batch=4, learning_rate=1e-4)  # type: ignore[call-arg]
    """How it is trained."""


class ContrastAutoencoderTraining(Section):
    """Stage II."""

    model: ContrastAutoencoderSettings = ContrastAutoencoderSettings()  # type: ignore[call-arg]
    """Network, losses and switches."""
    optimization: OptimizationSettings = OptimizationSettings(steps=150_000, batch=2, learning_rate=1e-4)  # type: ignore[call-arg]
    """How it is trained."""


class LatentGeneratorTraining(Section):
    """Stage III."""

    model: LatentGeneratorSettings = LatentGeneratorSettings()  # type: ignore[call-arg]
    """Network, scheduler and switches."""
    optimization: OptimizationSettings = OptimizationSettings(steps=200_000, batch=8, learning_rate=1e-4)  # type: ignore[call-arg]
    """How it is trained."""


class TrainSettings(Section):
    """Settings of the phase `train`."""

    semantic_synthesizer: SemanticSynthesizerTraining = SemanticSynthesizerTraining()
    """Stage I: prompt → label map."""
    contrast_autoencoder: ContrastAutoencoderTraining = ContrastAutoencoderTraining()
    """Stage II: CT ↔ latent."""
    latent_generator: LatentGeneratorTraining = LatentGeneratorTraining()
    """Stage III: prompt + label map → CT latent."""
