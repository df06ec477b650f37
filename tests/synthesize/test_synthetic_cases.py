"""Cases made by untrained models: what they look like does not matter here, what is written about them does."""

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from random_models import save_random_models, write_model_manifest

from guidegen.atomic import hash_file
from guidegen.errors import GuideGenError
from guidegen.manifest import Item, process_items
from guidegen.prepare.cohort import read_cohort
from guidegen.study import Study
from guidegen.synthesize.cases import CaseMaker
from guidegen.synthesize.plan import CaseRequest, plan_set, read_plan
from guidegen.synthesize.run import synthesize_prompt, synthesize_shard
from guidegen.synthesize.sampler import find_spacing


@pytest.fixture(scope="module")
def made(study: Study, tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, list[dict[str, str]]]:
    """The adherence set in a study of its own."""
    root = tmp_path_factory.mktemp("made") / "study"
    shutil.copytree(study.root, root, ignore=shutil.ignore_patterns("synthetic"))
    own = Study.load(root)
    plan_set(own, "adherence")
    plan_set(own, "train")
    return own, synthesize_shard(own, "adherence", "s000")


def test_ct_and_label_map_fill_the_same_box_at_the_true_spacing(made) -> None:
    study, rows = made
    row = rows[0]
    ct, labels = (nib.load(study.root / row[name]) for name in ("path", "labels_path"))
    assert ct.shape == (32, 32, 32)
    assert labels.shape == (16, 16, 16)
    assert ct.get_data_dtype() == np.int16
    assert labels.get_data_dtype() == np.uint8
    assert nib.aff2axcodes(ct.affine) == ("R", "A", "S")
    np.testing.assert_allclose(labels.header.get_zooms(), [float(v) for v in row["spacing_mm"].split(",")], rtol=1e-5)
    corners = [image.affine @ [-0.5, -0.5, -0.5, 1] for image in (ct, labels)]
    ends = [image.affine @ [*(np.array(image.shape) - 0.5), 1] for image in (ct, labels)]
    np.testing.assert_allclose(*corners, atol=1e-4)
    np.testing.assert_allclose(*ends, atol=1e-4)


def test_sidecar_explains_the_case(made) -> None:
    study, rows = made
    request = read_plan(study, "adherence")[0]
    sidecar = json.loads((study.root / rows[0]["sidecar_path"]).read_text())
    assert sidecar["synthetic"] is True
    assert sidecar["prompt"] == request.prompt
    assert sidecar["seed"] == request.seed
    assert sidecar["statements"] == request.statements
    weights = study.root / "results/models/latent_generator/model.safetensors"
    assert sidecar["models"]["latent_generator"] == hash_file(weights)
    assert set(sidecar["gates"]) == {"volume", "left_right", "order", "hu"}
    training = [case for case in read_cohort(study) if case.split == "train"]
    assert sum(entry["cases"] for entry in sidecar["licences"]) == len(training)
    assert {entry["collection"] for entry in sidecar["licences"]} == {case.collection for case in training}
    assert "median of training cases covering chest" in sidecar["spacing_source"]


def test_adherence_rejects_nothing_and_records_what_failed(made) -> None:
    _, rows = made
    assert all(row["status"] == "ok" and row["attempts"] == "1" for row in rows)
    assert all(json.loads(row["gates"])["volume"] is False for row in rows)
    assert all(json.loads(row["rejections"]) == [] for row in rows)


def test_a_case_made_alone_has_the_same_bytes_as_in_its_set(made) -> None:
    study, rows = made
    last = read_plan(study, "adherence")[-1]
    shard = study.shard("results", "synthetic", "alone", "s000")
    maker = CaseMaker.load(study, reject=False)
    alone = process_items(shard, [Item(last.case, {}, last)], maker.make, fingerprint="", columns=list(rows[0])[6:])
    in_set = next(row for row in rows if row["case"] == last.case)
    for column in ("sha256", "labels_sha256", "sidecar_sha256"):
        assert alone[0][column] == in_set[column]


def test_cases_of_one_prompt_differ(made) -> None:
    _, rows = made
    assert len({row["sha256"] for row in rows}) == len(rows)


