"""Cases made by untrained models: what they look like does not matter here, what is written about them does."""

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from random_models import save_random_models, write_model_manifest

from guidegen.atomic import hash_file, write_text
from guidegen.errors import GuideGenError
from guidegen.manifest import Item, process_items
from guidegen.prepare.cohort import read_cohort
from guidegen.study import Study
from guidegen.synthesize.batches import LARGEST_BATCH, BatchSampler, fit_batch
from guidegen.synthesize.cases import CaseMaker, hash_settings
from guidegen.synthesize.command import _describe_case
from guidegen.synthesize.plan import CaseRequest, plan_set, read_plan
from guidegen.synthesize.prompts import check_prompt, list_notes
from guidegen.synthesize.run import synthesize_prompts, synthesize_shard
from guidegen.synthesize.sampler import PairSampler, find_spacing
from guidegen.synthesize.summary import summarize_set

GATES = {"volume", "components", "left_right", "order", "tumour", "hu", "noise", "seams", "agreement", "prompt"}


@pytest.fixture(scope="module")
def made(study: Study, tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, list[dict[str, str]]]:
    """The adherence set in a study of its own."""
    root = tmp_path_factory.mktemp("made") / "study"
    shutil.copytree(study.root, root, ignore=shutil.ignore_patterns("synthetic"))
    own = Study.load(root)
    releases = {name: {"shards": 1, "source": "idc", "version": "v21"} for name in own.collections}
    write_text(root / "data/index/index.json", json.dumps(releases))
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
    assert set(sidecar["gates"]) == GATES
    assert sidecar["gates"]["agreement"] == {"passed": None, "details": ["no segmenter"]}
    assert sidecar["notes"] == []
    training = [case for case in read_cohort(study) if case.split == "train"]
    assert sum(entry["cases"] for entry in sidecar["licences"]) == len(training)
    assert {entry["collection"] for entry in sidecar["licences"]} == {case.collection for case in training}
    assert {entry["release"] for entry in sidecar["licences"]} == {"idc v21"}
    stricter = study.config.synthesize.model_copy(update={"max_attempts": 9})
    other = Study(study.root, study.config.model_copy(update={"synthesize": stricter}))
    assert sidecar["config"] == hash_settings(study) != hash_settings(other)
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
    maker = CaseMaker.load(study, [last], reject=False)
    alone = process_items(shard, [Item(last.case, {}, last)], maker.make, fingerprint="", columns=list(rows[0])[6:])
    in_set = next(row for row in rows if row["case"] == last.case)
    for column in ("sha256", "labels_sha256", "sidecar_sha256"):
        assert alone[0][column] == in_set[column]


def test_cases_drawn_ahead_in_a_batch_are_those_drawn_alone(made, monkeypatch) -> None:
    study, _ = made
    requests = read_plan(study, "adherence")
    sampler = BatchSampler.load(PairSampler.load(study), reversed(requests))
    alone = [sampler.sampler.draw([request], 0)[0] for request in requests]
    sampler.size, asked = 2, []
    draw = PairSampler.draw

    def note(self: PairSampler, batch: list[CaseRequest], attempt: int) -> list:
        asked.append([request.case for request in batch])
        return draw(self, batch, attempt)

    monkeypatch.setattr(PairSampler, "draw", note)
    for request, pair in zip(requests, alone, strict=True):
        for drawn, expected in zip(sampler.draw(request, 0), pair, strict=True):
            np.testing.assert_array_equal(drawn, expected)
    first, second, third = (request.case for request in requests)
    assert asked == [[first, second], [third]]


