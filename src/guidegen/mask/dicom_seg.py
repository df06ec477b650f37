"""Backend `dicom_seg`: DICOM Segmentation objects, placed in physical space."""

from collections.abc import Mapping
from itertools import product

import numpy as np
from pydicom import Dataset

from guidegen.mask.annotations import check_series, label_datasets
from guidegen.mask.backends import Annotation, AnnotationError, Layer, MaskCase, make_flag
from guidegen.mask.canvas import Canvas
from guidegen.mask.names import find_paired_label, find_source_label
from guidegen.mask.resample import Grid, resample_nearest
from guidegen.mask.seg_frames import SegFrames, read_frames
from guidegen.mask.settings import MaskSettings

SEG_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""Segmentation Storage and Label Map Segmentation Storage."""
SIDES = ("left", "right")
MOST_LOST = 0.2
"""A segment that loses more than this share of its volume on the way to the CT is flagged."""


def label_case(
    case: MaskCase, grid: Grid | None, settings: MaskSettings, source_ids: Mapping[str, int]
) -> Layer | None:
    """Read all SEG series of the case; the interface is described in `guidegen.mask.backends`."""
    return label_datasets("SEG", _paint_dataset, case, grid, settings, source_ids)


def _paint_dataset(canvas: Canvas, annotation: Annotation, dataset: Dataset, case: MaskCase) -> None:
    if dataset.get("SOPClassUID") not in SEG_CLASSES:
        raise AnnotationError(f"{annotation.path}: SOP class {dataset.get('SOPClassUID')} is no segmentation")
    series = [str(item.get("SeriesInstanceUID", "")) for item in dataset.get("ReferencedSeriesSequence", [])]
    check_series(annotation, series, case)
    names = _name_segments(canvas, dataset)
    frames = read_frames(annotation.path, dataset)
    for number in sorted(set(frames.counts) - set(names)):
        if not _has_segment(dataset, number):
            canvas.flags.append(make_flag("unnamed_value", f"{number}={frames.counts[number]}"))
    canvas.flags += [make_flag("empty_segment", n) for k, n in names.items() if not frames.counts.get(k)]
    by_size = sorted((k for k in names if frames.counts.get(k)), key=lambda k: (-frames.counts[k], k))
    for number in by_size:
        box, mask = _place_segment(frames, number, canvas.grid)
        placed = mask.sum() * canvas.grid.voxel_ml / (frames.counts[number] * frames.voxel_ml)
        if not mask.any():
            canvas.flags.append(make_flag("outside_ct", names[number]))
        elif placed < 1 - MOST_LOST:
            canvas.flags.append(make_flag("partly_outside_ct", f"{names[number]}={1 - placed:.0%}"))
        canvas.paint(names[number], annotation.kind or "expert", box, mask)


def _name_segments(canvas: Canvas, dataset: Dataset) -> dict[int, str]:
    """Source label by segment number; names that nobody knows become flags."""
    names = {}
    for item in dataset.get("SegmentSequence", []):
        number, label = int(item.SegmentNumber), str(item.get("SegmentLabel", ""))
        texts = _list_names(item, label)
        known = (find(text, canvas.source_ids) for find in (find_source_label, find_paired_label) for text in texts)
        if name := next(filter(None, known), None):
            names[number] = name
        elif number:
            canvas.flags.append(make_flag("unknown_segment", label or f"number {number}"))
    return names


def _list_names(item: Dataset, label: str) -> list[str]:
    """The segment's label and the meanings of its type code, first with the laterality that modifies the code."""
    codes = item.get("SegmentedPropertyTypeCodeSequence", [])
    names = [label, *(str(code.get("CodeMeaning", "")) for code in codes)]
    modifiers = [modifier for code in codes for modifier in code.get("SegmentedPropertyTypeModifierCodeSequence", [])]
    sides = [side for modifier in modifiers if (side := str(modifier.get("CodeMeaning", ""))).lower() in SIDES]
    return [f"{side} {name}" for side in sides for name in names] + names


def _has_segment(dataset: Dataset, number: int) -> bool:
    return any(int(item.SegmentNumber) == number for item in dataset.get("SegmentSequence", []))


def _place_segment(frames: SegFrames, number: int, grid: Grid) -> tuple[tuple[slice, ...], np.ndarray]:
    """Return the box of the CT grid that a segment can reach, and its mask in that box."""
    block, affine = frames.extract(number)
    ends = np.array([[-0.5, size - 0.5] for size in block.shape])
    corners = np.array([[*corner, 1.0] for corner in product(*ends)])
    indices = (corners @ (np.linalg.inv(grid.affine) @ affine).T)[:, :3]
    low = np.clip(np.floor(indices.min(axis=0)), 0, np.array(grid.shape) - 1).astype(int)
    high = np.clip(np.ceil(indices.max(axis=0)) + 1, low + 1, grid.shape).astype(int)
    part = grid.affine.copy()
    part[:3, 3] = (grid.affine @ [*low, 1.0])[:3]
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    shape = (int(high[0] - low[0]), int(high[1] - low[1]), int(high[2] - low[2]))
    return box, resample_nearest(block, affine, Grid(shape, part)).astype(bool)
