"""Backend `totalsegmentator`: TotalSegmentator's task `total` on the converted CT, in the segmentation environment.

Compute jobs never fetch anything (`guidegen.mask.weights`). Networks are built once per process, that is once per shard
(`guidegen.mask.networks`).
"""

import multiprocessing
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from nibabel.filebasedimages import ImageFileError

from guidegen.errors import GuideGenError
from guidegen.mask.backends import AnnotationError, Layer, MaskCase
from guidegen.mask.networks import keep_networks
from guidegen.mask.resample import Grid
from guidegen.mask.settings import MaskSettings, TotalSegmentatorSettings
from guidegen.mask.weights import TASK, locate_weights, resolve_home, use_weights


def label_case(
    case: MaskCase, grid: Grid | None, settings: MaskSettings, source_ids: Mapping[str, int]
) -> Layer | None:
    """Segment a case's CT; the interface is described in `guidegen.mask.backends`."""
    if case.ct is None:
        return None
    locate_weights(case.root, settings.totalsegmentator)
    labels, own = segment_volume(case.ct, resolve_home(case.root, settings.totalsegmentator), settings.totalsegmentator)
    grid = grid or own
    if own.shape != grid.shape or not np.allclose(own.affine, grid.affine, atol=1e-3):
        raise AnnotationError(
            f"{case.ct}: TotalSegmentator's label map has shape {own.shape}, its CT {grid.shape}, or they lie apart in "
            "space; expected the CT's own grid"
        )
    return Layer(grid, map_ids(read_registry(), source_ids)[labels])


def segment_volume(ct: Path, home: Path, settings: TotalSegmentatorSettings) -> tuple[np.ndarray, Grid]:
    """Run TotalSegmentator on one CT.

    Args:
        ct: NIfTI in HU.
        home: folder that holds its weights, see `guidegen.mask.weights`.
        settings: device and speed.

    Returns:
        (X, Y, Z) uint8 ids of TotalSegmentator's task `total`, and the CT's grid.

    Raises:
        AnnotationError: it failed on this CT.
    """
    with use_weights(home / "nnunet" / "results"), _own_threads():
        load_torchvision()
        from totalsegmentator.python_api import totalsegmentator  # pyright: ignore[reportMissingImports]

        try:
            with keep_networks():
                image = totalsegmentator(
                    ct,
                    None,
                    task=TASK,
                    ml=True,
                    fast=settings.speed == "fast",
                    fastest=settings.speed == "fastest",
                    device=settings.device,
                    nr_thr_saving=1,
                    skip_saving=True,
                    quiet=True,
                )
        except (RuntimeError, ValueError, TypeError, OSError, ImageFileError, SystemExit) as error:
            raise AnnotationError(f"{ct}: TotalSegmentator failed: {type(error).__name__}: {error}") from error
    return np.asarray(image.dataobj).astype(np.uint8), Grid(image.shape, image.affine)


def read_registry() -> dict[int, str]:
    """Return the class names of task `total` by id, from the installed TotalSegmentator."""
    from totalsegmentator.registry import get_task_classes  # pyright: ignore[reportMissingImports]

    return get_task_classes(TASK)


def map_ids(registry: Mapping[int, str], source_ids: Mapping[str, int]) -> np.ndarray:
    """Return a lookup table, shape (256,), uint8: our source id of each id of TotalSegmentator.

    Raises:
        GuideGenError: TotalSegmentator has a class that `config/source_labels.tsv` does not name.
    """
    unknown = sorted(set(registry.values()) - set(source_ids))
    if unknown:
        raise GuideGenError(
            f"config/source_labels.tsv lacks {', '.join(unknown)}, classes of the installed TotalSegmentator; add "
            "them, or install the version that envs/segmentation.txt pins"
        )
    table = np.zeros(256, np.uint8)
    for number, name in registry.items():
        table[number] = source_ids[name]
    return table


def load_torchvision() -> None:
    """Import torchvision also where its compiled part belongs to another build of torch.

    nnU-Net imports it by way of timm and uses nothing of its compiled part. A torchvision built for CUDA beside a torch
    built for CPUs fails at import because two operators have no schema; with their schemas defined it loads.
    """
    import torch

    try:
        import torchvision  # pyright: ignore[reportMissingImports]
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        _TORCHVISION_SCHEMAS.append(torch.library.Library("torchvision", "FRAGMENT"))
        for operator in ("nms", "qnms"):
            _TORCHVISION_SCHEMAS[-1].define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision  # noqa: F401  # pyright: ignore[reportMissingImports]


_TORCHVISION_SCHEMAS: list = []
"""Schemas live as long as their Library object."""


@contextmanager
def _own_threads() -> Iterator[None]:
    """Keep to the threads that this job was given; TotalSegmentator takes as many as the machine has CPUs."""
    import torch

    threads, count = torch.get_num_threads(), multiprocessing.cpu_count
    multiprocessing.cpu_count = lambda: threads
    try:
        yield
    finally:
        multiprocessing.cpu_count = count
        torch.set_num_threads(threads)
