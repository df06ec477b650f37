"""Config section of the phase `prepare`."""

from typing import Self

from pydantic import Field, model_validator

from guidegen.models.settings import EncoderSettings
from guidegen.section import Section


class SplitShares(Section):
    """Shares of the patients that go to each split; they must add up to 1."""

    train: float = Field(0.7, gt=0, le=1)
    """Patients that models and segmenters learn from."""
    val: float = Field(0.1, ge=0, lt=1)
    """Patients that are looked at while training."""
    test: float = Field(0.2, ge=0, lt=1)
    """Patients that are held out for every figure of the report."""

    @model_validator(mode="after")
    def _check_sum(self) -> Self:
        total = self.train + self.val + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"train + val + test must be 1, found {total:g}")
        return self


class PrepareSettings(Section):
    """The cohort: which patient is in which split, and the arrays and token states that training reads."""

    grid: int = Field(128, ge=8, le=512, multiple_of=8)
    """Edge of the label grid in voxels; the CT grid has twice as many over the same box."""
    trunk_only: bool = True
    """What of the CT is no trunk (table, arms that lie apart from it) becomes air."""
    splits: SplitShares = SplitShares()  # type: ignore[call-arg]
    """Applies to patients that are new to `data/cohort/splits.json`; old patients stay where they are."""
    encoder: EncoderSettings = EncoderSettings()  # type: ignore[call-arg]
    """Turns prompts into token states; the models are bound to it."""
