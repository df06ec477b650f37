"""Config section of the phase `convert`."""

from typing import Literal

from pydantic import Field

from guidegen.section import Section

Verdict = Literal["exclude", "fail"]
Repair = Literal["repair", "exclude", "fail"]


class IrregularityPolicy(Section):
    """What becomes of a series that is not one regular axial CT volume.

    `repair` mends it and says so in the manifest, `exclude` leaves the series out, `fail` counts as an error.
    """

    orientation: Verdict = "exclude"
    """Slices are not axial, or more than `max_oblique_degrees` from it."""
    mixed_orientation: Verdict = "exclude"
    """Slices have different orientations, after localizers were taken out."""
    localizer: Repair = "repair"
    """Localizers among the slices; repair: they are taken out."""
    slice_size: Verdict = "exclude"
    """Slices have different matrix sizes or pixel spacings."""
    duplicate_slice: Repair = "repair"
    """A slice is there twice with the same pixels; repair: one is used."""
    stacked_volumes: Repair = "exclude"
    """Phases or time points stacked in one series: different slices at one position, or acquisitions that alternate.
    Repair: where acquisition number or time tell regular volumes apart, the longest is used (of equally long ones the
    first) and no contrast phase is stated, because the description is of all of them."""
    missing_slice: Repair = "exclude"
    """A gap that is a multiple of the spacing; repair: the longest part without a gap is used, nothing is made up."""
    uneven_spacing: Repair = "exclude"
    """Other positions that are not evenly spaced; repair: the longest evenly spaced part is used."""
    gantry_tilt: Repair = "repair"
    """The slices are shifted against each other, so that the volume is sheared; repair: each is moved back within its
    plane, HU are interpolated linearly within slices only."""
    rescale: Verdict = "exclude"
    """Rescale slope or intercept is absent, not above zero, or differs between slices."""
    multi_frame: Verdict = "exclude"
    """Enhanced multi-frame objects."""
    too_few_slices: Verdict = "exclude"
    """Fewer than `min_slices`."""
    not_ct: Verdict = "exclude"
    """Not a monochrome 16-bit CT image, or values that cannot be HU."""


class ConvertSettings(Section):
    """How series become volumes in HU."""

    workers: int = Field(1, ge=1)
    """Series that one job converts at the same time."""
    min_slices: int = Field(10, ge=2)
    """Fewest slices of a volume."""
    max_oblique_degrees: float = Field(10.0, ge=0, le=45)
    """Largest angle between the slices' normal and the body's long axis."""
    position_tolerance_mm: float = Field(0.05, gt=0)
    """Largest distance of a slice from where even spacing puts it; scanners round positions."""
    tilt_tolerance_mm: float = Field(0.2, gt=0)
    """Largest sideways shift between first and last slice that does not count as gantry tilt; it is neglected."""
    irregular: IrregularityPolicy = IrregularityPolicy()
    """What becomes of irregular series."""
