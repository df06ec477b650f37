"""Config section of the phase `train`."""

from typing import Literal

from pydantic import Field, field_validator

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
    """Batches per optimizer step over all GPUs: 4 GPUs with 8 make 2 each, so that GPUs change speed, not results."""
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
    activation_checkpointing: bool = False
    """Compute activations of blocks again in the backward pass: less memory, about a third more time."""
    compile: bool = False
    """Compile the network (torch.compile); needs a C++ compiler, and the first step takes minutes."""
    checkpoint_every: int = Field(1000, ge=1)
    """Steps between checkpoints."""
    checkpoints_kept: int = Field(2, ge=1)
    """How many of the last checkpoints are kept; the one with the best held-out loss is kept besides."""
    log_every: int = Field(50, ge=1)
    """Steps between points of the curves; each is the mean over these steps."""
    validate_every: int = Field(5000, ge=1)
    """Steps between points of the held-out loss, each with sample pictures and a checkpoint."""
    held_out_cases: int = Field(32, ge=1)
    """How many held-out cases (validation and test) the held-out loss is measured on."""


class AugmentationSettings(Section):
    """Random changes of a training case, other ones each time; never a mirror image, which would be wrong anatomy."""

    rotation: float = Field(0.0, ge=0, le=30)
    """Largest rotation about each axis (degrees)."""
    shift: float = Field(0.0, ge=0, le=0.25)
    """Largest shift along each axis, as a share of the grid."""


class SemanticSynthesizerTraining(Section):
    """Stage I."""

    model: SemanticSynthesizerSettings = SemanticSynthesizerSettings()  # type: ignore[call-arg]
    """Network, diffusion and switches."""
    augmentation: AugmentationSettings = AugmentationSettings()  # type: ignore[call-arg]
    """Changes of the label maps. Stage II sees random crops (`crop`), and stage III stored latents as they are."""
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

    devices: int = Field(1, ge=1)
    """GPUs per node that train one stage together (without GPUs: processes)."""
    nodes: int = Field(1, ge=1)
    """Nodes that train one stage together."""
    strategy: Literal["ddp", "fsdp"] = "ddp"
    """How several GPUs share the work: each holds the whole network (ddp), or a part of it (fsdp)."""
    collection_shares: dict[str, float] = {}
    """Share of the training samples that come from a collection, e.g. `{private_ct: 0.5}`; the collections that are not
    named share the rest by their size. Empty: every case is seen equally often."""
    semantic_synthesizer: SemanticSynthesizerTraining = SemanticSynthesizerTraining()
    """Stage I: prompt → label map."""
    contrast_autoencoder: ContrastAutoencoderTraining = ContrastAutoencoderTraining()
    """Stage II: CT ↔ latent."""
    latent_generator: LatentGeneratorTraining = LatentGeneratorTraining()
    """Stage III: prompt + label map → CT latent."""

    @field_validator("collection_shares")
    @classmethod
    def _check_shares(cls, shares: dict[str, float]) -> dict[str, float]:
        wrong = {name: share for name, share in shares.items() if not 0 < share <= 1}
        if wrong or sum(shares.values()) > 1 + 1e-9:
            raise ValueError(f"shares must lie in (0, 1] and add up to at most 1, found {wrong or shares}")
        return shares
