"""The whole phase on a study whose earlier phases are done."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from fabricated_study import fabricate_study, write_volume

from guidegen.errors import GuideGenError, ItemError
from guidegen.manifest import Item, list_files, read_manifest
from guidegen.prepare.arrays import ArrayTask, find_body_box, make_arrays
from guidegen.prepare.cohort import read_cohort
from guidegen.prepare.run import prepare_cohort
from guidegen.prepare.text import hash_prompt
from guidegen.study import Study
from guidegen.tables import read_tsv, write_tsv

KINDS = {"0": "ct", "1": "labels", "2": "convert-failed", "3": "mask-failed"}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    made = fabricate_study(tmp_path_factory.mktemp("prepare") / "study", only=KINDS)
    prepare_cohort(made)
    return made


@pytest.fixture
def copied(study: Study, tmp_path: Path) -> Study:
    shutil.copytree(study.root, tmp_path / "study")
    return Study.load(tmp_path / "study")


def read_rows(study: Study) -> dict[str, dict[str, str]]:
    return {row["case"]: row for row in read_tsv(study.root / "data/cohort/cohort.tsv")}


def test_every_case_of_the_index_is_a_row_with_a_reason_where_unused(study: Study) -> None:
    rows = read_rows(study)
    assert set(rows) == {row["case"] for name in study.collections for row in study.read_index(name)}
    failed = {row["patient"]: row["reason"] for row in rows.values() if row["status"] != "ok"}
    assert failed == {"KIRC-0002": "convert: no slices", "KIRC-0003": "mask: unreadable SEG"}
    assert all(bool(row["split"]) == (row["status"] == "ok") for row in rows.values())


def test_cases_may_hold_only_a_ct_or_only_labels(study: Study) -> None:
    found = {case.patient: case for case in read_cohort(study)}
    assert found["KIRC-0000"].labels_path is None
    assert found["KIRC-0000"].load_ct().shape == (32, 32, 32)
    assert found["KIRC-0001"].ct_path is None
    assert found["KIRC-0001"].load_labels().shape == (16, 16, 16)


def test_arrays_cover_the_trunk_box_and_say_their_true_spacing(study: Study) -> None:
    case = next(case for case in read_cohort(study) if case.patient == "KIRC-0004")
    assert case.load_ct().dtype == np.int16
    assert case.load_labels().dtype == np.uint8
    assert case.spacing == (42 * 8 / 16, 32 * 8 / 16, 60 * 8 / 16)
    labels, ct = case.load_labels(), case.load_ct()
    liver = ct[np.kron(labels == 3, np.ones((2, 2, 2), bool)).astype(bool)]
    assert abs(np.median(liver) - 110) < 15
    assert np.argwhere(labels == 3)[:, 0].mean() > np.argwhere(labels == 1)[:, 0].mean()


def test_manifests_name_what_lies_there(study: Study) -> None:
    for name in ("arrays", "text"):
        manifest = study.manifest("data", "cohort", name)
        named = {study.root / file for row in read_manifest(manifest) for _, file, _, _ in list_files(row)}
        assert named == {path for path in manifest.with_suffix("").rglob("*") if path.is_file()}


def test_token_states_are_keyed_by_content_and_hold_the_empty_prompt(study: Study) -> None:
    from safetensors.numpy import load_file

    states = load_file(study.root / "data/cohort/text/states.safetensors")
    prompts = read_tsv(study.root / "data/cohort/text/prompts.tsv")
    assert set(states) == {"empty", *(row["key"] for row in prompts)}
    assert all(row["key"] == hash_prompt(row["prompt"]) for row in prompts)
    assert all(state.dtype == np.float16 and state.ndim == 2 for state in states.values())
    assert {row["case"] for row in prompts} == {case.case for case in read_cohort(study)}


def test_running_again_changes_nothing(copied: Study) -> None:
    files = {path: path.read_bytes() for path in (copied.root / "data").rglob("*") if path.is_file()}
    prepare_cohort(copied)
    assert {path: path.read_bytes() for path in (copied.root / "data").rglob("*") if path.is_file()} == files


def test_a_new_patient_leaves_the_old_ones_where_they_are(copied: Study, tmp_path: Path) -> None:
    before = {row["patient"]: row["split"] for row in read_rows(copied).values() if row["split"]}
    larger = fabricate_study(tmp_path / "larger", patients=9, only=KINDS)
    shutil.copytree(copied.root / "data/cohort", larger.root / "data/cohort")
    prepare_cohort(larger)
    after = {row["patient"]: row["split"] for row in read_rows(larger).values() if row["split"]}
    assert len(after) == len(before) + 6
    assert {patient: after[patient] for patient in before} == before


def test_series_of_one_patient_share_a_split(copied: Study) -> None:
    """A second series of each patient, in another collection even, does not cross."""
    for name in ("index", "ct", "mask", "text"):
        for path in (copied.root / "data" / name).rglob("tcga_lihc*/s000.tsv" if name in ("ct", "mask") else "*.tsv"):
            rows = read_tsv(path)
            renamed = [{key: value.replace("LIHC-", "KIRC-") for key, value in row.items()} for row in rows]
            write_tsv(path, list(rows[0]), renamed)
    for path in (copied.root / "data").rglob("*LIHC-*.nii.gz"):
        path.rename(path.with_name(path.name.replace("LIHC-", "KIRC-")))
    shutil.rmtree(copied.root / "data/cohort")
    prepare_cohort(copied)
    splits: dict[str, set[str]] = {}
    for case in read_cohort(copied):
        splits.setdefault(case.patient, set()).add(case.split)
    assert len(splits) == 6
    assert all(len(found) == 1 for found in splits.values())


def test_missing_manifest_names_the_command_that_makes_it(copied: Study) -> None:
    (copied.root / "data/mask/tcga_lihc/s000.tsv").unlink()
    with pytest.raises(GuideGenError, match="guidegen mask --collection tcga_lihc --shard s000"):
        prepare_cohort(copied)


def test_nothing_usable_is_an_error_with_the_reasons(tmp_path: Path) -> None:
    study = fabricate_study(tmp_path / "study", patients=1, only={"0": "convert-failed"})
    config = study.root / "config/config.yaml"
    config.write_text(config.read_text().replace("[tcga_kirc, tcga_lihc]", "[tcga_kirc]"))
    with pytest.raises(GuideGenError, match="none of 1 cases is usable: convert: no slices"):
        prepare_cohort(Study.load(study.root))


def test_ct_and_labels_on_different_grids_fail_the_case(copied: Study) -> None:
    path = sorted((copied.root / "data/mask/tcga_lihc/s000").glob("*.nii.gz"))[0]
    write_volume(path, np.ones((44, 34, 59), np.uint8))
    from guidegen.atomic import hash_file

    manifest = copied.root / "data/mask/tcga_lihc/s000.tsv"
    rows = read_tsv(manifest)
    for row in rows:
        if row["path"].endswith(path.name):
            row |= {"sha256": hash_file(path)}
    write_tsv(manifest, list(rows[0]), rows)
    prepare_cohort(copied)
    row = read_rows(copied)[path.name.removesuffix(".torso.nii.gz")]
    assert row["status"] == "failed"
    assert "do not share one grid" in row["reason"]


def test_a_volume_that_is_not_ras_is_refused(tmp_path: Path) -> None:
    import nibabel as nib

    path = tmp_path / "x.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((8, 8, 8), np.int16), np.diag([-1.0, 1, 1, 1])), path)
    task = ArrayTask(ct=path, labels=None, box=None, grid=8, classes=21)
    with pytest.raises(ItemError, match=r"RAS\+"):
        make_arrays(Item("x", {}, task), tmp_path)


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("trunk_only", [True, False])
def test_table_and_arms_within_the_box_become_air(trunk_only: bool, labelled: bool, tmp_path: Path) -> None:
    """The hips are wide, so that arms beside the waist and the couch lie within the trunk's box."""
    import nibabel as nib

    ct = np.full((64, 48, 32), -1000, np.int16)
    ct[20:44, 12:40] = 40
    ct[8:56, 12:40, :8] = 40
    ct[8:14, 20:28, 12:] = 40  # an arm
    ct[8:56, 9:10] = 200  # the couch
    labels = np.zeros(ct.shape, np.uint8)
    labels[24:40, 16:32] = 3
    for name, volume in (("ct", ct), ("labels", labels)):
        nib.save(nib.Nifti1Image(volume, np.diag([5.0, 5.0, 5.0, 1.0])), tmp_path / f"{name}.nii.gz")
    ct_path, labels_path = tmp_path / "ct.nii.gz", tmp_path / "labels.nii.gz"
    task = ArrayTask(ct_path, labels_path if labelled else None, (4, 60, 8, 42, 0, 32), 32, 21, trunk_only)
    outcome = make_arrays(Item("x", {}, task), tmp_path)
    made = np.load(tmp_path / outcome.files["ct"])
    arm, couch, waist, hips = made[7, 30, 40], made[32, 2:4, 40].max(), made[32, 30, 40], made[8, 30, 4]
    assert (arm == couch == -1024) if trunk_only else (arm == 40 and couch > -200)
    assert (waist, hips) == (40, 40)
    assert made[7, 30, 4] == 40, "the hips are as far out as the arm"


def test_body_box_of_a_ct_without_labels_leaves_the_air_out() -> None:
    ct = np.full((64, 64, 20), -1000, np.int16)
    ct[10:50, 20:40] = 40
    ct[2:62, 5:6] = 100
    box = find_body_box(ct)
    assert box == (10, 50, 20, 40, 0, 20)


def test_splits_file_is_readable_state(study: Study) -> None:
    state = json.loads((study.root / "data/cohort/splits.json").read_text())
    assert {row["patient"]: row["split"] for row in read_rows(study).values() if row["split"]} == {
        patient: entry["split"] for patient, entry in state["patients"].items()
    }
