"""nnU-Net's own planning, training and prediction on a tiny study; runs in the segmentation environment."""

import importlib.util
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from guidegen.errors import GuideGenError
from guidegen.study import Study
from guidegen.tables import read_tsv, write_tsv

pytestmark = pytest.mark.segmentation
TRAINER = """
import torch
from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerNoMirroring import nnUNetTrainerNoMirroring


class ShortTrainer(nnUNetTrainerNoMirroring):
    def __init__(self, plans, configuration, fold, dataset_json, device=torch.device("cuda")):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs, self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = 1, 8, 1
"""


def load_fabricated():
    path = Path(__file__).parents[1] / "evaluate" / "fabricated_results.py"
    spec = importlib.util.spec_from_file_location("fabricated_results", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A fabricated study whose arms are nnU-Net's."""
    if importlib.util.find_spec("nnunetv2") is None:
        pytest.skip(f"nnU-Net is not installed for {sys.executable}; `make test-segmentation` runs this")
    root = tmp_path_factory.mktemp("nnunet")
    (root / "trainers").mkdir()
    (root / "trainers" / "short.py").write_text(TRAINER)
    os.environ["nnUNet_extTrainer"] = str(root / "trainers")  # noqa: SIM112
    load_fabricated().fabricate_results(root / "study", patients=10, asked=2)
    table = root / "study/results/synthetic/train/prompts.tsv"
    rows = [row | {"source_case": ""} for row in read_tsv(table)]
    write_tsv(table, list(rows[0]), rows)
    config = root / "study/config/config.yaml"
    config.write_text(
        config.read_text()
        + "segment:\n  {arms: {both: {real: true, synthetic: train}}, seeds: 1, backend: nnunet, resolution: labels,\n"
        "   nnunet: {device: cpu, trainer: ShortTrainer}}\n"
    )
    return Study.load(root / "study")


def test_arm_is_planned_trained_and_predicted_by_nnunet(study: Study) -> None:
    from guidegen.prepare.cohort import read_cohort
    from guidegen.segment.run import segment_arm

    rows = segment_arm(study, "both")
    cohort = read_cohort(study)
    assert {row["status"] for row in rows} == {"ok"}
    assert {row["case"] for row in rows if row["role"] == "prediction"} == {c.case for c in cohort if c.split == "test"}
    facts = json.loads((study.root / "results/segmentation/both/model.json").read_text())
    assert facts["cases"] == sum(case.split == "train" for case in cohort) + 4
    assert facts["plans"]["configurations"]["3d_fullres"]["patch_size"]
    assert facts["dataset"]["labels"]["liver"] == study.labels.ids["liver"]
    test = next(case for case in cohort if case.split == "test")
    found = np.load(study.root / f"results/segmentation/both/predictions/{test.case}.npy")
    truth = test.load_labels()
    assert found.shape == truth.shape
    assert found.dtype == np.uint8
    there = [(found > 0)[mask].mean() for mask in (truth > 0, truth == 0)]
    assert there[0] > there[1], "more foreground where there is some: the axes are those of the label map"
    curves = (study.root / "results/segmentation/both/curves.csv").read_text().splitlines()
    assert [line.split(",")[1] for line in curves[1:]] == ["loss", "validation_dice"]
    assert segment_arm(study, "both") == rows, "a rerun trains and predicts nothing again"


def test_failing_command_ends_with_its_last_words(study: Study) -> None:
    from guidegen.segment.nnunet import call_tool

    environment = os.environ | {f"nnUNet_{name}": str(study.root) for name in ("raw", "preprocessed", "results")}
    with pytest.raises(GuideGenError, match=r"nnU-Net's train failed \(1\): 77 3d_fullres 0[\s\S]*Error"):
        call_tool("train", ["77", "3d_fullres", "0"], environment)
