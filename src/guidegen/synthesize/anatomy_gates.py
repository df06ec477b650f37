"""Gates on a label map: volumes, parts, and what lies right of or above what."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import ndimage

from guidegen.labels import TUMOUR, LabelTable
from guidegen.mask.measure import measure_parts
from guidegen.synthesize.pair import GateResult, Pair
from guidegen.synthesize.reference import Reference, measure_volumes
from guidegen.synthesize.settings import GateSettings

RIGHT_OF = (("liver", "spleen"), ("liver", "stomach"), ("vertebrae", "heart"))
"""The first structure's centre lies on the patient's right of the second's."""
ABOVE = (
    *(("lung", "liver"), ("lung", "kidney"), ("heart", "liver"), ("heart", "kidney"), ("liver", "urinary_bladder")),
    *(("kidney", "urinary_bladder"), ("spleen", "urinary_bladder"), ("stomach", "urinary_bladder")),
)
"""The first structure's centre lies above the second's."""
PARTS = {"spleen": 1, "kidney": 2, "liver": 1, "stomach": 1, "lung": 2, "urinary_bladder": 1, "heart": 1}
"""How many parts an organ has; classes of many or thin parts are not here."""


def check_volumes(pair: Pair, table: LabelTable, settings: GateSettings, reference: Reference | None) -> GateResult:
    """Compare each class's volume with the training cases of the same covered range."""
    if reference is None or not len(reference.volumes):
        return GateResult(None, ("no real cases to compare with",))
    real = reference.select(pair.said, settings.reference_cases)
    volumes = measure_volumes(pair.labels, pair.spacing, len(table))
    absent = {name.split()[-1] for name in pair.said.absent}
    cut = set(np.unique(pair.labels[:, :, [0, -1]]))
    checked, wrong = 0, []
    for entry in table.classes[1:]:
        seen = real[:, entry.id][real[:, entry.id] > 0]
        expected = len(seen) >= settings.expected_share * len(real) and entry.name not in absent
        if not len(seen) or entry.name == TUMOUR or not (expected or volumes[entry.id]):
            continue
        checked += 1
        low = 0.0 if entry.id in cut else seen.min() / settings.volume_factor
        high = seen.max() * settings.volume_factor
        if not low <= volumes[entry.id] <= high:
            wrong.append(f"{entry.name} {volumes[entry.id]:.0f} ml instead of {low:.0f} to {high:.0f}")
    if not checked:
        return GateResult(None, ("no class to compare",))
    return GateResult(len(wrong) <= (1 - settings.volume_share) * checked + 1e-9, tuple(wrong))


def check_components(pair: Pair, table: LabelTable, settings: GateSettings, present: set[str]) -> GateResult:
    """Find organs in pieces; a tumour inside an organ does not cut it."""
    shown = sorted(present & set(PARTS))
    if not shown:
        return GateResult(None, ("no organ of a known number of parts",))
    boxes = ndimage.find_objects(pair.labels, max_label=len(table))
    wrong, worst = [], 0.0
    for name in shown:
        box = boxes[table.ids[name] - 1]
        organ = pair.labels[box] == table.ids[name]
        numbered, _ = measure_parts(organ | (pair.labels[box] == table.ids.get(TUMOUR, 0)))
        sizes = np.sort(np.bincount(numbered[organ]))[::-1]
        stray = float(sizes[PARTS[name] :].sum() / sizes.sum())
        worst = max(worst, stray)
        if stray > settings.stray_share:
            wrong.append(f"{name} has {stray:.0%} of its voxels outside {PARTS[name]} part(s)")
    return GateResult(not wrong, tuple(wrong), worst)


def check_pairs(
    centres: Mapping[str, np.ndarray], pairs: Sequence[tuple[str, str]], axis: int, relation: str
) -> GateResult:
    """Compare the centres of pairs of structures along an axis."""
    shown = [pair for pair in pairs if pair[0] in centres and pair[1] in centres]
    if not shown:
        return GateResult(None, ("none of the structures that it compares is there",))
    wrong = [f"{a} not {relation} {b}" for a, b in shown if centres[a][axis] <= centres[b][axis]]
    return GateResult(not wrong, tuple(wrong))