def test_a_batch_fills_most_of_the_free_memory_and_no_more() -> None:
    assert fit_batch(free=10_000, per_case=1_000) == 8
    assert fit_batch(free=500, per_case=1_000) == 1
    assert fit_batch(free=10**12, per_case=1) == LARGEST_BATCH


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
    assert set(rejections[0]["gates"]) == GATES
    request = read_plan(study, "train", "s001")[0]
    maker = CaseMaker.load(study, [request], reject=True)
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
    binding = json.loads(path.read_text())["binding"]
    for field, value, message in (
        ("encoder", "BiomedBERT", "trained with text encoder 'BiomedBERT', the study has 'all-MiniLM-L6-v2'"),
        ("encoder_hash", "0123456789abcdef", "trained with encoder_hash '0123456789abcdef', the study has"),
    ):
        save_random_models(own)
        path.write_text(path.read_text().replace(f'"{binding[field]}"', f'"{value}"'))
        write_model_manifest(own, "latent_generator")
        with pytest.raises(GuideGenError, match=message):
            synthesize_shard(own, "adherence", "s000")
    save_random_models(own)
    (root / "config/labels.tsv").write_text((root / "config/labels.tsv").read_text().replace("spleen\t", "milt\t", 1))
    with pytest.raises(GuideGenError, match=r"its class 'spleen' is 'milt' in config/labels\.tsv"):
        synthesize_shard(Study.load(root), "adherence", "s000")
    own.manifest("results", "models", "contrast_autoencoder").unlink()
    with pytest.raises(GuideGenError, match="contrast_autoencoder was not trained yet"):
        synthesize_shard(own, "adherence", "s000")


def make(study: Study, out: Path, *prompts: str, count: int = 1, seed: int | None = None) -> list[dict[str, str]]:
    return synthesize_prompts(study, [check_prompt(text, "--prompt") for text in prompts], count, out, seed)


def test_free_prompts_on_trained_models(made, tmp_path: Path) -> None:
    study, _ = made
    prompt = "68-year-old woman, 3 cm mass in the left kidney, portal venous phase, chest to pelvis"
    rows = make(study, tmp_path / "a", prompt, count=2)
    assert [row["path"] for row in rows] == ["cases/case-0000.ct.nii.gz", "cases/case-0001.ct.nii.gz"]
    assert rows[0]["sha256"] != rows[1]["sha256"]
    assert make(study, tmp_path / "b", prompt)[0]["sha256"] == rows[0]["sha256"]
    assert make(study, tmp_path / "c", prompt, seed=5)[0]["sha256"] != rows[0]["sha256"]
    sidecar = json.loads((tmp_path / "a" / rows[0]["sidecar_path"]).read_text())
    assert sidecar["prompt"] == rows[0]["prompt"] == prompt
    assert sidecar["statements"]["side"] == "left"
    assert sidecar["statements"]["tumour_size_mm"] == 30


def test_the_same_call_goes_on_where_it_ended_and_another_prompt_is_refused(made, tmp_path: Path) -> None:
    study, _ = made
    first = make(study, tmp_path / "out", "CT of the chest")
    old = (tmp_path / "out" / first[0]["path"]).stat().st_mtime_ns
    both = make(study, tmp_path / "out", "CT of the chest", count=2)
    assert [row["sha256"] for row in both][:1] == [first[0]["sha256"]]
    assert (tmp_path / "out" / first[0]["path"]).stat().st_mtime_ns == old
    for prompt, seed in (("CT of the pelvis", None), ("CT of the chest", 7)):
        with pytest.raises(GuideGenError, match="case-0000 is of another prompt or seed"):
            make(study, tmp_path / "out", prompt, seed=seed)
    assert len(list((tmp_path / "out" / "cases").iterdir())) == 6


def test_a_case_that_fails_is_a_row_and_the_others_are_made(made, tmp_path: Path, monkeypatch) -> None:
    study, _ = made
    from guidegen.models.contrast_autoencoder import ContrastAutoencoder

    decode = ContrastAutoencoder.decode
    calls = iter([True, False, False])
    monkeypatch.setattr(ContrastAutoencoder, "decode", lambda *given: decode(*given) * (np.nan if next(calls) else 1))
    rows = make(study, tmp_path / "out", "CT of the chest", count=3)
    assert [row["status"] for row in rows] == ["failed", "ok", "ok"]
    assert "not finite" in rows[0]["reason"]


