"""nnU-Net models with random weights in the layout of TotalSegmentator's own: its real code runs on them offline."""

import json
import sys
from pathlib import Path

import torch

from guidegen.mask.totalsegmentator import load_torchvision, read_registry
from guidegen.mask.weights import SUB_MODES, TASK


def write_random_weights(home: Path, speed: str, seed: int = 0) -> Path:
    """Write the model of one speed with a single task id (fast, fastest) below `home`; returns its folder."""
    load_torchvision()
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
    from totalsegmentator.map_tasks_config import TASK_CONFIGS, TASK_ID_WEIGHTS_CONFIGS

    mode = TASK_CONFIGS[TASK]["sub_modes"][SUB_MODES[speed]]
    dataset = TASK_ID_WEIGHTS_CONFIGS[mode["task_id"]]["foldername"]
    folder = home / "nnunet" / "results" / dataset / f"{mode['trainer']}__nnUNetPlans__3d_fullres"
    (folder / "fold_0").mkdir(parents=True)
    names = read_registry()
    labels = {"background": 0} | {name: number for number, name in names.items()}
    write_json(folder / "dataset.json", {"channel_names": {"0": "CT"}, "labels": labels, "file_ending": ".nii.gz"})
    architecture = {
        "n_stages": 3,
        "features_per_stage": [4, 8, 16],
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[3, 3, 3]] * 3,
        "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
        "n_conv_per_stage": [1, 1, 1],
        "n_conv_per_stage_decoder": [1, 1],
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    imported = ["conv_op", "norm_op", "dropout_op", "nonlin"]
    network_class = "dynamic_network_architectures.architectures.unet.PlainConvUNet"
    write_json(folder / "plans.json", describe_plans(dataset, float(mode["resample"]), network_class, architecture))
    torch.manual_seed(seed)
    network = get_network_from_plans(
        network_class, architecture, imported, 1, len(labels), allow_init=True, deep_supervision=False
    )
    checkpoint = {
        "network_weights": network.state_dict(),
        "trainer_name": mode["trainer"],
        "init_args": {"configuration": "3d_fullres"},
        "inference_allowed_mirroring_axes": None,
    }
    torch.save(checkpoint, folder / "fold_0" / "checkpoint_final.pth")
    return folder


def describe_plans(dataset: str, spacing_mm: float, network_class: str, architecture: dict) -> dict:
    """The parts of an nnU-Net plans file that inference reads."""
    resampling = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
    configuration = {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [32, 32, 32],
        "median_image_size_in_voxels": [64.0, 64.0, 64.0],
        "spacing": [spacing_mm] * 3,
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": resampling,
        "resampling_fn_seg_kwargs": resampling | {"is_seg": True},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": resampling,
        "architecture": {
            "network_class_name": network_class,
            "arch_kwargs": architecture,
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
        "batch_dice": False,
    }
    intensities = {
        "max": 3000.0,
        "mean": 0.0,
        "median": 0.0,
        "min": -1024.0,
        "percentile_00_5": -1000.0,
        "percentile_99_5": 1000.0,
        "std": 400.0,
    }
    return {
        "dataset_name": dataset,
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": [spacing_mm] * 3,
        "original_median_shape_after_transp": [64, 64, 64],
        "image_reader_writer": "NibabelIOWithReorient",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {"3d_fullres": configuration},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": intensities},
    }


def write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


if __name__ == "__main__":
    write_random_weights(Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:]))
