"""Backend `nifti`: a label map placed on the CT's grid in physical space.

Its ids are those of `config/source_labels.tsv` (TotalSegmentator's `total`), or those of a table of the collection
(`mask.label_tables`), whose names are read as those of a SEG's segments are.
"""

import tarfile
import zlib
from collections.abc import Mapping

import nibabel as nib
import numpy as np
from isal import igzip
from nibabel.filebasedimages import ImageFileError

from guidegen.labels import TUMOUR
from guidegen.mask.backends import Annotation, AnnotationError, Layer, MaskCase, make_flag
from guidegen.mask.canvas import Canvas
from guidegen.mask.names import find_paired_label, find_source_label, read_names
from guidegen.mask.resample import Grid, resample_nearest
from guidegen.mask.settings import MaskSettings


def label_case(
    case: MaskCase, grid: Grid | None, settings: MaskSettings, source_ids: Mapping[str, int]
) -> Layer | None:
    """Read the case's label map; the interface is described in `guidegen.mask.backends`."""
    maps = [annotation for annotation in case.annotations if annotation.format == "nifti"]
    if not maps:
        return None
    if len(maps) > 1:
        raise AnnotationError(f"{case.case}: {len(maps)} NIfTI label maps, expected one")
    labels, own = read_label_map(maps[0])
    if table := settings.label_tables.get(case.collection):
        return _label_named(case, maps[0], labels, own, grid, settings, source_ids, read_names(case.root / table))
    known = np.zeros(256, bool)
    known[[0, *source_ids.values()]] = True
    counts = np.bincount(labels.ravel(), minlength=256)
    strange = [value for value in np.flatnonzero(counts) if not known[value]]
    flags = [make_flag("unnamed_value", f"{value}={counts[value]}") for value in strange]
    labels = np.where(known, np.arange(256), 0).astype(np.uint8)[labels] if strange else labels
    placed = labels if grid is None else resample_nearest(labels, own.affine, grid)
    if counts[1:].any() and not placed.any():
        raise AnnotationError(f"{maps[0].path}: the label map does not overlap the CT of {case.case} in physical space")
    tumour = placed == source_ids[TUMOUR]
    kind = maps[0].kind or "expert"
    accepted = tumour.any() and kind in settings.accepted_kinds
    if tumour.any() and not accepted:
        flags.append(make_flag("tumour_not_accepted", kind))
    organs = np.where(tumour, 0, placed).astype(np.uint8)
    return Layer(grid or own, organs, tumour if accepted else None, kind if accepted else "", tuple(flags))


def _label_named(
    case: MaskCase,
    annotation: Annotation,
    labels: np.ndarray,
    own: Grid,
    grid: Grid | None,
    settings: MaskSettings,
    source_ids: Mapping[str, int],
    names: Mapping[int, str],
) -> Layer:
    """Label a case by the names that a table gives to the map's ids; an empty name is an id that is not wanted."""
    canvas = Canvas(grid or own, settings, source_ids, case.ct)
    placed = labels if grid is None else resample_nearest(labels, own.affine, grid)
    counts = np.bincount(labels.ravel(), minlength=256)
    if counts[1:].any() and not placed.any():
        raise AnnotationError(f"{annotation.path}: the label map does not overlap the CT of {case.case} in space")
    for value in (int(v) for v in np.flatnonzero(counts) if v):
        name = names.get(value)
        label = (find_source_label(name, source_ids) or find_paired_label(name, source_ids)) if name else None
        if label:
            canvas.paint(label, annotation.kind or "expert", (slice(None),) * 3, placed == value)
        elif name is None:
            canvas.flags.append(make_flag("unnamed_value", f"{value}={counts[value]}"))
        elif name:
            canvas.flags.append(make_flag("unknown_segment", name))
    return canvas.finish()


def read_label_map(annotation: Annotation) -> tuple[np.ndarray, Grid]:
    """Return (X, Y, Z) uint8 labels and their grid in the nearest RAS+ orientation.

    Raises:
        AnnotationError: the file is unreadable, not 3D, or holds values that are no label ids.
    """
    try:
        data = annotation.path.read_bytes()
        if annotation.path.suffix == ".tar":
            with tarfile.open(annotation.path, "r:") as archive:
                names = [name for name in archive.getnames() if name.endswith((".nii.gz", ".nii"))]
                if len(names) != 1:
                    raise AnnotationError(f"{annotation.path}: {len(names)} NIfTI files, expected one")
                member = archive.extractfile(names[0])
                data = member.read() if member else b""
        image = nib.Nifti1Image.from_bytes(igzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
        image = nib.as_closest_canonical(image)
        values = np.asarray(image.dataobj)
    except (OSError, EOFError, ValueError, zlib.error, igzip.BadGzipFile, ImageFileError, tarfile.TarError) as error:
        raise AnnotationError(f"{annotation.path}: not a readable NIfTI label map ({error})") from error
    if values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    if values.ndim != 3:
        raise AnnotationError(f"{annotation.path}: {values.ndim} axes, a label map has three")
    labels = values.astype(np.uint8)
    if not np.array_equal(labels, values):
        raise AnnotationError(
            f"{annotation.path}: values from {values.min()} to {values.max()} are no label ids (0 to 255)"
        )
    return labels, Grid(tuple(labels.shape), image.affine)  # type: ignore[arg-type]
