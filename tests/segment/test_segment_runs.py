"""Set sizes, seeds, fine-tuning, networks and external test sets."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from fabricated_set import with_arms
from pydantic import ValidationError

from guidegen.atomic import hash_file
from guidegen.errors import GuideGenError
from guidegen.evaluate.segmentation import evaluate_segmentation
from guidegen.prepare.cohort import read_cohort
from guidegen.segment.cases import list_real, list_training
from guidegen.segment.external import list_external
from guidegen.segment.run import segment_arm
from guidegen.segment.settings import ArmSettings, ExternalSettings, SegmentSettings
from guidegen.segment.training import (
    FINETUNE_RATE,
    build_network,
    load_segmenter,
    plan_courses,
    predict_labels,
    save_weights,
)
from guidegen.study import Study
from guidegen.tables import write_tsv


def copy_study(study: Study, target: Path, **segment) -> Study:
    shutil.copytree(study.root, target, ignore=shutil.ignore_patterns(".guidegen", "segmentation"))
    copied = Study.load(target)
    settings = copied.config.segment.model_copy(update=segment)
    return Study(target, copied.config.model_copy(update={"segment": settings}))


def test_every_arm_size_and_seed_is_a_run_of_its_own_name() -> None:
    arms = {"real": {"real": True}, "synthetic": {"synthetic": "train", "sizes": [50, 200]}}
    runs = SegmentSettings.model_validate({"arms": arms, "seeds": 2}).list_runs()
    assert list(runs) == [
        *("real", "real-s1", "synthetic-n50", "synthetic-n50-s1", "synthetic-n200", "synthetic-n200-s1")
    ]
    assert runs["synthetic-n50-s1"].variant == "synthetic-n50"
    assert SegmentSettings().seeds >= 3  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"arms": {"a": {"real": True, "finetune": True}}}, "needs `real: true` and a synthetic set"),
        ({"arms": {"a": {"real": True, "sizes": [0]}}}, "1 or more"),
        ({"arms": {"A-1": {"real": True}}}, "found 'A-1'"),
        ({"backend": "swinunetr", "patch": 48, "filters": 24}, "found patch 48, filters 24"),
        ({"backend": "nnunet"}, "nnunet cannot fine-tune; take the arm 'finetuned' out"),
    ],
)
def test_settings_that_cannot_be_are_refused_with_the_reason(settings: dict, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        SegmentSettings.model_validate(settings)


def test_smaller_set_is_part_of_the_larger_one_and_a_too_large_one_is_refused(study: Study) -> None:
    own = with_arms(study, {"real": ArmSettings(real=True, sizes=(2, 4, 400))})
    runs = own.config.segment.list_runs()
    small, large = ([case.case for case in list_training(own, runs[f"real-n{n}"]).real] for n in (2, 4))
    assert len(small) == 2
    assert set(small) < set(large)
    with pytest.raises(GuideGenError, match=r"segment\.arms\.real\.sizes asks for 400 cases, but there are"):
        list_training(own, runs["real-n400"])


def test_seeds_share_their_cases_and_differ_in_their_weights(study: Study) -> None:
    settings = study.config.segment.model_copy(
        update={"arms": {"synthetic": ArmSettings(synthetic="train", sizes=(1,))}, "seeds": 2, "steps": 2}
    )
    own = Study(study.root, study.config.model_copy(update={"segment": settings}))
    rows = {name: segment_arm(own, name) for name in ("synthetic-n1", "synthetic-n1-s1")}
    hashes = {next(row["sha256"] for row in part if row["case"] == "model.safetensors") for part in rows.values()}
    assert len(hashes) == 2
    facts = json.loads((study.root / "results/segmentation/synthetic-n1-s1/model.json").read_text())
    assert (facts["arm"], facts["size"], facts["seed"], facts["cases"]) == ("synthetic", 1, 1, 1)
    found = evaluate_segmentation(own, read_cohort(own))
    assert found["arms_order"] == ["synthetic-n1"]
    assert len(found["seeds"]["dice"]["synthetic-n1"]) == 2
    both = np.mean(found["seeds"]["dice"]["synthetic-n1"])
    assert found["arms"]["dice"]["synthetic-n1"]["mean of organs"]["value"] == pytest.approx(both, abs=0.02)


def test_fine_tuned_arm_learns_from_synthetic_cases_first_and_then_from_real_ones(study: Study) -> None:
    runs = study.config.segment.list_runs()
    training = list_training(study, runs["finetuned"])
    first, second = plan_courses(training, study.config.segment, finetune=True)
    assert (len(first.volumes.ct), len(second.volumes.ct)) == (len(training.synthetic), len(training.real))
    assert first.steps + second.steps == study.config.segment.steps
    assert second.learning_rate == pytest.approx(first.learning_rate * FINETUNE_RATE)
    rows = segment_arm(study, "finetuned")
    assert {row["status"] for row in rows} == {"ok"}
    steps = (study.root / "results/segmentation/finetuned/curves.csv").read_text().splitlines()
    assert steps[-1].startswith(f"{study.config.segment.steps},validation_dice,")


SAVE = """
import sys, torch
from pathlib import Path
from guidegen.segment.settings import SegmentSettings
from guidegen.segment.training import build_network, save_weights
torch.manual_seed(0)
save_weights(Path(sys.argv[1]), build_network(SegmentSettings(backend="dynunet", filters=8), 5))
"""


def test_weights_have_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    for name in ("1", "2"):
        (tmp_path / name).mkdir()
        environment = {**os.environ, "PYTHONHASHSEED": name}
        subprocess.run([sys.executable, "-c", SAVE, str(tmp_path / name)], env=environment, check=True)
    one, other = (hash_file(tmp_path / name / "model.safetensors") for name in ("1", "2"))
    assert one == other


@pytest.mark.parametrize(
    ("backend", "side", "filters"), [("segresnet", 32, 8), ("dynunet", 32, 8), ("swinunetr", 64, 12)]
)
def test_every_network_segments_onto_the_label_grid_and_survives_saving(
    backend: str, side: int, filters: int, tmp_path: Path
) -> None:
    settings = SegmentSettings.model_validate({"backend": backend, "patch": side, "filters": filters})
    network = build_network(settings, 5)
    ct = np.random.default_rng(0).uniform(-1, 1, (side,) * 3).astype(np.float32)
    labels = predict_labels(network, ct, settings)
    assert labels.shape == (side // 2,) * 3
    assert labels.max() < 5
    save_weights(tmp_path, network)
    assert np.array_equal(predict_labels(load_segmenter(tmp_path, settings, 5), ct, settings), labels)


def test_grid_that_a_network_cannot_take_is_said_before_training(study: Study) -> None:
    settings = study.config.segment.model_copy(update={"backend": "swinunetr", "patch": 64, "filters": 12})
    own = Study(study.root, study.config.model_copy(update={"segment": settings}))
    with pytest.raises(GuideGenError, match=r"takes volumes of 64, 96, 128 .* with prepare\.grid 16 gives 16"):
        segment_arm(own, "real")


def test_copies_of_training_cases_can_be_dropped(study: Study, tmp_path: Path) -> None:
    own = copy_study(study, tmp_path / "study", drop_memorised=True)
    original = list_real(read_cohort(own), "train")[0]
    path = own.root / "results/synthetic/train/s000/train-00001.ct.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.load(original.ct), np.eye(4)), path)
    left = [case.case for case in list_training(own, own.config.segment.list_runs()["synthetic"]).synthetic]
    assert "train-00001" not in left


@pytest.fixture(scope="module")
def foreign(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study with an external set: two of its own test cases under other ids, on finer grids, with air around."""
    root = tmp_path_factory.mktemp("foreign") / "study"
    shutil.copytree(study.root, root, ignore=shutil.ignore_patterns(".guidegen", "segmentation"))
    for part in ("imagesTs", "labelsTs"):
        (root / "btcv" / part).mkdir(parents=True)
    affine = np.diag([4.0, 4.0, 6.0, 1.0])
    for number, case in enumerate(list_real(read_cohort(study), "test")[:2]):
        ct, labels, _ = case.load_hu("ct")
        ids = np.where(labels == study.labels.ids["liver"], 6, np.where(labels == study.labels.ids["lung"], 77, 0))
        ct, ids = np.pad(ct, ((5, 9), (3, 3), (0, 0)), constant_values=-1000), np.pad(ids, ((5, 9), (3, 3), (0, 0)))
        for part, name, volume in (("imagesTs", "_0000", ct), ("labelsTs", "", ids)):
            image = nibabel.Nifti1Image(volume.astype(np.int16), affine)
            nibabel.save(image, root / "btcv" / part / f"img{number:04d}{name}.nii.gz")
    write_tsv(root / "btcv/labels.tsv", ["id", "name"], [{"id": 6, "name": "liver"}, {"id": 77, "name": ""}])
    external = {"btcv": ExternalSettings(folder="btcv", labels="btcv/labels.tsv")}
    loaded = Study.load(root)
    update = {"external": external, "arms": {"real": ArmSettings(real=True)}}
    settings = loaded.config.segment.model_copy(update=update)
    return Study(root, loaded.config.model_copy(update={"segment": settings}))


