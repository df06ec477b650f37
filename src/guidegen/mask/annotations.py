"""Retrieved DICOM annotations as datasets, and the loop over them that all DICOM backends share."""

import io
import tarfile
from collections.abc import Callable, Mapping

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

from guidegen.mask.backends import Annotation, AnnotationError, Layer, MaskCase, make_flag
from guidegen.mask.canvas import Canvas
from guidegen.mask.resample import Grid
from guidegen.mask.settings import MaskSettings

Paint = Callable[[Canvas, Annotation, Dataset, MaskCase], None]


def label_datasets(
    modality: str,
    paint: Paint,
    case: MaskCase,
    grid: Grid | None,
    settings: MaskSettings,
    source_ids: Mapping[str, int],
) -> Layer | None:
    """Paint all objects of one modality; one that cannot be used is a flag beside others, an error alone."""
    found = [(a, ds) for a in case.annotations if a.format == "dicom" for ds in read_datasets(a, modality, case)]
    if not found:
        return None
    if grid is None:
        raise AnnotationError(f"{case.case}: a DICOM {modality} needs the CT that it was drawn on, and there is none")
    canvas = Canvas(grid, settings, source_ids, case.ct)
    errors = []
    for annotation, dataset in found:
        try:
            paint(canvas, annotation, dataset, case)
        except AnnotationError as error:
            errors.append(error)
            canvas.flags.append(make_flag("unusable_annotation", str(error)))
    if len(errors) == len(found):
        raise errors[0]
    return canvas.finish()


def read_datasets(annotation: Annotation, modality: str, case: MaskCase) -> list[Dataset]:
    """Return the datasets of one modality in a series' tar. Raises AnnotationError where a file is unreadable."""
    datasets = []
    try:
        with tarfile.open(annotation.path, "r:") as archive:
            for member in archive:
                stream = archive.extractfile(member) if member.isfile() else None
                if stream:
                    dataset = dcmread(io.BytesIO(stream.read()))
                    if dataset.get("Modality") == modality:
                        datasets.append(dataset)
    except (OSError, EOFError, tarfile.TarError, InvalidDicomError, ValueError, KeyError, AttributeError) as error:
        raise AnnotationError(f"{annotation.path}: {case.case}: not a readable DICOM {modality} ({error})") from error
    return datasets


def check_series(annotation: Annotation, series: list[str], case: MaskCase) -> None:
    """Raise AnnotationError where an annotation says that it was drawn on another series than the case's CT."""
    if series and case.ct_series_uid and case.ct_series_uid not in series:
        raise AnnotationError(
            f"{annotation.path}: drawn on series {series[0]}, but the CT of {case.case} is {case.ct_series_uid}"
        )
