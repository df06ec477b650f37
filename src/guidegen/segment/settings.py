"""Config section of the phase `segment`."""

from typing import Literal, Self

from pydantic import Field, model_validator

from guidegen.section import Section


class ArmSettings(Section):
    """What the segmenter of one arm learns from; all arms are judged on the same real test patients."""

    real: bool = False
    """Real cases of the training split that have CT and labels."""
    synthetic: str = ""
    """A set of `synthesize.sets`, or empty for none; sets made from prompts of test patients are refused."""

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        if not self.real and not self.synthetic:
            raise ValueError("an arm learns from real cases, a synthetic set, or both; this one from nothing")
        return self


def _default_arms() -> dict[str, ArmSettings]:
    return {
        "real": ArmSettings(real=True),
        "synthetic": ArmSettings(synthetic="train"),
        "both": ArmSettings(real=True, synthetic="train"),
    }


class SegmentSettings(Section):
    """The segmenters that show what synthetic cases are worth: MONAI's SegResNet, one per arm."""

    arms: dict[str, ArmSettings] = Field(default_factory=_default_arms)
    """Arms by name (`[a-z_]+`)."""
    resolution: Literal["labels", "ct"] = "ct"
    """Grid that the network works on: the label grid (CT averaged over 2³ voxels) or the CT grid. Predictions are
    always stored on the label grid."""
    patch: int = Field(96, ge=16, multiple_of=8)
    """Edge of the training patches in voxels; volumes that are not larger are used whole."""
    filters: int = Field(32, ge=8, multiple_of=8)
    """Filters of the first level; each of the four levels doubles them."""
    steps: int = Field(20000, ge=1)
    """Training steps."""
    batch: int = Field(2, ge=1)
    """Patches per step."""
    learning_rate: float = Field(5e-4, gt=0)
    """Of AdamW; it falls to zero along a cosine."""
    intensity_jitter: float = Field(0.1, ge=0)
    """Standard deviation of the random scale and shift of the intensities, as a share of their range."""
    validations: int = Field(10, ge=1)
    """How often the mean Dice of the validation patients is measured, evenly over the training."""
