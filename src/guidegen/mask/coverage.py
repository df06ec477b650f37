"""Where along the body a scan lies: positions on the spine, and the words for a covered range.

A position is 0 at the centre of T1 and 1 at the centre of L5 and grows downwards; it is the `coverage_top` and
`coverage_bottom` of all tables. Everything that speaks of covered regions (masks, phantoms, gates) uses this module.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from guidegen.statements import Region

_HEIGHTS_MM = {
    "C1": 15.0,
    "C2": 17.0,
    "C3": 17.0,
    "C4": 17.0,
    "C5": 17.0,
    "C6": 17.5,
    "C7": 19.0,
    "T1": 20.0,
    "T2": 20.0,
    "T3": 20.5,
    "T4": 21.0,
    "T5": 21.5,
    "T6": 22.0,
    "T7": 22.5,
    "T8": 23.0,
    "T9": 24.0,
    "T10": 25.5,
    "T11": 27.0,
    "T12": 29.0,
    "L1": 32.0,
    "L2": 34.0,
    "L3": 35.5,
    "L4": 36.0,
    "L5": 36.0,
    "S1": 32.0,
}
"""Typical adult height of each vertebra with its disc."""


def _place_vertebrae() -> dict[str, float]:
    names = list(_HEIGHTS_MM)
    heights = np.array(list(_HEIGHTS_MM.values()))
    centres = np.cumsum(heights) - heights / 2
    top, bottom = centres[names.index("T1")], centres[names.index("L5")]
    return {f"vertebrae_{name}": float((c - top) / (bottom - top)) for name, c in zip(names, centres, strict=True)}


VERTEBRA_POSITIONS: dict[str, float] = _place_vertebrae()
"""Position of each vertebra's centre in a typical adult, by source label."""
ORGAN_POSITIONS: dict[str, float] = {
    "heart": 0.40,
    "liver": 0.615,
    "spleen": 0.60,
    "stomach": 0.605,
    "adrenal_gland_right": 0.615,
    "adrenal_gland_left": 0.65,
    "pancreas": 0.70,
    "kidney_right": 0.715,
    "kidney_left": 0.71,
    "gallbladder": 0.73,
    "duodenum": 0.78,
    "urinary_bladder": 1.28,
}
"""Position of organ centres: means of two full label maps of the TotalSegmentator dataset; used without vertebrae."""
REGION_RANGES: dict[Region, tuple[float, float]] = {
    Region.CHEST: (0.0, 0.47),
    Region.UPPER_ABDOMEN: (0.47, 0.79),
    Region.ABDOMEN: (0.79, 1.0),
    Region.PELVIS: (1.0, 1.35),
}
"""T1 to the dome of the diaphragm (T10), to the middle of the lumbar spine (L2/L3), to L5, to the femoral heads."""
COVERED_SHARE = 0.5
"""A region counts as covered when at least this share of its range is."""
TYPICAL_LENGTH_MM = 420.0
"""Distance of the centres of T1 and L5 in a typical adult."""
_LENGTH_SPREAD_MM = 40.0
_VERTEBRA_SPREAD_MM = 4.0
_ORGAN_SPREAD_MM = 20.0


def name_regions(top: float, bottom: float) -> tuple[Region, Region]:
    """Return the first and last region that a range of positions covers.

    A region is covered when at least half of it lies in the range; where none is, the one with the largest overlap
    stands for the range.
    """
    overlaps = {region: min(bottom, high) - max(top, low) for region, (low, high) in REGION_RANGES.items()}
    covered = [r for r, (low, high) in REGION_RANGES.items() if overlaps[r] >= COVERED_SHARE * (high - low) - 1e-9]
    if not covered:
        covered = [max(overlaps, key=lambda region: overlaps[region])]
    return covered[0], covered[-1]


