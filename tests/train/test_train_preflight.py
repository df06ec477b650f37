"""What preflight refuses, and what it foretells."""

import re

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from guidegen.atomic import hash_file
from guidegen.cli import app
from guidegen.errors import GuideGenError
from guidegen.study import Study
from guidegen.tables import read_tsv, write_tsv
from guidegen.train.cohort import Cohort
from guidegen.train.estimate import estimate_stage
from guidegen.train.preflight import check_cohort
from guidegen.train.run import TRAINERS

TRAINED = ("semantic_synthesizer", "contrast_autoencoder", "latent_generator")


def replace_array(study: Study, role: str, array: np.ndarray) -> str:
    """Put another array in the place of the first case's; return the case."""
    case = next(case for case in Cohort.load(study).cases if getattr(case, role))
    path = getattr(case, role)
    np.save(path, array)
    table = study.root / "data" / "cohort" / "arrays.tsv"
    rows = read_tsv(table)
    for row in rows:
        if row["case"] == case.case:
            row[f"{role}_bytes"], row[f"{role}_sha256"] = str(path.stat().st_size), hash_file(path)
    write_tsv(table, tuple(rows[0]), rows)
    return case.case


def edit_config(study: Study, old: str, new: str) -> Study:
    path = study.root / "config" / "config.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return Study.load(study.root)


def test_a_good_cohort_passes_and_every_stage_is_foretold(prepared_study):
    done = CliRunner().invoke(app, ["train", "--preflight", "--study", str(prepared_study)])
    assert done.exit_code == 0, done.output
    assert "12 cases read, nothing wrong" in done.output
    for name in TRAINED:
        assert re.search(rf"{name}: .* M parameters, about .* GiB; .* operations per batch, .* epoch", done.output)


@pytest.mark.parametrize(
    ("role", "array", "complaint"),
    [
        ("labels", np.full((16, 16, 16), 99, np.uint8), "label map has id 99, expected 0 … 20"),
        ("labels", np.zeros((16, 16, 16), np.uint8), "label map is empty"),
        ("ct", np.full((32, 32, 32), 4000, np.int16), "CT has 4000 … 4000 HU, expected -1024 … 3071"),
        ("ct", np.full((32, 32, 32), 1024, np.int16), "0.0% soft tissue .* are these HU?"),
    ],
)
def test_values_that_cannot_be_are_refused_with_their_case(role, array, complaint, prepared_study, copy_study):
    study = copy_study(prepared_study)
    case = replace_array(study, role, array)
    with pytest.raises(GuideGenError, match=rf"{re.escape(case)}: .*{complaint}"):
        check_cohort(study, TRAINED, read_arrays=True)


def test_a_stage_does_not_start_on_arrays_of_another_grid(prepared_study, copy_study):
    study = copy_study(prepared_study)
    case = replace_array(study, "labels", np.zeros((8, 8, 8), np.uint8))
    message = rf"{re.escape(case)}: labels has shape \(8, 8, 8\) and type uint8, expected \(16, 16, 16\) and uint8"
    with pytest.raises(GuideGenError, match=message):
        TRAINERS["semantic_synthesizer"](study)


def test_all_that_is_wrong_is_listed_at_once(prepared_study, copy_study):
    study = copy_study(prepared_study)
    table = study.root / "data" / "cohort" / "cohort.tsv"
    rows = read_tsv(table)
    first, second = [row for row in rows if row["has_ct"] == "true" and row["has_labels"] == "true"][:2]
    second["patient"], first["split"], second["split"] = first["patient"], "train", "test"
    write_tsv(table, tuple(rows[0]), rows)
    prompts = study.root / "data" / "cohort" / "text" / "prompts.tsv"
    lines = read_tsv(prompts)
    lines[0]["key"] = "0" * 16
    write_tsv(prompts, tuple(lines[0]), lines)
    (study.root / "data" / "cohort" / "arrays" / f"{second['case']}.ct.npy").write_bytes(b"short")
    study = edit_config(study, "train:\n", "train:\n  devices: 3\n  collection_shares: {nowhere: 0.5}\n")
    with pytest.raises(GuideGenError) as caught:
        check_cohort(study, TRAINED, read_arrays=False)
    text = str(caught.value)
    for wrong in (
        f"patient {first['patient']} is in the splits test and train",
        f"{lines[0]['case']}: no token states for",
        f"{second['case']}.ct.npy has 5 bytes, arrays.tsv says",
        "train.semantic_synthesizer.optimization.accumulate is 2",
        "train.collection_shares: 'nowhere' has no case in the cohort",
    ):
        assert wrong in text


def test_bytes_that_changed_since_they_were_made_are_found(prepared_study, copy_study):
    study = copy_study(prepared_study)
    case = next(case for case in Cohort.load(study).cases if case.ct)
    content = bytearray(case.ct.read_bytes())
    content[-1] ^= 1
    case.ct.write_bytes(content)
    check_cohort(study, TRAINED, read_arrays=False)
    with pytest.raises(GuideGenError, match=rf"{re.escape(str(case.ct))} is not what arrays.tsv says"):
        check_cohort(study, TRAINED, read_arrays=True)


@pytest.mark.parametrize("stage", TRAINED)
def test_recomputed_activations_need_less_memory_and_more_operations(stage, prepared_study, copy_study):
    study = copy_study(prepared_study)
    plain = estimate_stage(study, Cohort.load(study), stage)
    study = edit_config(study, "checkpoint_every: 2,", "checkpoint_every: 2, activation_checkpointing: true,")
    spared = estimate_stage(study, Cohort.load(study), stage)
    assert spared.memory < plain.memory
    assert plain.operations < spared.operations < 1.5 * plain.operations
    assert torch.is_grad_enabled()
