"""Backend `rtstruct`: contours of DICOM RT Structure Sets, filled on the CT's slices."""

from collections.abc import Mapping

import numpy as np
from pydicom import Dataset
from skimage.draw import polygon2mask

from guidegen.mask.annotations import check_series, label_datasets
from guidegen.mask.backends import Annotation, AnnotationError, Layer, MaskCase, make_flag
from guidegen.mask.canvas import Canvas
from guidegen.mask.names import find_paired_label, find_source_label
from guidegen.mask.resample import Grid
from guidegen.mask.settings import MaskSettings

CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
OFF_PLANE = 0.3
"""Contours that leave their plane by more than this many slices are not planar on this CT."""


def label_case(
    case: MaskCase, grid: Grid | None, settings: MaskSettings, source_ids: Mapping[str, int]
) -> Layer | None:
    """Read all RTSTRUCT series of the case; the interface is described in `guidegen.mask.backends`."""
    return label_datasets("RTSTRUCT", _paint_dataset, case, grid, settings, source_ids)


def _paint_dataset(canvas: Canvas, annotation: Annotation, dataset: Dataset, case: MaskCase) -> None:
    check_series(annotation, _list_series(dataset), case)
    titles = {int(item.ROINumber): str(item.get("ROIName", "")) for item in dataset.get("StructureSetROISequence", [])}
    masks = []
    for item in dataset.get("ROIContourSequence", []):
        title = titles.get(int(item.ReferencedROINumber), f"number {item.ReferencedROINumber}")
        name = find_source_label(title, canvas.source_ids) or find_paired_label(title, canvas.source_ids)
        if name is None:
            canvas.flags.append(make_flag("unknown_segment", title))
            continue
        try:
            mask, notes = fill_contours(list(item.get("ContourSequence", [])), canvas.grid)
        except (AttributeError, ValueError, TypeError) as error:
            raise AnnotationError(f"{annotation.path}: contours of '{title}' cannot be read ({error})") from error
        canvas.flags += [make_flag(note, name) for note in notes]
        masks.append((-int(mask.sum()), name, mask))
    for _, name, mask in sorted(masks, key=lambda entry: entry[:2]):
        canvas.paint(name, annotation.kind or "expert", (slice(None),) * 3, mask)


def fill_contours(contours: list[Dataset], grid: Grid) -> tuple[np.ndarray, list[str]]:
    """Fill the closed contours of one structure.

    A contour inside another one on the same plane cuts a hole (even-odd rule). A slice takes the contours of the
    nearest plane that is not farther than half the distance of the structure's planes, so that contours on every
    second slice leave no gaps.

    Args:
        contours: items of a Contour Sequence (LPS mm).
        grid: RAS+ grid of the CT.

    Returns:
        (X, Y, Z) bool, and notes: `open_contour`, `oblique_contour`, `empty_segment`.
    """
    notes: list[str] = []
    planes: dict[float, np.ndarray] = {}
    to_index = np.linalg.inv(grid.affine)
    for contour in contours:
        points = np.array(contour.ContourData, float).reshape(-1, 3) * [-1, -1, 1]
        if contour.get("ContourGeometricType") not in CLOSED or len(points) < 3:
            notes.append("open_contour")
            continue
        index = points @ to_index[:3, :3].T + to_index[:3, 3]
        if np.ptp(index[:, 2]) > OFF_PLANE:
            notes.append("oblique_contour")
            continue
        level = round(float(index[:, 2].mean()), 2)
        filled = polygon2mask(grid.shape[:2], index[:, :2])
        planes[level] = planes[level] ^ filled if level in planes else filled
    mask = np.zeros(grid.shape, bool)
    levels = np.array(sorted(planes))
    if levels.size:
        reach = max(float(np.median(np.diff(levels))) if levels.size > 1 else 1.0, 1.0) / 2 + 0.01
        for k in range(grid.shape[2]):
            nearest = levels[np.argmin(np.abs(levels - k))]
            if abs(nearest - k) <= reach:
                mask[:, :, k] = planes[float(nearest)]
    if not mask.any():
        notes.append("empty_segment")
    return mask, list(dict.fromkeys(notes))


def _list_series(dataset: Dataset) -> list[str]:
    return [
        str(series.SeriesInstanceUID)
        for frame in dataset.get("ReferencedFrameOfReferenceSequence", [])
        for study in frame.get("RTReferencedStudySequence", [])
        for series in study.get("RTReferencedSeriesSequence", [])
    ]