@dataclass(frozen=True)
class BodyAxis:
    """Linear relation of world z and position on the spine: z = origin_mm − length_mm · position."""

    origin_mm: float
    """World z of the centre of T1."""
    length_mm: float
    """Distance from T1 to L5."""
    basis: str
    """`vertebrae` or `organs`: what it was measured on."""

    def locate(self, z_mm: float) -> float:
        """Return the position of a world z coordinate."""
        return (self.origin_mm - z_mm) / self.length_mm

    def place(self, position: float) -> float:
        """Return the world z coordinate (mm) of a position."""
        return self.origin_mm - self.length_mm * position


def measure_axis(profiles: np.ndarray, z_mm: np.ndarray, source_ids: Mapping[str, int]) -> BodyAxis | None:
    """Measure the body axis on a source label map.

    Args:
        profiles: (256, Z) voxels per source id and slice (`count_slices`).
        z_mm: (Z,) world z of the slice centres, ascending.
        source_ids: id by source label.

    Returns:
        The axis through the centres of T1 and L5 where both are whole; else a least-squares fit of all whole
        vertebrae to their typical positions, whose length is drawn to the typical one the less of the spine is seen;
        the same with organs where no vertebra is whole; None where neither is.
    """
    spine = _find_centres(profiles, z_mm, source_ids, VERTEBRA_POSITIONS)
    if "vertebrae_T1" in spine and "vertebrae_L5" in spine:
        length = spine["vertebrae_T1"] - spine["vertebrae_L5"]
        if length > 0:
            return BodyAxis(spine["vertebrae_T1"], length, "vertebrae")
    if spine:
        return _fit_axis(spine, VERTEBRA_POSITIONS, _VERTEBRA_SPREAD_MM, "vertebrae")
    organs = _find_centres(profiles, z_mm, source_ids, ORGAN_POSITIONS)
    return _fit_axis(organs, ORGAN_POSITIONS, _ORGAN_SPREAD_MM, "organs") if organs else None


def count_slices(source: np.ndarray) -> np.ndarray:
    """Return (256, Z) voxels per source id and slice of a (X, Y, Z) uint8 label map."""
    counts = [np.bincount(source[:, :, k].ravel(), minlength=256) for k in range(source.shape[2])]
    return np.stack(counts, axis=1)


def slice_heights(shape: Sequence[int], affine: np.ndarray) -> np.ndarray:
    """Return (Z,) world z (mm) of the slice centres of a RAS+ grid, taken at the middle of each slice."""
    middle = affine[2, 3] + affine[2, 0] * (shape[0] - 1) / 2 + affine[2, 1] * (shape[1] - 1) / 2
    return middle + affine[2, 2] * np.arange(shape[2])


def _find_centres(
    profiles: np.ndarray, z_mm: np.ndarray, source_ids: Mapping[str, int], names: Mapping[str, float]
) -> dict[str, float]:
    """World z of the centres of labels that end inside the volume; specks (under a tenth of the median) are ignored."""
    whole: dict[str, float] = {}
    sizes: dict[str, int] = {}
    for name in names:
        profile = profiles[source_ids[name]]
        size = int(profile.sum())
        if size and not profile[0] and not profile[-1]:
            whole[name], sizes[name] = float(profile @ z_mm / size), size
    if names is ORGAN_POSITIONS or not sizes:
        return whole
    smallest = 0.1 * float(np.median(list(sizes.values())))
    return {name: z for name, z in whole.items() if sizes[name] >= smallest}


def _fit_axis(centres: Mapping[str, float], positions: Mapping[str, float], spread_mm: float, basis: str) -> BodyAxis:
    """Ridge fit: least squares in z with a normal prior on the length, relative weight (spread / spread of length)²."""
    u = np.array([positions[name] for name in centres])
    z = np.array(list(centres.values()))
    weight = (spread_mm / _LENGTH_SPREAD_MM) ** 2
    du, dz = u - u.mean(), z - z.mean()
    length = float((weight * TYPICAL_LENGTH_MM - du @ dz) / (weight + du @ du))
    length = float(np.clip(length, 0.5 * TYPICAL_LENGTH_MM, 1.5 * TYPICAL_LENGTH_MM))
    return BodyAxis(float(z.mean() + length * u.mean()), length, basis)
