"""Arms on a study whose synthetic set is fabricated: real volumes dressed up as a set."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from fabricated_set import CONFIG, with_arms
from fabricated_study import fabricate_study

from guidegen.errors import GuideGenError
from guidegen.prepare.cohort import read_cohort
from guidegen.prepare.run import prepare_cohort
from guidegen.segment.cases import list_real, pool_ct, scale_ct
from guidegen.segment.run import segment_arm
from guidegen.segment.settings import ArmSettings
from guidegen.study import Study
from guidegen.tables import read_tsv, write_tsv


@pytest.fixture(scope="module")
def arms(study: Study) -> dict[str, list[dict[str, str]]]:
    return {arm: segment_arm(study, arm) for arm in ("real", "synthetic", "both")}


def test_every_arm_predicts_the_same_real_test_cases(study: Study, arms) -> None:
    test = {case.case for case in read_cohort(study) if case.split == "test"}
    for arm, rows in arms.items():
        predicted = {row["case"]: row["path"] for row in rows if row["role"] == "prediction"}
        assert set(predicted) == test, arm
        for path in predicted.values():
            array = np.load(study.root / path, allow_pickle=False)
            assert array.shape == (16, 16, 16)
            assert array.dtype == np.uint8


def test_arms_learn_from_what_they_say(study: Study, arms) -> None:
    facts = {arm: json.loads((study.root / f"results/segmentation/{arm}/model.json").read_text()) for arm in arms}
    training = sum(case.split == "train" for case in read_cohort(study))
    assert facts["real"]["cases"] == training
    assert facts["synthetic"]["cases"] == 2
    assert facts["both"]["cases"] == training + 2
    hashes = {next(row["sha256"] for row in rows if row["case"] == "model.safetensors") for rows in arms.values()}
    assert len(hashes) == 3


def test_training_finds_the_large_organs(study: Study, arms) -> None:
    with (study.root / "results/segmentation/real/curves.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    losses = [float(row["value"]) for row in rows if row["name"] == "loss"]
    assert [int(row["step"]) for row in rows if row["name"] == "loss"] == [30, 60, 90]
    assert losses[-1] < losses[0]
    scores = []
    for case in list_real(read_cohort(study), "test"):
        predicted = np.load(study.root / f"results/segmentation/real/predictions/{case.case}.npy")
        lung = np.load(case.labels) == 6
        scores.append(2 * (lung & (predicted == 6)).sum() / (lung.sum() + (predicted == 6).sum()))
    assert np.mean(scores) > 0.7


def test_equal_seeds_give_equal_bytes_and_a_rerun_keeps_them(study: Study, arms, tmp_path: Path) -> None:
    path = study.root / "results/segmentation/synthetic/model.safetensors"
    before = path.stat().st_mtime_ns
    assert segment_arm(study, "synthetic") == arms["synthetic"]
    assert path.stat().st_mtime_ns == before
    other = tmp_path / "study"
    shutil.copytree(study.root, other, ignore=shutil.ignore_patterns(".guidegen", "segmentation"))
    assert segment_arm(Study.load(other), "synthetic") == arms["synthetic"]


def test_set_made_from_prompts_of_test_patients_is_refused(study: Study) -> None:
    stolen = {"thief": ArmSettings(synthetic="stolen")}
    with pytest.raises(GuideGenError, match="stolen-00000 is made from the prompt of a test patient"):
        segment_arm(with_arms(study, stolen), "thief")


@pytest.mark.parametrize("disguise", ["source", "prompt"])
def test_test_patient_in_disguise_is_refused(study: Study, tmp_path: Path, disguise: str) -> None:
    """A table edited by hand: the split says train, but patient or wording is one of the test split."""
    shutil.copytree(study.root, tmp_path / "study", ignore=shutil.ignore_patterns(".guidegen"))
    own = Study.load(tmp_path / "study")
    path = own.root / "results/synthetic/train/prompts.tsv"
    rows = read_tsv(path)
    secret = read_tsv(own.root / "results/synthetic/stolen/prompts.tsv")[0]
    rows[1] |= {"source_case": secret["source_case"]} if disguise == "source" else {"prompt": secret["prompt"]}
    write_tsv(path, list(rows[0]), rows)
    with pytest.raises(GuideGenError, match="train-00001 is made from the prompt of a test patient"):
        segment_arm(own, "synthetic")


def test_unknown_arm_is_named_with_those_that_exist(study: Study) -> None:
    with pytest.raises(GuideGenError, match="no arm 'reel'; the config has real, synthetic, both"):
        segment_arm(study, "reel")


def test_ct_resolution_in_patches_predicts_on_the_label_grid(study: Study, tmp_path: Path) -> None:
    shutil.copytree(study.root, tmp_path / "study", ignore=shutil.ignore_patterns(".guidegen", "segmentation"))
    path = tmp_path / "study/config/config.yaml"
    path.write_text(path.read_text().replace("resolution: labels, patch: 16", "resolution: ct, patch: 24"))
    path.write_text(path.read_text().replace("steps: 60", "steps: 2"))
    rows = segment_arm(Study.load(tmp_path / "study"), "real")
    array = np.load(tmp_path / "study" / next(row["path"] for row in rows if row["role"] == "prediction"))
    assert array.shape == (16, 16, 16)


def test_unannotated_tumour_is_no_error() -> None:
    """Where nobody looked for a tumour, predicting one costs nothing, and the other classes share its probability."""
    import torch

    from guidegen.segment.training import forbid_tumour

    logits = torch.zeros(2, 21, 2, 2, 2)
    logits[:, 20] = 9.0
    shares = forbid_tumour(logits, torch.tensor([True, False]), 20).softmax(1)
    assert float(shares[0, 20].max()) == 0
    assert float(shares[0, 3].mean()) == pytest.approx(1 / 20)
    assert float(shares[1, 20].min()) > 0.9


def test_pooling_averages_and_scaling_clips() -> None:
    ct = np.zeros((4, 4, 4), np.int16)
    ct[:2, :2, :2] = 1024
    ct[2:, 2:, 2:] = -3000
    assert pool_ct(scale_ct(ct))[0, 0, 0] == 1
    assert pool_ct(scale_ct(ct))[1, 1, 1] == -1
    assert pool_ct(scale_ct(ct))[0, 1, 0] == 0


def test_study_without_a_pair_to_learn_from_says_so_in_rows(tmp_path: Path) -> None:
    """Cases of which each holds a CT or labels, but none both: no crash, and no row without its reason."""
    kinds = {str(number): "ct" for number in range(6)}
    own = fabricate_study(tmp_path / "study", config=CONFIG, only=kinds)
    path = own.root / "config/config.yaml"
    path.write_text(path.read_text().replace("[tcga_kirc, tcga_lihc]", "[tcga_kirc]"))
    own = Study.load(own.root)
    prepare_cohort(own)
    rows = segment_arm(own, "real")
    assert {row["status"] for row in rows} == {"excluded"}
    assert all("no training case has both a CT and labels" in row["reason"] for row in rows)
