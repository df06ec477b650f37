import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from guidegen.atomic import hash_file
from guidegen.errors import GuideGenError
from guidegen.evaluate.features import RANDOM
from guidegen.evaluate.fidelity import describe_protocol
from guidegen.evaluate.run import evaluate_study, list_outputs
from guidegen.evaluate.settings import EVALUATIONS
from guidegen.study import Study


@pytest.fixture(scope="module")
def evaluated(obedient_study, tmp_path_factory: pytest.TempPathFactory) -> Study:
    root = tmp_path_factory.mktemp("evaluated") / "study"
    shutil.copytree(obedient_study.root, root)
    study = Study.load(root)
    evaluate_study(study)
    return study


def read(study: Study, part: str) -> dict:
    return json.loads((study.root / "results" / "evaluation" / f"{part}.json").read_text())


def list_figures(tree) -> list[dict]:
    if isinstance(tree, dict):
        own = [tree] if {"value", "low", "high", "n", "unit"} <= tree.keys() else []
        return own + [figure for value in tree.values() for figure in list_figures(value)]
    return []


def test_every_file_has_figures_with_intervals_protocol_and_sources(evaluated: Study) -> None:
    for part in EVALUATIONS:
        tree = read(evaluated, part)
        figures = list_figures(tree)
        assert figures
        assert all(
            f["low"] <= f["value"] <= f["high"] for f in figures if f["low"] is not None and f["value"] is not None
        )
        assert tree["protocol"]["interval"].startswith("95%")
        assert all(hash_file(evaluated.root / name) == digest for name, digest in tree["sources"].items())


def test_another_process_with_other_string_hashes_writes_the_same_bytes(evaluated: Study) -> None:
    before = [hash_file(path) for path in list_outputs(evaluated)]
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-m", "guidegen", "evaluate", "--study", str(evaluated.root)]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert [hash_file(path) for path in list_outputs(evaluated)] == before


def test_noisier_arm_is_worse_and_the_pairing_shows_it(evaluated: Study) -> None:
    tree = read(evaluated, "segmentation")
    organ = "mean of organs"
    assert tree["arms"]["dice"]["real"][organ]["value"] > tree["arms"]["dice"]["synthetic"][organ]["value"]
    assert tree["differences"]["dice"]["synthetic − real"][organ]["high"] < 0
    assert tree["arms"]["dice"]["real"]["pancreas"] == {
        "value": None,
        "low": None,
        "high": None,
        "n": 0,
        "unit": "share",
    }


def test_difference_of_the_means_over_organs_is_that_of_the_arms(evaluated: Study) -> None:
    tree, organ = read(evaluated, "segmentation"), "mean of organs"
    arms = {arm: figures[organ]["value"] for arm, figures in tree["arms"]["dice"].items()}
    for pair, figures in tree["differences"]["dice"].items():
        other, one = pair.split(" − ")
        assert figures[organ]["value"] == pytest.approx(arms[other] - arms[one], abs=2e-6)
        assert figures[organ]["low"] <= figures[organ]["value"] <= figures[organ]["high"]


def test_missing_structure_in_one_arm_lowers_it_and_is_not_dropped(evaluated: Study, tmp_path: Path) -> None:
    root = tmp_path / "study"
    shutil.copytree(evaluated.root, root)
    before = read(evaluated, "segmentation")["arms"]["dice"]["real"]
    study = Study.load(root)
    for path in (root / "results/segmentation/real/predictions").glob("*.npy"):
        labels = np.load(path)
        np.save(path, np.where(labels == study.labels.ids["vertebrae"], 0, labels))
    evaluate_study(study)
    after = read(study, "segmentation")["arms"]["dice"]["real"]
    assert after["vertebrae"]["value"] == 0.0
    assert after["vertebrae"]["n"] == before["vertebrae"]["n"]
    assert after["aorta"] == before["aorta"]


def test_wrong_hu_of_a_set_shows_beyond_the_floor(evaluated: Study) -> None:
    tree = read(evaluated, "intensity")
    assert tree["mean_absolute"]["adherence"]["value"] < 60
    assert set(tree["differences"]["liver"]) == {"floor", "adherence", "train"}


def test_missing_held_out_file_is_named(evaluated: Study, tmp_path: Path) -> None:
    root = tmp_path / "study"
    shutil.copytree(evaluated.root, root)
    (root / "results/models/latent_generator/held_out.json").unlink()
    with pytest.raises(GuideGenError, match=r"latent_generator/held_out\.json"):
        evaluate_study(Study.load(root))


def test_missing_prediction_is_named(evaluated: Study, tmp_path: Path) -> None:
    root = tmp_path / "study"
    shutil.copytree(evaluated.root, root)
    table = root / "results/segmentation/both.tsv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(GuideGenError, match=f"arm 'both': 1 test case.*{lines[-1].split(chr(9))[0]}"):
        evaluate_study(Study.load(root))


def test_losses_case_by_case_give_intervals_and_totals_alone_do_not(evaluated: Study) -> None:
    stages = read(evaluated, "training")["stages"]
    assert stages["latent_generator"]["difference"]["high"] < 0
    assert stages["latent_generator"]["loss"]["n"] == 3
    assert stages["contrast_autoencoder"]["loss"] == {"value": 0.4, "low": None, "high": None, "n": 1, "unit": "loss"}
    assert all(stage["better"] for stage in stages.values())


def test_fidelity_says_what_its_distances_rest_on(evaluated: Study) -> None:
    found = read(evaluated, "fidelity")
    grid, protocol = evaluated.config.prepare.grid, found["protocol_features"]
    assert {protocol[name] for name in ("planes", "volume", "clips", "labels")} == {RANDOM}
    assert (protocol["ct_grid"], protocol["label_grid"]) == ([2 * grid] * 3, [grid] * 3)
    assert found["protocol"]["seed"] == evaluated.config.study.seed
    settings = evaluated.config.evaluate.model_dump(mode="json")
    assert found["protocol"]["settings"] == settings
    networks = evaluated.config.evaluate.networks.model_copy(update={"planes": "networks/planes.pt"})
    evaluate = evaluated.config.evaluate.model_copy(update={"networks": networks})
    named = describe_protocol(Study(evaluated.root, evaluated.config.model_copy(update={"evaluate": evaluate})))
    assert (named["planes"], named["volume"]) == ("networks/planes.pt", RANDOM)
