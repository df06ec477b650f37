"""What a source of labels must look like, and how the chosen ones are combined.

A backend is a module with a function

    label_case(case: MaskCase, grid: Grid | None, settings: MaskSettings, source_ids: Mapping[str, int]) -> Layer | None

It returns None for a case that it has nothing for, a `Layer` on the given grid else (on its own canonical grid where
`grid` is None, that is for cases without a CT), and raises `AnnotationError` for input that cannot be used. It is
imported only when a collection's config names it. A backend that loads a model keeps it in its module: one process
works through a whole shard.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

import numpy as np

from guidegen.errors import ItemError
from guidegen.mask.resample import Grid
from guidegen.mask.settings import Backend, MaskSettings

MODULES: dict[Backend, str] = {
    "dicom_seg": "guidegen.mask.dicom_seg",
    "rtstruct": "guidegen.mask.rtstruct",
    "nifti": "guidegen.mask.nifti",
    "totalsegmentator": "guidegen.mask.totalsegmentator",
}


class AnnotationError(ItemError):
    """An annotation cannot be used; the message names the file, what was found and what would be right."""


@dataclass(frozen=True)
class Annotation:
    """One series of labels that belongs to a case, as retrieved."""

    path: Path
    """Tar of the series (members `*.dcm` or one `*.nii.gz`)."""
    format: str
    """`dicom` or `nifti`."""
    series_uid: str
    kind: str
    """`expert`, `ai`, `seed`, or "" where the index does not say."""


@dataclass(frozen=True)
class MaskCase:
    """What a backend gets to know about a case."""

    case: str
    collection: str
    root: Path
    """The study folder."""
    ct: Path | None
    """The converted CT (NIfTI, RAS+), None for a case that has only labels."""
    ct_series_uid: str
    annotations: tuple[Annotation, ...]
    site: str = ""
    """Organ of the collection's cancer, as in `collections.tsv`."""


@dataclass(frozen=True)
class Layer:
    """Labels of one backend."""

    grid: Grid
    organs: np.ndarray | None
    """(X, Y, Z) uint8 source label ids without the tumour; None where the backend has no organs."""
    tumour: np.ndarray | None = None
    """(X, Y, Z) bool; None where there is no tumour annotation of an accepted kind."""
    tumour_kind: str = ""
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class LabelSource:
    """The combined labels of a case and where they come from."""

    layer: Layer
    backend: str
    """E.g. `dicom_seg` or `totalsegmentator+dicom_seg`."""


def combine_backends(
    case: MaskCase, grid: Grid | None, settings: MaskSettings, source_ids: Mapping[str, int]
) -> LabelSource | None:
    """Label a case with the collection's backends: organs of one, the tumour of another, by priority.

    Returns:
        None where no backend has anything for the case.

    Raises:
        AnnotationError: the case has annotations, none of which can be used.
    """
    choice = settings.choose_backends(case.collection)
    layers: dict[Backend, Layer] = {}
    errors: list[str] = []
    for name in dict.fromkeys((*choice.organs, *choice.tumour)):
        needs_organs = name in choice.organs and not any(x.organs is not None for x in layers.values())
        needs_tumour = name in choice.tumour and not any(x.tumour is not None for x in layers.values())
        if not (needs_organs or needs_tumour):
            continue
        try:
            layer = import_module(MODULES[name]).label_case(case, grid, settings, source_ids)
        except AnnotationError as error:
            errors.append(str(error))
            continue
        if layer is not None:
            layers[name] = layer
            grid = layer.grid
    if not layers:
        if errors:
            raise AnnotationError("; ".join(errors))
        return None
    return _merge(choice.organs, choice.tumour, layers, errors)


def _merge(
    organ_order: tuple[Backend, ...], tumour_order: tuple[Backend, ...], layers: dict[Backend, Layer], errors: list[str]
) -> LabelSource:
    organs_from: Backend | None = next((n for n in organ_order if n in layers and layers[n].organs is not None), None)
    tumour_from: Backend | None = next((n for n in tumour_order if n in layers and layers[n].tumour is not None), None)
    first = next(iter(layers.values()))
    flags = [flag for layer in layers.values() for flag in layer.flags]
    flags += [make_flag("unusable_annotation", error) for error in errors]
    if organs_from is None:
        flags.append("no_organs")
    tumour = layers[tumour_from] if tumour_from else None
    merged = replace(
        first,
        organs=layers[organs_from].organs if organs_from else None,
        tumour=tumour.tumour if tumour else None,
        tumour_kind=tumour.tumour_kind if tumour else "",
        flags=tuple(dict.fromkeys(flags)),
    )
    used = dict.fromkeys(name for name in (organs_from, tumour_from) if name)
    return LabelSource(merged, "+".join(used or layers))


def make_flag(code: str, detail: str = "") -> str:
    """Return a flag `code:detail` that fits into a comma-separated cell."""
    text = " ".join(detail.replace(",", ";").split())
    return f"{code}:{text}" if text else code