def test_rejected_case_is_drawn_again_and_then_a_row_with_its_reason(made) -> None:
    """Untrained models pass no volume gate, so every attempt is used up."""
    study, _ = made
    rows = synthesize_shard(study, "train", "s001")
    assert [row["status"] for row in rows] == ["excluded", "excluded"]
    assert all("volume" in row["reason"] and row["attempts"] == "2" for row in rows)
    rejections = json.loads(rows[0]["rejections"])
    assert [entry["attempt"] for entry in rejections] == [0, 1]
    maker = CaseMaker.load(study, reject=True)
    request = read_plan(study, "train", "s001")[0]
    first, second = (maker.sampler.draw(request, attempt) for attempt in (0, 1))
    assert not np.array_equal(first[1], second[1])


def test_models_that_do_not_fit_are_refused_with_both_names(made, tmp_path: Path) -> None:
    study, _ = made
    root = tmp_path / "study"
    shutil.copytree(study.root, root)
    own = Study.load(root)
    save_random_models(own, grid=32)
    with pytest.raises(GuideGenError, match=r"label grid of 32, the study has prepare.grid 16"):
        synthesize_shard(own, "adherence", "s000")
    save_random_models(own)
    path = root / "results/models/latent_generator/model.json"
    text = path.read_text()
    path.write_text(text.replace(json.loads(text)["binding"]["encoder_hash"], "0123456789abcdef"))
    write_model_manifest(own, "latent_generator")
    with pytest.raises(GuideGenError, match=r"trained with encoder_hash '0123456789abcdef', the study has"):
        synthesize_shard(own, "adherence", "s000")
    (root / "config/labels.tsv").write_text((root / "config/labels.tsv").read_text().replace("spleen\t", "milt\t", 1))
    with pytest.raises(GuideGenError, match="labels_hash"):
        synthesize_shard(Study.load(root), "adherence", "s000")
    own.manifest("results", "models", "contrast_autoencoder").unlink()
    with pytest.raises(GuideGenError, match="contrast_autoencoder was not trained yet"):
        synthesize_shard(own, "adherence", "s000")


def test_free_prompt_on_trained_models(made, tmp_path: Path) -> None:
    study, _ = made
    prompt = "68-year-old woman, 3 cm mass in the left kidney, portal venous phase, chest to pelvis"
    paths = synthesize_prompt(study, prompt, 2, tmp_path / "a")
    assert [path.name for path in paths] == ["case-0000.ct.nii.gz", "case-0001.ct.nii.gz"]
    again = synthesize_prompt(study, prompt, 1, tmp_path / "b")
    assert again[0].read_bytes() == paths[0].read_bytes()
    assert paths[0].read_bytes() != paths[1].read_bytes()
    other = synthesize_prompt(study, prompt, 1, tmp_path / "c", seed=5)
    assert other[0].read_bytes() != paths[0].read_bytes()
    sidecar = json.loads((tmp_path / "a/case-0000.json").read_text())
    assert sidecar["prompt"] == prompt
    assert sidecar["statements"]["side"] == "left"
    assert sidecar["statements"]["tumour_size_mm"] == 30


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("  ", "empty"),
        ("kidney " * 2000, "at most 2000"),
        ("Left kidney removed, 3 cm mass in the left kidney.", "contradicts itself"),
    ],
)
def test_prompts_without_sense_are_refused(study: Study, tmp_path: Path, prompt: str, message: str) -> None:
    with pytest.raises(GuideGenError, match=message):
        synthesize_prompt(study, prompt, 1, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_spacing_is_the_condition_or_the_median_of_its_coverage() -> None:
    known = [(("chest", "pelvis"), (4.0, 4.0, float(z))) for z in (8, 9, 11)] + [(("chest", "chest"), (3.0, 3.0, 3.0))]
    request = CaseRequest("x", "p", {"coverage_first": "chest", "coverage_last": "pelvis"}, "", "", (1, 2, 3), None, 0)
    assert find_spacing(request, known) == ((1, 2, 3), "condition")
    nulled = CaseRequest("x", "p", request.statements, "", "", None, None, 0)
    assert find_spacing(nulled, known) == ((4, 4, 9), "median of training cases covering chest to pelvis (3)")
    unstated = CaseRequest("x", "p", {}, "", "", None, None, 0)
    assert find_spacing(unstated, known) == ((4, 4, 8.5), "median of all training cases (4)")


def test_prompt_in_another_language_is_drawn_and_said_not_to_be_understood(made, tmp_path: Path, caplog) -> None:
    study, _ = made
    assert synthesize_prompt(study, "ασθενής χωρίς ευρήματα", 1, tmp_path / "out")[0].is_file()
    assert "no statement understood" in caplog.text
