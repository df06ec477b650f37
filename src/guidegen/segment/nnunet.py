"""Backend `nnunet`: nnU-Net v2 plans, trains and predicts by itself, on the study's grids and splits."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from guidegen.atomic import write_text
from guidegen.errors import GuideGenError
from guidegen.labels import LabelTable
from guidegen.prepare.resample import resample_labels
from guidegen.segment.cases import GridCase, SegmentCase, TrainingSet
from guidegen.segment.settings import NnunetSettings, SegmentSettings

DATASET = "Dataset001_guidegen"
CONFIGURATION = "3d_fullres"
MODEL = "nnunet"


def check_installed() -> None:
    """Raise GuideGenError where this environment has no nnU-Net."""
    if importlib.util.find_spec("nnunetv2") is None:
        raise GuideGenError(
            f"nnU-Net is not installed for {sys.executable}, but segment.backend is `nnunet`; "
            "`environments.segmentation` in the config must name the `guidegen` of an environment that has it "
            "(envs/segmentation.txt)"
        )


def train_nnunet(
    folder: Path,
    training: TrainingSet,
    validation: Sequence[SegmentCase],
    settings: SegmentSettings,
    table: LabelTable,
    threads: int,
) -> tuple[dict[str, Any], list[tuple[int, str, float]]]:
    """Plan, preprocess and train; the trained model lies in `folder/nnunet`, its weights in `model.safetensors`.

    nnU-Net draws its own random numbers: two trainings agree within a tolerance, not byte for byte.

    Returns:
        What describes the model (plans, dataset), and its curves as (epoch, name, value).

    Raises:
        GuideGenError: nnU-Net is not installed, or one of its commands failed; names the end of its output.
    """
    check_installed()
    import torch
    from safetensors.torch import save_file

    paths = {name: folder / f"nnUNet_{name}" for name in ("raw", "preprocessed", "results")}
    environment = {
        **os.environ,
        **{path.name: str(path) for path in paths.values()},
        "nnUNet_def_n_proc": str(threads),
        "nnUNet_n_proc_DA": str(max(threads - 1, 1)),
    }
    write_dataset(paths["raw"] / DATASET, training.cases, validation, settings.resolution, table)
    options = settings.nnunet
    plan = ["-d", "1", "-c", CONFIGURATION, "-pl", options.planner, "-np", str(threads), "-npfp", str(threads)]
    call_tool("plan_and_preprocess", [*plan, "--verify_dataset_integrity"], environment)
    write_split(paths["preprocessed"] / DATASET, training.cases, validation)
    plans = next((paths["preprocessed"] / DATASET).glob("*Plans.json")).stem
    train = ["1", CONFIGURATION, "0", "-tr", options.trainer, "-p", plans, "-device", options.device]
    call_tool("train", train, environment)
    trained = paths["results"] / DATASET / f"{options.trainer}__{plans}__{CONFIGURATION}"
    checkpoint = torch.load(trained / "fold_0" / "checkpoint_final.pth", map_location="cpu", weights_only=False)
    weights = {name: value.contiguous().clone() for name, value in checkpoint["network_weights"].items()}
    save_file(weights, folder / "model.safetensors")
    for name in ("dataset.json", "plans.json", "fold_0/checkpoint_final.pth"):
        (folder / MODEL / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(trained / name, folder / MODEL / name)
    for path in paths.values():
        shutil.rmtree(path)
    facts = {name: json.loads((folder / MODEL / f"{name}.json").read_text()) for name in ("plans", "dataset")}
    return facts, _list_curves(checkpoint["logging"])


def _list_curves(logged: dict[str, list[float]]) -> list[tuple[int, str, float]]:
    named = {"train_losses": "loss", "mean_fg_dice": "validation_dice"}
    return [
        (epoch, name, float(value))
        for epoch, values in enumerate(zip(*(logged[key] for key in named), strict=True), start=1)
        for name, value in zip(named.values(), values, strict=True)
    ]


def write_dataset(
    folder: Path, training: Sequence[SegmentCase], validation: Sequence[SegmentCase], resolution: str, table: LabelTable
) -> None:
    """Write cases in nnU-Net's raw layout: HU and class ids on one grid, with the grid's true spacing."""
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    cases = [*training, *validation]
    for case in cases:
        ct, labels, spacing = case.load_hu(resolution)
        affine = np.diag([*spacing, 1.0])
        nibabel.save(nibabel.Nifti1Image(ct, affine), folder / "imagesTr" / f"{case.case}_0000.nii.gz")
        nibabel.save(nibabel.Nifti1Image(labels, affine), folder / "labelsTr" / f"{case.case}.nii.gz")
    description = {
        "channel_names": {"0": "CT"},
        "labels": {entry.name: entry.id for entry in table.classes},
        "numTraining": len(cases),
        "file_ending": ".nii.gz",
    }
    write_text(folder / "dataset.json", json.dumps(description, indent=1) + "\n")


def write_split(folder: Path, training: Sequence[SegmentCase], validation: Sequence[SegmentCase]) -> None:
    """Make fold 0 the study's own split; without validation cases the training cases stand in."""
    names = [[case.case for case in cases] for cases in (training, validation or training)]
    write_text(folder / "splits_final.json", json.dumps([dict(zip(("train", "val"), names, strict=True))]))


def call_tool(tool: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    """Run one of nnU-Net's commands (see `nnunet_tools`) and pass its output on.

    Raises:
        GuideGenError: it failed; with the end of what it printed.
    """
    command = [sys.executable, "-m", "guidegen.segment.nnunet_tools", tool, *arguments]
    done = subprocess.run(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    sys.stderr.write(done.stdout)
    if done.returncode:
        end = "\n".join(done.stdout.strip().splitlines()[-5:])
        raise GuideGenError(f"nnU-Net's {tool} failed ({done.returncode}): {' '.join(arguments)}\n{end}")


def load_predictor(
    folder: Path, settings: NnunetSettings, resolution: str, table: LabelTable
) -> Callable[[GridCase], np.ndarray]:
    """Return what segments a case with a model that `train_nnunet` left: uint8 class ids on the label grid."""
    check_installed()
    import torch

    from guidegen.mask.totalsegmentator import load_torchvision

    load_torchvision()
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor  # pyright: ignore[reportMissingImports]

    on_gpu = settings.device == "cuda"
    predictor = nnUNetPredictor(
        device=torch.device(settings.device), perform_everything_on_device=on_gpu, allow_tqdm=False
    )
    predictor.initialize_from_trained_model_folder(str(folder / MODEL), use_folds=(0,))

    def predict(case: GridCase) -> np.ndarray:
        ct, labels, spacing = case.load_hu(resolution)
        image = ct.transpose(2, 1, 0)[None].astype(np.float32)  # nnU-Net's axes are z, y, x
        found = predictor.predict_single_npy_array(image, {"spacing": list(spacing)[::-1]})
        found = np.asarray(found).transpose(2, 1, 0).astype(np.uint8)
        return found if resolution == "labels" else resample_labels(found, labels.shape[0] // 2, len(table))

    return predict
