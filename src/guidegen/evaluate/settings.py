"""Config section of the phase `evaluate`."""

from pydantic import Field

from guidegen.section import Section


class EvaluateSettings(Section):
    """How the figures are made: intervals, the adherence set, and what counts as seen."""

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
