"""Config section of the phase `segment`."""

import re
from dataclasses import dataclass
from typing import Literal, Self

from pydantic import Field, model_validator

from guidegen.section import Section


class ArmSettings(Section):
    """What the segmenter of one arm learns from; all arms are judged on the same real test patients."""

    real: bool = False
    """Real cases of the training split that have CT and labels."""
    synthetic: str = ""
    """A set of `synthesize.sets`, or empty for none; sets made from prompts of test patients are refused."""
    finetune: bool = False
    """The first half of the steps on the synthetic cases alone, the second on the real ones alone; off: all mixed."""
    sizes: tuple[int, ...] = ()
    """Set sizes: a run for each with that many synthetic cases (real ones in an arm without); empty takes all."""

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        if not self.real and not self.synthetic:
            raise ValueError("an arm learns from real cases, a synthetic set, or both; this one from nothing")
        if self.finetune and not (self.real and self.synthetic):
            raise ValueError("an arm with `finetune` needs `real: true` and a synthetic set")
        if len(set(self.sizes)) < len(self.sizes) or min(self.sizes, default=1) < 1:
            raise ValueError(f"sizes are different numbers of cases, 1 or more; found {list(self.sizes)}")
        return self


class NnunetSettings(Section):
    """nnU-Net v2, by its own planning and training commands; the images are the study's grids."""

    planner: str = "ExperimentPlanner"
    """Planner, e.g. `nnUNetPlannerResEncM`."""
    trainer: str = "nnUNetTrainerNoMirroring"
    """Trainer; this one never mirrors, which would be wrong anatomy, and trains for 1000 epochs."""
    device: Literal["cuda", "cpu", "mps"] = "cuda"
    """Where it trains and predicts."""


class ExternalSettings(Section):
    """A test set from elsewhere in nnU-Net's raw layout."""

    folder: str
    """Folder with `imagesTs` and `labelsTs` (or `imagesTr` and `labelsTr` where those are not there); relative to the
    study."""
    labels: str
    """Table (TSV) with the columns `id` (of the set's labels) and `name` (torso class; empty: not scored)."""


@dataclass(frozen=True)
class Run:
    """One training of an arm: with a number of cases (None: all) and one of the seeds."""

    arm: str
    size: int | None
    seed: int

    @property
    def variant(self) -> str:
        """Arm and size; runs that differ in their seed only are averaged."""
        return self.arm if self.size is None else f"{self.arm}-n{self.size}"

    @property
    def name(self) -> str:
        """The name that files have: `arm`, `arm-n50`, `arm-s1`, `arm-n50-s1`; the first seed is not named."""
        return f"{self.variant}-s{self.seed}" if self.seed else self.variant


def _default_arms() -> dict[str, ArmSettings]:
    return {
        "real": ArmSettings(real=True),
        "synthetic": ArmSettings(synthetic="train"),
        "both": ArmSettings(real=True, synthetic="train"),
        "finetuned": ArmSettings(real=True, synthetic="train", finetune=True),
    }


class SegmentSettings(Section):
    """The segmenters that show what synthetic cases are worth, one per arm, set size and seed."""

    arms: dict[str, ArmSettings] = Field(default_factory=_default_arms)
    """Arms by name (`[a-z_]+`)."""
    seeds: int = Field(3, ge=1)
    """Trainings per arm and set size, each from other random weights."""
    drop_memorised: bool = False
    """Leave out synthetic cases that count as copies of training cases (`evaluate.memorised_below`)."""
    backend: Literal["segresnet", "dynunet", "swinunetr", "nnunet"] = "segresnet"
    """Network: SegResNet, DynUNet or SwinUNETR by MONAI, or nnU-Net v2 in the segmentation environment."""
    nnunet: NnunetSettings = NnunetSettings.model_validate({})
    """For the backend `nnunet`, which takes nothing of what follows but `resolution`."""
    external: dict[str, ExternalSettings] = Field(default_factory=dict[str, ExternalSettings])
    """Further test sets by name (`[a-z0-9_]+`), segmented by every run."""
    resolution: Literal["labels", "ct"] = "ct"
    """Grid that the network works on: the label grid (CT averaged over 2³ voxels) or the CT grid. Predictions are
    always stored on the label grid."""
    patch: int = Field(96, ge=16, multiple_of=8)
    """Edge of the training patches in voxels; volumes that are not larger are used whole."""
    filters: int = Field(32, ge=8, multiple_of=4)
    """Filters of the first level; each of the four levels doubles them. SwinUNETR takes multiples of 12."""
    steps: int = Field(20000, ge=1)
    """Training steps."""
    batch: int = Field(2, ge=1)
    """Patches per step."""
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    """Numeric precision of the network; bf16-mixed is faster, but oneDNN's gradients on CPUs are not finite where the
    lowest level has 2³ voxels."""
    learning_rate: float = Field(5e-4, gt=0)
    """Of AdamW; it falls to zero along a cosine."""
    intensity_jitter: float = Field(0.1, ge=0)
    """Standard deviation of the random scale and shift of the intensities, as a share of their range."""
    validations: int = Field(10, ge=1)
    """How often the mean Dice of the validation patients is measured, evenly over the training."""

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        for name in self.arms:
            if not re.fullmatch("[a-z_]+", name):
                raise ValueError(f"an arm's name has the letters a to z and _ only; found '{name}'")
        for name in self.external:
            if not re.fullmatch("[a-z0-9_]+", name):
                raise ValueError(f"an external set's name has a to z, 0 to 9 and _ only; found '{name}'")
        return self

    @model_validator(mode="after")
    def _check_backend(self) -> Self:
        if self.backend == "swinunetr" and (self.patch % 32 or self.patch < 64 or self.filters % 12):
            raise ValueError(
                f"swinunetr needs a patch of 64, 96, 128 … and filters that are a multiple of 12; found "
                f"patch {self.patch}, filters {self.filters}"
            )
        if self.backend != "swinunetr" and self.filters % 8:
            raise ValueError(f"filters must be a multiple of 8; found {self.filters}")
        if self.backend == "nnunet" and (tuned := [name for name, arm in self.arms.items() if arm.finetune]):
            raise ValueError(f"nnunet cannot fine-tune; take the arm '{tuned[0]}' out, or another backend")
        return self

    def list_runs(self) -> dict[str, Run]:
        """Return all trainings by name, in the order of the arms."""
        runs = [
            Run(name, size, seed)
            for name, arm in self.arms.items()
            for size in arm.sizes or (None,)
            for seed in range(self.seeds)
        ]
        return {run.name: run for run in runs}
