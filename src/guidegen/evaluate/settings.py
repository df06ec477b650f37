"""Config section of the phase `evaluate`."""

from typing import Self

from pydantic import Field, model_validator

from guidegen.section import Section

EVALUATIONS = ("training", "segmentation", "adherence", "intensity", "fidelity", "memorisation")
"""Files of `results/evaluation/`."""


class NetworkSettings(Section):
    """Feature networks as TorchScript files, relative to the study; empty takes fixed random convolutions.

    Images are float32 in [0, 1] over `hu_window`, features (B, F) or (B, F, …).
    """

    planes: str = ""
    """FID per plane, on slices (B, 1, X, Y)."""
    volume: str = ""
    """FID in 3D features, on whole volumes (B, 1, X, Y, Z)."""
    clips: str = ""
    """FVD-like distance, on stacks of axial slices (B, 1, X, Y, slices)."""
    lpips: str = ""
    """LPIPS: distances (B,) of two batches of slices (B, 3, X, Y) in [-1, 1]; empty leaves LPIPS out."""


class EvaluateSettings(Section):
    """How the figures are made: intervals, the protocol of fidelity, thresholds, and what counts as seen."""

    adherence_set: str = "adherence"
    """Synthetic set on which prompts are compared with what was generated; its numeric conditions must be empty."""
    bootstrap: int = Field(2000, ge=100)
    """Resamples behind each interval."""
    permutations: int = Field(2000, ge=100)
    """Permutations of the requested statements behind each p value."""
    organ_min_voxels: int = Field(4, ge=1)
    """An organ with fewer voxels on the label grid counts as absent."""
    tumour_min_voxels: int = Field(4, ge=1)
    """A tumour whose largest connected part has fewer voxels on the label grid counts as absent."""
    surface_tolerance_mm: float = Field(3.0, gt=0)
    """Tolerance of the surface Dice; it should not lie below the spacing of the label grid."""
    synthetic_share: float = Field(0.9, gt=0)
    """Claimed of synthetic cases alone: the share of the Dice (mean of organs) of all real cases that they reach."""
    inferiority_margin: float = Field(0.02, ge=0)
    """Claimed of real and synthetic cases together: they are worse than the real ones alone by less than this Dice."""
    hu_window: tuple[float, float] = (-1000.0, 1000.0)
    """CT is clipped to this range (HU) before feature networks, MS-SSIM and memorisation see it."""
    networks: NetworkSettings = NetworkSettings.model_validate({})
    """Feature networks of the fidelity measures."""
    fidelity_cases: int = Field(200, ge=2)
    """Cases of each synthetic set and of the test split that fidelity is measured on, and half of those of the training
    split; where there are fewer, all."""
    slices: int = Field(16, ge=2)
    """Slices of each plane of a case."""
    clips: int = Field(4, ge=1)
    """Stacks of axial slices of a case."""
    clip_length: int = Field(16, ge=4)
    """Slices of a stack."""
    floor_draws: int = Field(10, ge=2)
    """How often real training cases are drawn, as many as the set has, to be compared with the real test cases."""
    diversity_pairs: int = Field(200, ge=2)
    """Pairs of cases that MS-SSIM is measured on."""
    memorised_below: float = Field(0.5, gt=0, lt=1)
    """A generated case counts as memorised where its distance to the nearest training case is below this share of the
    median distance of held-out real cases to theirs (and below those of 95 % of them)."""

    @model_validator(mode="after")
    def _check_window(self) -> Self:
        if self.hu_window[0] >= self.hu_window[1]:
            raise ValueError(f"hu_window goes from {self.hu_window[0]:g} to {self.hu_window[1]:g} HU; swap its ends")
        return self