def test_external_set_is_segmented_and_scored_on_the_classes_of_its_table(foreign: Study) -> None:
    rows = segment_arm(foreign, "real")
    assert [row["case"] for row in rows if row["role"] == "external"] == ["btcv.img0000", "btcv.img0001"]
    own = {case.case for case in read_cohort(foreign) if case.split == "test"}
    assert {row["case"] for row in rows if row["role"] == "prediction"} == own
    found = evaluate_segmentation(foreign, read_cohort(foreign))["external"]["btcv"]
    assert found["cases"] == 2
    assert set(found["arms"]["dice"]["real"]) == {"mean of organs", "liver"}
    assert found["arms"]["dice"]["real"]["liver"]["n"] == 2


def test_external_case_is_cropped_to_the_body_and_keeps_its_organs(foreign: Study) -> None:
    ct, labels, spacing = list_external(foreign, "btcv")[0].read()
    assert ct.shape == (32, 32, 32)
    assert labels.shape == (16, 16, 16)
    assert set(np.unique(labels)) == {0, foreign.labels.ids["liver"]}
    assert spacing[0] * 16 < 4.0 * (32 + 14), "the air beside the body is cut off"
    assert spacing[2] == pytest.approx(6 * 2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: shutil.rmtree(folder / "labelsTs"), "neither imagesTs and labelsTs nor"),
        (lambda folder: (folder / "labelsTs/img0001.nii.gz").unlink(), r"img0001_0000\.nii\.gz: no labels"),
        (lambda folder: (folder / "labels.tsv").write_text("id\tname\n6\tlever\n"), "no torso class 'lever' for id 6"),
    ],
)
def test_broken_external_set_is_named(foreign: Study, tmp_path: Path, change, words: str) -> None:
    shutil.copytree(foreign.root / "btcv", tmp_path / "btcv")
    change(tmp_path / "btcv")
    settings = ExternalSettings(folder=str(tmp_path / "btcv"), labels=str(tmp_path / "btcv/labels.tsv"))
    segment = foreign.config.segment.model_copy(update={"external": {"btcv": settings}})
    with pytest.raises(GuideGenError, match=words):
        list_external(Study(foreign.root, foreign.config.model_copy(update={"segment": segment})), "btcv")


def test_label_that_the_table_does_not_name_is_no_background(foreign: Study, tmp_path: Path) -> None:
    write_tsv(tmp_path / "labels.tsv", ["id", "name"], [{"id": 6, "name": "liver"}])
    settings = ExternalSettings(folder="btcv", labels=str(tmp_path / "labels.tsv"))
    segment = foreign.config.segment.model_copy(update={"external": {"btcv": settings}})
    own = Study(foreign.root, foreign.config.model_copy(update={"segment": segment}))
    with pytest.raises(GuideGenError, match=r"label 77 is not in the set's label table"):
        list_external(own, "btcv")[0].read()
