"""Settings of the three networks and of the text encoder; imports nothing heavy."""

from typing import Literal

from pydantic import Field, model_validator

from guidegen.section import Section

EMBEDDED_ENCODER = "all-MiniLM-L6-v2"


class EncoderSettings(Section):
    """The frozen text encoder."""

    name: str = EMBEDDED_ENCODER
    """Name or folder of a Hugging Face model; the default comes inside a package and needs no network."""
    max_tokens: int = Field(128, ge=8)
    """Longer prompts are cut here."""


class ConditioningSettings(Section):
    """How text and numbers steer a generator."""

    text: bool = True
    """Off: the prompt is replaced by the empty one."""
    text_dropped: float = Field(0.1, ge=0, lt=1)
    """Share of training samples that see the empty prompt, for classifier-free guidance."""
    knowledge_injection: bool = True
    """Learnable queries read the prompt and answer each U-Net level, and facts that are read from it (layout,
    enhancement) are shown; off: the levels read the tokens themselves, and nothing else is shown."""
    queries: int = Field(16, ge=1)
    """Learnable queries of the knowledge injection."""
    injection_layers: int = Field(2, ge=1)
    """Layers of its transformer decoder."""
    injection_width: int = Field(128, ge=8, multiple_of=8)
    """Width of its queries and responses."""
    text_summary: bool = True
    """Add the mean of the token states to all answers and to the time embedding."""
    numeric_conditions: bool = True
    """Condition on voxel spacing and covered range; off: both are treated as unknown."""
    numeric_dropped: float = Field(0.5, ge=0, lt=1)
    """Share of training samples for which each of the two is dropped, so that text alone must also carry it."""


class UNetSettings(Section):
    """A U-Net of MONAI's `DiffusionModelUNet` blocks."""

    channels: tuple[int, ...] = (32, 64, 128, 256, 256)
    """Channels per level, multiples of `norm_groups` and `head_channels`; each level halves the grid."""
    blocks: int = Field(2, ge=1)
    """Residual blocks per level."""
    patch: int = Field(1, ge=1)
    """Voxels per axis that the first level sees as one; 2 makes it eight times smaller, to pay for more channels."""
    attention_grid: int = Field(16, ge=1)
    """Levels whose grid is at most this wide have self-attention and cross-attention to the prompt."""
    head_channels: int = Field(32, ge=1)
    """Channels per attention head."""
    norm_groups: int = Field(8, ge=1)
    """Groups of the group normalisation."""

    @model_validator(mode="after")
    def _check_channels(self) -> "UNetSettings":
        for width in self.channels:
            if width % self.norm_groups or width % self.head_channels:
                raise ValueError(f"channels: {width} is no multiple of norm_groups and head_channels")
        return self


class SemanticSynthesizerSettings(Section):
    """Stage I: prompt → label map by categorical diffusion."""

    timesteps: int = Field(1000, ge=2)
    """Steps T of the diffusion (cosine schedule)."""
    time_exponent: float = Field(1.5, ge=0)
    """Training steps t are drawn ∝ t to this power."""
    kl_weight: float = Field(1.0, ge=0)
    """Weight of the KL between the true and the predicted posterior."""
    cross_entropy_weight: float = Field(0.0, ge=0)
    """Weight of the cross-entropy of the predicted x₀."""
    likelihood: bool = True
    """Add log q(x_t | x_0) to the logits (Bayes' rule), so that the network need not learn to copy what is kept."""
    foreground_weight: float = Field(1.0, gt=0)
    """Weight of voxels that are not background."""
    class_balance: float = Field(0.0, ge=0, le=1)
    """A voxel weighs the frequency of its class to minus this power, so that small structures such as tumours are
    learned in time. The logits are adjusted for all weights: none makes a class larger or more frequent."""
    unet: UNetSettings = UNetSettings()  # type: ignore[call-arg]
    """The network."""
    layout: bool = False
    """Show the network the layout (volume and centre of each class): the true one in training, the prompt's when
    sampling."""
    layout_ridge: float = Field(100.0, gt=0)
    """Strength of the ridge regression that reads it."""
    conditioning: ConditioningSettings = ConditioningSettings()  # type: ignore[call-arg]
    """Text and numbers."""
    guidance: float = Field(2.0, ge=0)
    """Classifier-free guidance on the text when sampling; 1 is none."""
    sampling_steps: int = Field(50, ge=1)
    """Steps when sampling."""
    final_trust: float = Field(1.0, ge=0, le=1)
    """Weight of the likelihood term at the last sampling step; few large steps leave stray voxels, which a weight below
    1 lets their surroundings overrule."""
    sampling_spacing: Literal["even", "cosine"] = "even"
    """How the sampling steps lie on 1 … T."""
    sampling_precision: Literal["float32", "bfloat16"] = "bfloat16"
    """Precision of the network when sampling; all else is float32."""


