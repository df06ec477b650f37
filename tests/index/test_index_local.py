"""A lab's own folder: what is found in it, and that private identifiers stay where they belong."""

import stat
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hand_made_ct import make_ct, write_files
from small_study import make_study

from guidegen.errors import GuideGenError
from guidegen.index.build import build_index
from guidegen.index.pseudonyms import private_table
from guidegen.study import Study


def write_nifti(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.Nifti1Image(values, np.diag([2.0, 2.0, 3.0, 1.0])).to_filename(path)


def local_config(tmp_path: Path, *, private: bool = True, labels: bool = False, key: Path | None = None) -> str:
    extra = f", labels: {tmp_path}/labels" if labels else ""
    return (
        "study: {name: lab, collections: []}\n"
        "retrieve: {min_free_gb: 0}\n"
        "index:\n"
        f"  pseudonym_key: {key or tmp_path / 'keys' / 'k'}\n"
        "  selection: {local: {min_instances: 12}}\n"
        f"  local: {{lab: {{folder: {tmp_path}/scans, private: {str(private).lower()}{extra}}}}}\n"
    )


def build(tmp_path: Path, **options: bool) -> Study:
    study = make_study(tmp_path / "study", local_config(tmp_path, **options))
    build_index(study)
    return study


def test_private_index_holds_no_identifier(tmp_path: Path) -> None:
    datasets = make_ct(12)
    write_files(tmp_path / "scans" / "Doe_Jane", datasets)
    study = build(tmp_path)
    text = "".join(path.read_text() for path in (study.root / "data").rglob("*") if path.is_file())
    for secret in ("P-1", "Doe", "Jane", "20010203", str(datasets[0].SeriesInstanceUID), str(tmp_path), "CHEST 2.5"):
        assert secret not in text
    table = private_table(study, "lab")
    assert str(datasets[0].SeriesInstanceUID) in table.read_text()
    assert stat.S_IMODE(table.stat().st_mode) == 0o600


def test_key_is_made_once_for_its_owner_only_and_gives_the_same_pseudonyms(tmp_path: Path) -> None:
    write_files(tmp_path / "scans", make_ct(12))
    study = build(tmp_path)
    before = study.index_table("lab").read_bytes()
    assert stat.S_IMODE((tmp_path / "keys" / "k").stat().st_mode) == 0o600
    build_index(study, force=True)
    assert study.index_table("lab").read_bytes() == before


def test_key_inside_the_study_is_refused(tmp_path: Path) -> None:
    write_files(tmp_path / "scans", make_ct(12))
    key = tmp_path / "study" / "key"
    study = make_study(tmp_path / "study", local_config(tmp_path, key=key))
    with pytest.raises(GuideGenError, match="lies inside the study folder"):
        build_index(study)
    assert not key.exists()


def test_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    write_files(tmp_path / "scans", make_ct(12))
    study = build(tmp_path)
    (tmp_path / "keys" / "k").chmod(0o644)
    with pytest.raises(GuideGenError, match="readable by others; run `chmod 600"):
        build_index(study, force=True)


def test_series_without_identifiers_takes_its_folder(tmp_path: Path) -> None:
    datasets = make_ct(12)
    for ds in datasets:
        ds.PatientID = ds.SeriesInstanceUID = ds.StudyInstanceUID = ""
    write_files(tmp_path / "scans" / "subject7", datasets)
    (row,) = build(tmp_path, private=False).read_index("lab")
    assert (row["patient"], row["instances"]) == ("subject7", "12")
    assert row["series_uid"].startswith("2.25.")


def test_labels_follow_their_ct_and_labels_alone_make_a_case(tmp_path: Path) -> None:
    write_nifti(tmp_path / "scans" / "a.nii.gz", np.zeros((4, 4, 4), np.int16))
    write_nifti(tmp_path / "labels" / "a.nii.gz", np.zeros((4, 4, 4), np.uint8))
    write_nifti(tmp_path / "labels" / "b.nii.gz", np.zeros((4, 4, 4), np.uint8))
    rows = build(tmp_path, private=False, labels=True).read_index("lab")
    assert [(row["patient"], row["role"], row["format"]) for row in rows] == [
        ("a", "ct", "nifti"),
        ("a", "labels", "nifti"),
        ("b", "labels", "nifti"),
    ]
    assert rows[0]["case"] == rows[1]["case"] != rows[2]["case"]


def test_labels_follow_a_dicom_series_by_its_patient_id(tmp_path: Path) -> None:
    write_files(tmp_path / "scans" / "dicom", make_ct(12))
    write_nifti(tmp_path / "labels" / "P-1.nii.gz", np.zeros((4, 4, 4), np.uint8))
    rows = build(tmp_path, labels=True).read_index("lab")
    assert [row["role"] for row in rows] == ["ct", "labels"]
    assert rows[0]["case"] == rows[1]["case"]


def test_folder_without_ct(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "notes.txt").write_text("no images here")
    with pytest.raises(GuideGenError, match=r"index\.local\.lab: no CT in .*1 files searched"):
        build(tmp_path)
    assert not (tmp_path / "study" / "data").exists()


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(GuideGenError, match=r"index\.local\.lab\.folder: no folder"):
        build(tmp_path)


def test_two_series_in_one_folder_are_told_apart(tmp_path: Path) -> None:
    write_files(tmp_path / "scans" / "one", [*make_ct(12), *make_ct(14)])
    study = build(tmp_path, private=False)
    (row,) = study.read_index("lab")
    assert row["instances"] == "14"


def test_name_of_a_public_collection_is_refused(tmp_path: Path) -> None:
    write_files(tmp_path / "scans", make_ct(12))
    config = local_config(tmp_path).replace("{lab:", "{tcga_luad:")
    study = make_study(tmp_path / "study", config)
    with pytest.raises(GuideGenError, match="'tcga_luad' is the name of a public collection"):
        build_index(study)
