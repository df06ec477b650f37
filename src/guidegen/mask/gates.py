"""Quality gates on a label map: each returns flags `gate:finding`, none decides in silence."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from guidegen.labels import LabelTable
from guidegen.mask.backends import make_flag
from guidegen.mask.measure import LOOK_MM, Tumour, measure_parts
from guidegen.mask.resample import Grid
from guidegen.mask.settings import GateSettings

ORDER = (
    ("heart", "kidney"),
    ("heart", "urinary_bladder"),
    ("lung", "kidney"),
    ("lung", "urinary_bladder"),
    ("liver", "urinary_bladder"),
    ("kidney", "urinary_bladder"),
    ("spleen", "urinary_bladder"),
)
"""Pairs of classes: the centre of the first lies above that of the second."""
SIDED = (
    ("kidney_left", "kidney_right"),
    ("adrenal_gland_left", "adrenal_gland_right"),
    ("lung_lower_lobe_left", "lung_lower_lobe_right"),
    ("lung_upper_lobe_left", "lung_upper_lobe_right"),
    ("hip_left", "hip_right"),
    ("femur_left", "femur_right"),
    ("spleen", "liver"),
)
"""Pairs of source labels: the first lies to the patient's left of the second."""


@dataclass(frozen=True)
class LabelledCase:
    """A finished label map and what was measured on it."""

    source: np.ndarray
    torso: np.ndarray
    grid: Grid
    organs: Mapping[str, dict[str, float]]
    tumour: Tumour | None


def check_gates(case: LabelledCase, labels: LabelTable, settings: GateSettings) -> list[str]:
    """Return the flags of all gates that the case misses, in a fixed order."""
    boxes = ndimage.find_objects(case.torso, max_label=len(labels) - 1)
    flags = [
        *_check_intensity(case, labels),
        *_check_volumes(case, labels, boxes, settings),
        *_check_components(case, labels, boxes, settings),
        *_check_sides(case, labels, settings),
        *_check_order(case, labels, boxes, settings),
        *_check_truncation(case, labels, settings),
    ]
    # In thick slices a tumour that touches its organ at a corner is more than a few millimetres from it.
    reach = max(settings.tumour_touch_mm, 1.5 * float(case.grid.spacing_mm.max()))
    if case.tumour and case.tumour.gap_mm > reach:
        gap, organ = case.tumour.gap_mm, case.tumour.gap_to or "nearest organ"
        far = f"{gap:.0f} mm" if np.isfinite(gap) else f"more than {LOOK_MM:.0f} mm"
        lies = f"; it lies in {case.tumour.site}" if case.tumour.site not in ("", organ) else ""
        flags.append(make_flag("tumour_place", f"{far} from the {organ}{lies}"))
    return flags


def _check_intensity(case: LabelledCase, labels: LabelTable) -> list[str]:
    flags = []
    for entry in labels.classes[1:]:
        hu = case.organs.get(entry.name, {}).get("hu")
        if hu is not None and not entry.hu_low <= hu <= entry.hu_high:
            flags.append(make_flag("hu", f"{entry.name}={hu:.0f} not in {entry.hu_low:.0f}..{entry.hu_high:.0f}"))
    return flags


def _check_volumes(case: LabelledCase, labels: LabelTable, boxes: list, settings: GateSettings) -> list[str]:
    flags = []
    for name, (low, high) in settings.volume_ml.items():
        volume = case.organs.get(name, {}).get("ml")
        if volume is None:
            continue
        box = boxes[labels.ids[name] - 1]
        cut = any(s.start <= 1 or s.stop >= n - 1 for s, n in zip(box, case.torso.shape, strict=True))
        if volume > high or (volume < low and not cut):
            flags.append(make_flag("volume", f"{name}={volume:.1f} ml not in {low:g}..{high:g}"))
    return flags


def _check_components(case: LabelledCase, labels: LabelTable, boxes: list, settings: GateSettings) -> list[str]:
    flags = []
    for name, allowed in settings.components.items():
        if name not in case.organs:
            continue
        # A tumour inside an organ must not cut it in two.
        box = boxes[labels.ids[name] - 1]
        part = case.torso[box]
        mask = (part == labels.ids[name]) | (part == len(labels) - 1)
        count = int((measure_parts(mask)[1] * case.grid.voxel_ml >= settings.component_ml).sum())
        if count > allowed:
            flags.append(make_flag("components", f"{name}={count} parts; at most {allowed}"))
    return flags


def _check_sides(case: LabelledCase, labels: LabelTable, settings: GateSettings) -> list[str]:
    flags = []
    boxes = ndimage.find_objects(case.source, max_label=max(labels.source_ids.values()))
    for left, right in SIDED:
        xs = [_middle_x(case.source, boxes[labels.source_ids[n] - 1], labels.source_ids[n]) for n in (left, right)]
        if xs[0] is None or xs[1] is None:
            continue
        offset = (xs[1] - xs[0]) * case.grid.spacing_mm[0]
        if offset < -settings.side_margin_mm:
            flags.append(make_flag("left_right", f"{right} lies {-offset:.0f} mm left of {left}"))
    return flags


def _middle_x(source: np.ndarray, box: tuple[slice, ...] | None, value: int) -> float | None:
    if box is None:
        return None
    counts = (source[box] == value).sum(axis=(1, 2))
    return float(np.arange(len(counts)) @ counts / counts.sum()) + box[0].start


def _check_order(case: LabelledCase, labels: LabelTable, boxes: list, settings: GateSettings) -> list[str]:
    flags = []
    for upper, lower in ORDER:
        if upper not in case.organs or lower not in case.organs:
            continue
        zs = []
        for name in (upper, lower):
            box = boxes[labels.ids[name] - 1]
            counts = (case.torso[box] == labels.ids[name]).sum(axis=(0, 1))
            zs.append(float(np.arange(len(counts)) @ counts / counts.sum()) + box[2].start)
        offset = (zs[0] - zs[1]) * case.grid.spacing_mm[2]
        if offset < -settings.order_margin_mm:
            flags.append(make_flag("order", f"{upper} lies {-offset:.0f} mm below {lower}"))
    return flags


def _check_truncation(case: LabelledCase, labels: LabelTable, settings: GateSettings) -> list[str]:
    """Cut by the sides of the field of view; the ends along z are the covered range and no fault."""
    sides = np.concatenate([case.torso[i].ravel() for i in (0, -1)] + [case.torso[:, i].ravel() for i in (0, -1)])
    counts = np.bincount(sides, minlength=len(labels))
    flags = []
    for entry in labels.classes[1:]:
        volume = counts[entry.id] * case.grid.voxel_ml
        if volume > settings.truncated_ml:
            flags.append(make_flag("truncated", f"{entry.name}={volume:.0f} ml at the edge"))
    return flags