class ContrastAutoencoderSettings(Section):
    """Stage II: CT ↔ latent, 4× smaller per axis."""

    hu_range: tuple[float, float] = (-1024.0, 1024.0)
    """CT is clipped to this range (HU)."""
    channels: tuple[int, int, int] = (32, 64, 128)
    """Channels of the three levels."""
    blocks: int = Field(2, ge=1)
    """Residual blocks per level."""
    norm_groups: int = Field(8, ge=1)
    """Groups of the group normalisation."""
    latent_channels: int = Field(4, ge=1)
    """Channels of the latent."""
    label_pyramid: bool = True
    """Concatenate the label map at every level of encoder and decoder; off: the null label everywhere."""
    label_channels: int = Field(8, ge=1)
    """Channels of the embedded label map."""
    labels_dropped: float = Field(0.1, ge=0, lt=1)
    """Share of labelled training samples that see the null label."""
    class_means: bool = False
    """Code what differs from the mean of each class: every voxel sees its class's mean, of the CT in the encoder and of
    the latent in the decoder, and it is added to their output, so that a small organ's enhancement survives."""
    contrast_window: bool = True
    """Compare input and reconstruction through the same random window; off: the whole range only."""
    window_centre: tuple[float, float] = (-700.0, 300.0)
    """Range of the window centre w_c (HU), uniform."""
    window_half_width: tuple[float, float] = (100.0, 1000.0)
    """Range of the half-width w_r (HU), log-uniform."""
    whole_weight: float = Field(1.0, ge=0)
    """Weight of the L1 over the whole range."""
    window_weight: float = Field(1.0, ge=0)
    """Weight of the L1 inside the window."""
    kl_weight: float = Field(1e-6, ge=0)
    """Weight of the KL to the unit normal."""
    adversarial_weight: float = Field(0.02, ge=0)
    """Weight of the adversarial loss of each discriminator."""
    feature_weight: float = Field(0.1, ge=0)
    """Weight of the feature matching loss."""
    adversarial_start: float = Field(0.5, ge=0, le=1)
    """Share of the training after which the discriminators start."""
    discriminator_channels: int = Field(32, ge=1)
    """Channels of the first layer of both discriminators."""
    discriminator_layers: int = Field(3, ge=1)
    """Layers of both discriminators."""
    perceptual: str = "none"
    """Perceptual loss: `none`, or a TorchScript file in the study that maps windowed slices (B, 1, X, Y) to a list of
    features, e.g. of VGG or RadImageNet; networks for volumes (MedicalNet) do not fit."""
    perceptual_weight: float = Field(0.1, ge=0)
    """Weight of the perceptual loss."""
    crop: int | None = Field(128, ge=16, multiple_of=8)
    """Side of the training crops (CT voxels); empty: the whole volume."""
    whole_share: float = Field(0.1, ge=0, le=1)
    """Share of the training, at its end, that sees whole volumes, so that normalisation fits them."""
    parts: int | None = Field(None, ge=1)
    """Slabs in which volumes are encoded and decoded, with the same result within 1e-4: less memory, up to twice the
    time. Empty: 1, or more where the free memory is too small for the whole."""


class LatentGeneratorSettings(Section):
    """Stage III: prompt + label map → CT latent."""

    scheduler: Literal["rectified_flow", "ddpm", "ddim"] = "rectified_flow"
    """Rectified flow, or diffusion sampled by DDPM or DDIM."""
    timesteps: int = Field(1000, ge=2)
    """Steps of the scheduler in training."""
    class_balance: float = Field(0.0, ge=0, le=1)
    """A latent voxel weighs the frequency of its classes to minus this power, so that small organs are learned
    in time. As the label map is given, the best prediction stays the same."""
    unet: UNetSettings = UNetSettings(channels=(64, 128, 256, 256), attention_grid=16)  # type: ignore[call-arg]
    """The network."""
    enhancement: bool = False
    """Show the network the enhancement (mean latent of each class): the true one in training, the prompt's when
    sampling."""
    enhancement_ridge: float = Field(100.0, gt=0)
    """Strength of the ridge regression that reads it."""
    conditioning: ConditioningSettings = ConditioningSettings()  # type: ignore[call-arg]
    """Text and numbers."""
    guidance: float = Field(2.0, ge=0)
    """Classifier-free guidance on the text when sampling; 1 is none."""
    sampling_steps: int = Field(30, ge=1)
    """Steps when sampling; DDPM always walks all `timesteps`."""
    sampling_precision: Literal["float32", "bfloat16"] = "bfloat16"
    """Precision of the network when sampling; all else is float32."""
