"""Backend `totalsegmentator`: TotalSegmentator's task `total` on the converted CT, in the segmentation environment.

Compute jobs never fetch anything: the weights are checked before the first case, and where one is missing the error
says how to get it on a machine with internet.
"""

import json
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from nibabel.filebasedimages import ImageFileError

from guidegen.errors import GuideGenError
from guidegen.mask.backends import AnnotationError, Layer, MaskCase
from guidegen.mask.resample import Grid
from guidegen.mask.settings import MaskSettings, TotalSegmentatorSettings

TASK = "total"
SUB_MODES = {"normal": "default", "fast": "fast", "fastest": "fastest"}
DOWNLOADS = {"normal": "total", "fast": "total_fast", "fastest": "total_fast"}
"""Names that `totalseg_download_weights` knows the weights of each speed by."""
MODEL_FILES = ("dataset.json", "plans.json", "fold_0/checkpoint_final.pth")


def label_case(
    case: MaskCase, grid: Grid | None, settings: MaskSettings, source_ids: Mapping[str, int]
) -> Layer | None:
    """Segment a case's CT; the interface is described in `guidegen.mask.backends`."""
    if case.ct is None:
        return None
    check_weights(case.root, settings.totalsegmentator)
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
        home: folder that holds its weights, see `check_weights`.
        settings: device and speed.

    Returns:
        (X, Y, Z) uint8 ids of TotalSegmentator's task `total`, and the CT's grid.

    Raises:
        AnnotationError: it failed on this CT.
    """
    with _private_home(home), _own_threads():
        load_torchvision()
        from totalsegmentator.python_api import totalsegmentator  # pyright: ignore[reportMissingImports]

        try:
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


def resolve_home(study: Path, settings: TotalSegmentatorSettings) -> Path:
    """Return the folder of weights; a relative one is relative to the study."""
    return (study / settings.home).resolve()


def check_weights(study: Path, settings: TotalSegmentatorSettings) -> None:
    """Check that TotalSegmentator is installed here and has the weights of the chosen speed.

    Raises:
        GuideGenError: names what is missing, and the command that fetches it.
    """
    try:
        from totalsegmentator.map_tasks_config import (  # pyright: ignore[reportMissingImports]
            TASK_CONFIGS,
            TASK_ID_WEIGHTS_CONFIGS,
        )
    except ImportError:
        raise GuideGenError(
            f"TotalSegmentator is not installed for {sys.executable}, but a collection uses the backend "
            "`totalsegmentator`; `environments.segmentation` in the config must name the `guidegen` of an environment "
            "that has it (envs/segmentation.txt)"
        ) from None
    home = resolve_home(study, settings)
    mode = TASK_CONFIGS[TASK]["sub_modes"][SUB_MODES[settings.speed]]
    tasks = mode["task_id"] if isinstance(mode["task_id"], list) else [mode["task_id"]]
    folders = [
        _weights_folder(home)
        / TASK_ID_WEIGHTS_CONFIGS[task]["foldername"]
        / f"{mode['trainer']}__nnUNetPlans__3d_fullres"
        for task in tasks
    ]
    missing = [folder / name for folder in folders for name in MODEL_FILES if not (folder / name).is_file()]
    if missing:
        raise GuideGenError(
            f"{missing[0]}: weights of TotalSegmentator (task {TASK}, speed {settings.speed}) are missing; on a "
            "machine with internet, in the segmentation environment: "
            f"mkdir -p {home} && TOTALSEG_HOME_DIR={home} totalseg_download_weights -t {DOWNLOADS[settings.speed]}"
        )


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


def _weights_folder(home: Path) -> Path:
    return home / "nnunet" / "results"


@contextmanager
def _private_home(home: Path) -> Iterator[None]:
    """Give this process a settings folder of its own: jobs that share one overwrite each other's config.json."""
    before = {name: os.environ.get(name) for name in ("TOTALSEG_HOME_DIR", "TOTALSEG_WEIGHTS_PATH")}
    with tempfile.TemporaryDirectory(prefix="totalsegmentator-") as folder:
        config = {"totalseg_id": "", "send_usage_stats": False, "prediction_counter": 0}
        config["statistics_disclaimer_shown"] = True
        (Path(folder) / "config.json").write_text(json.dumps(config), encoding="utf-8")
        os.environ |= {"TOTALSEG_HOME_DIR": folder, "TOTALSEG_WEIGHTS_PATH": str(_weights_folder(home))}
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


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