def test_the_command_says_which_gates_a_case_failed(made, tmp_path: Path) -> None:
    study, _ = made
    rows = make(study, tmp_path / "out", "3 cm mass in the prostate")
    said = _describe_case(tmp_path / "out", rows[0])
    sidecar = json.loads((tmp_path / "out" / rows[0]["sidecar_path"]).read_text())
    failed = {name: gate["details"] for name, gate in sidecar["gates"].items() if gate["passed"] is False}
    assert failed, "models with random weights pass no gate"
    assert all(f"{name} ({', '.join(details)})" in said for name, details in failed.items())
    assert "no class for the prostate" in said


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("  ", "--prompt is empty"),
        ("?!", "--prompt is empty"),
        ("kidney " * 1429, "has 10002 characters, at most 2000"),
        ("Left kidney removed, 3 cm mass in the left kidney.", "contradicts itself"),
        ("healthy torso, no tumor, 10 cm mass in the right kidney", "it says 'no tumor' and asks for a mass"),
    ],
)
def test_prompts_without_sense_are_refused(prompt: str, message: str) -> None:
    with pytest.raises(GuideGenError, match=message):
        check_prompt(prompt, "--prompt")


@pytest.mark.parametrize(
    ("prompt", "notes"),
    [
        ("68-year-old woman, 3 cm mass in the left kidney, chest to pelvis", []),
        ("ασθενής χωρίς ευρήματα", ["prompts are read in English"]),
        ("Patientin mit unklarem Befund", ["no statement understood"]),
        ("no mass in the liver, 3 cm mass in the left kidney", []),
        ("no mass effect, no other lesions, 3 cm mass in the left kidney", []),
        ("3 cm mass in the prostate", ["no class for the prostate"]),
        ("CT of the chest, broken sternum and a thyroid gland nodule", ["not where", "'sternum'", "'thyroid gland'"]),
    ],
)
def test_what_the_models_cannot_heed_is_said(study: Study, prompt: str, notes: list[str]) -> None:
    check_prompt(prompt, "--prompt")
    told = list_notes(prompt, study.labels)
    assert len(told) == len(notes), told
    for part, text in zip(notes, told, strict=True):
        assert part in text


def test_a_prompt_that_is_not_understood_is_drawn_and_its_sidecar_says_so(made, tmp_path: Path, caplog) -> None:
    study, _ = made
    long = "Very long story. " * 60 + "CT of the chest"
    rows = make(study, tmp_path / "out", "ασθενής χωρίς ευρήματα", long)
    assert "no statement understood" in caplog.text
    foreign, cut = (json.loads((tmp_path / "out" / row["sidecar_path"]).read_text())["notes"] for row in rows)
    assert "read in English" in foreign[0]
    assert "longer than the text encoder reads" in cut[0]


def test_spacing_is_the_condition_or_the_median_of_its_coverage() -> None:
    known = [(("chest", "pelvis"), (4.0, 4.0, float(z))) for z in (8, 9, 11)] + [(("chest", "chest"), (3.0, 3.0, 3.0))]
    request = CaseRequest("x", "p", {"coverage_first": "chest", "coverage_last": "pelvis"}, "", "", (1, 2, 3), None, 0)
    assert find_spacing(request, known) == ((1, 2, 3), "condition")
    nulled = CaseRequest("x", "p", request.statements, "", "", None, None, 0)
    assert find_spacing(nulled, known) == ((4, 4, 9), "median of training cases covering chest to pelvis (3)")
    unstated = CaseRequest("x", "p", {}, "", "", None, None, 0)
    assert find_spacing(unstated, known) == ((4, 4, 8.5), "median of all training cases (4)")


def test_summary_counts_every_draw_and_why_it_was_rejected(made) -> None:
    study, _ = made
    with pytest.raises(GuideGenError, match=r"train/s000\.tsv: not made yet"):
        summarize_set(study, "train")
    rows = [row for shard in ("s000", "s001") for row in synthesize_shard(study, "train", shard)]
    found = summarize_set(study, "train")
    assert found["cases"] == {"ok": 0, "excluded": 5, "failed": 0}
    assert found["draws"] == sum(int(row["attempts"]) for row in rows) == 10
    assert found["gates"]["volume"] == {"required": True, "judged": 10, "failed": 10, "failed_share": 1.0}
    assert found["gates"]["agreement"]["judged"] == 0
    assert sum(found["reasons"].values()) == 10
    assert all("volume" in reason for reason in found["reasons"])
    assert json.loads((study.root / "results/synthetic/train/summary.json").read_text()) == found
    free = summarize_set(study, "adherence")
    assert free["cases"]["ok"] == free["draws"] == 3
    assert free["gates"]["volume"]["failed"] == 3
    assert free["reasons"] == {}
