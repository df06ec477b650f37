"""Gates: is a pair of label map and CT anatomically and radiologically plausible?

Each gate says passed (true), failed (false), or not applicable (none) with the reason; a gate that needs structures
which the covered range does not show is not applicable.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from guidegen.labels import LabelTable
from guidegen.synthesize.settings import GateSettings

RIGHT_OF = (("liver", "spleen"), ("liver", "stomach"), ("vertebrae", "heart"))
"""The first structure's centre lies on the patient's right of the second's."""
ABOVE = (
    *(("lung", "liver"), ("lung", "kidney"), ("heart", "liver"), ("heart", "kidney"), ("liver", "urinary_bladder")),
    *(("kidney", "urinary_bladder"), ("spleen", "urinary_bladder"), ("stomach", "urinary_bladder")),
)
"""The first structure's centre lies above the second's."""
SEPARATOR = " | "


@dataclass(frozen=True)
class GateResult:
    """Outcome of one gate; `passed` is None where it does not apply."""

    passed: bool | None
    detail: str = ""


@dataclass(frozen=True)
class Reference:
    """Class volumes of real training cases: `volumes` (N, classes) in ml, `coverage` the covered range of each."""

    volumes: np.ndarray
    coverage: tuple[tuple[str, str], ...]

    def select(self, coverage: tuple[str, str], fewest: int) -> np.ndarray:
        """Return the volumes of the cases with this covered range, or of all where there are too few."""
        chosen = [index for index, covered in enumerate(self.coverage) if covered == coverage]
        return self.volumes[chosen] if len(chosen) >= fewest else self.volumes


def measure_volumes(labels: np.ndarray, spacing: Sequence[float], classes: int) -> np.ndarray:
    """Return the volume of each class in ml, shape (classes,)."""
    return np.bincount(labels.ravel(), minlength=classes) * (float(np.prod(spacing)) / 1000)


def check_pair(
    labels: np.ndarray,
    ct: np.ndarray | None,
    spacing: Sequence[float],
    table: LabelTable,
    settings: GateSettings,
    reference: Reference | None = None,
    statements: Mapping[str, object] | None = None,
) -> dict[str, GateResult]:
    """Run all gates on one pair.

    Args:
        labels: uint8 (X, Y, Z) in RAS+, on the label grid.
        ct: HU on the same grid or on one that is a whole multiple finer; None for a label map alone.
        spacing: millimetres per voxel of the label grid.
        table: the torso classes.
        settings: thresholds.
        reference: volumes of real cases; without it the gate `volume` does not apply.
        statements: what the prompt states; `absent` organs are not expected.

    Returns:
        Gate name → result.
    """
    counts = np.bincount(labels.ravel(), minlength=len(table))
    present = {entry.name for entry in table.classes[1:] if counts[entry.id] >= settings.min_voxels}
    names = sorted(present & {name for pair in (*RIGHT_OF, *ABOVE) for name in pair})
    found = ndimage.center_of_mass(labels > 0, labels, [table.ids[name] for name in names]) if names else []
    centres = dict(zip(names, np.asarray(found), strict=True))
    return {
        "volume": _check_volumes(labels, spacing, table, settings, reference, statements or {}),
        "left_right": _check_pairs(centres, RIGHT_OF, 0, "right of"),
        "order": _check_pairs(centres, ABOVE, 2, "above"),
        "hu": _check_hu(labels, ct, table, settings, present),
    }


def list_failed(gates: Mapping[str, GateResult]) -> list[str]:
    """Return `gate (detail)` of each gate that failed, at most three details of each."""
    failed = {name: result.detail.split(SEPARATOR) for name, result in gates.items() if result.passed is False}
    return [f"{name} ({SEPARATOR.join(details[:3])}{' | …' * (len(details) > 3)})" for name, details in failed.items()]


def _check_pairs(
    centres: Mapping[str, np.ndarray], pairs: Sequence[tuple[str, str]], axis: int, relation: str
) -> GateResult:
    shown = [pair for pair in pairs if pair[0] in centres and pair[1] in centres]
    if not shown:
        return GateResult(None, "none of the structures that it compares is there")
    wrong = [f"{a} not {relation} {b}" for a, b in shown if centres[a][axis] <= centres[b][axis]]
    return GateResult(not wrong, SEPARATOR.join(wrong))


def _check_volumes(
    labels: np.ndarray,
    spacing: Sequence[float],
    table: LabelTable,
    settings: GateSettings,
    reference: Reference | None,
    statements: Mapping[str, object],
) -> GateResult:
    if reference is None or not len(reference.volumes):
        return GateResult(None, "no real cases to compare with")
    coverage = (str(statements.get("coverage_first") or ""), str(statements.get("coverage_last") or ""))
    real = reference.select(coverage, settings.reference_cases)
    volumes = measure_volumes(labels, spacing, len(table))
    absent = {str(name).split()[-1] for name in (statements.get("absent") or ())}  # type: ignore[union-attr]
    cut = set(np.unique(labels[:, :, [0, -1]]))
    checked, wrong = 0, []
    for entry in table.classes[1:]:
        seen = real[:, entry.id][real[:, entry.id] > 0]
        expected = len(seen) >= settings.expected_share * len(real) and entry.name not in absent
        if not len(seen) or entry.name == "tumour" or not (expected or volumes[entry.id]):
            continue
        checked += 1
        low = 0.0 if entry.id in cut else seen.min() / settings.volume_factor
        high = seen.max() * settings.volume_factor
        if not low <= volumes[entry.id] <= high:
            wrong.append(f"{entry.name} {volumes[entry.id]:.0f} ml instead of {low:.0f} to {high:.0f}")
    if not checked:
        return GateResult(None, "no class to compare")
    return GateResult(len(wrong) <= (1 - settings.volume_share) * checked + 1e-9, SEPARATOR.join(wrong))


def _check_hu(
    labels: np.ndarray, ct: np.ndarray | None, table: LabelTable, settings: GateSettings, present: set[str]
) -> GateResult:
    if ct is None or not present:
        return GateResult(None, "no CT" if ct is None else "no structure")
    fine = upsample_labels(labels, ct.shape[0])
    wrong = []
    for entry in table.classes[1:]:
        if entry.name in present:
            median = float(np.median(ct[fine == entry.id]))
            if not entry.hu_low <= median <= entry.hu_high:
                wrong.append(f"{entry.name} {median:.0f} HU instead of {entry.hu_low:.0f} to {entry.hu_high:.0f}")
    return GateResult(len(wrong) <= (1 - settings.hu_share) * len(present) + 1e-9, SEPARATOR.join(wrong))


def upsample_labels(labels: np.ndarray, size: int) -> np.ndarray:
    """Repeat each voxel so that a label map (n, n, n) fills the same box on a grid of `size`, a multiple of n."""
    factor = size // labels.shape[0]
    return labels if factor == 1 else labels.repeat(factor, 0).repeat(factor, 1).repeat(factor, 2)
