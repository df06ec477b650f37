"""From archive or local folder to tar and volume; nothing is lost and no private identifier leaves."""

import csv
import gzip
import io
import re
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from hand_made_ct import make_ct, make_pattern, write_files
from small_study import Archive, archive_config, make_archive, make_study

from guidegen.convert.shards import convert_shard
from guidegen.errors import GuideGenError, ShardFailed
from guidegen.index.build import build_index
from guidegen.manifest import read_manifest
from guidegen.retrieve.clinical import retrieve_clinical
from guidegen.retrieve.shards import find_collection, retrieve_shard
from guidegen.retrieve.tarball import read_tar
from guidegen.study import Study
from guidegen.tables import read_tsv

SECRETS = ("P-1", "Doe", "Jane", "20010203", "MRN77", "Lake Road")


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return make_archive(tmp_path / "study" / "archive")


@pytest.fixture
def study(tmp_path: Path, archive: Archive) -> Study:
    study = make_study(tmp_path / "study", archive_config())
    build_index(study)
    return study


def bring_in(study: Study, name: str) -> list[dict[str, str]]:
    collection = find_collection(study, name)
    for shard in study.list_shards(name):
        retrieve_shard(study, collection, shard)
        convert_shard(study, collection, shard)
    return read_manifest(study.manifest("data", "ct", name, "s000"))


def test_archive_becomes_tar_and_volume(study: Study) -> None:
    rows = bring_in(study, "tcga_luad")
    raw = read_manifest(study.manifest("data", "raw", "tcga_luad", "s000"))
    assert [(row["role"], row["instances"]) for row in raw] == [("ct", "14"), ("annotation", "1"), ("ct", "12")]
    assert raw[1]["case"].startswith(f"{raw[0]['case']}.annotation-")
    assert raw[1]["parent"] == raw[0]["case"]
    assert [(r["case"], r["status"], r["shape"], r["sex"], r["age"]) for r in rows] == [
        (raw[0]["case"], "ok", "40,36,14", "female", "61"),
        (raw[2]["case"], "ok", "40,36,12", "female", "61"),
    ]
    image = nib.Nifti1Image.load(study.root / rows[1]["path"])
    assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
    assert np.array_equal(np.sort(np.asarray(image.dataobj), axis=None), np.sort(make_pattern(12), axis=None))


def test_second_study_has_the_same_bytes(tmp_path: Path, study: Study, archive: Archive) -> None:
    other = make_study(tmp_path / "other", archive_config(archive=archive.folder))
    build_index(other)
    for one in (study, other):
        bring_in(one, "tcga_luad")
    for phase in ("raw", "ct"):
        manifests = [one.manifest("data", phase, "tcga_luad", "s000").read_bytes() for one in (study, other)]
        assert manifests[0] == manifests[1]


def test_rerun_keeps_what_is_there_and_restores_what_is_not(study: Study) -> None:
    rows = bring_in(study, "tcga_luad")
    times = {row["path"]: (study.root / row["path"]).stat().st_mtime_ns for row in rows}
    (study.root / rows[0]["path"]).unlink()
    again = bring_in(study, "tcga_luad")
    assert again == rows
    assert (study.root / rows[1]["path"]).stat().st_mtime_ns == times[rows[1]["path"]]


def test_broken_series_is_a_failed_row_and_the_others_go_on(tmp_path: Path, archive: Archive) -> None:
    (broken,) = [row for row in archive.rows if row["PatientID"] == "P-2"]
    place = archive.folder / "tcga_luad" / "P-2" / broken["SeriesInstanceUID"]
    next(place.iterdir()).write_bytes(b"broken")
    config = archive_config().replace("collections: [tcga_luad]", "collections: [tcga_luad], max_failed_share: 0.5")
    study = make_study(tmp_path / "study", config)
    build_index(study)
    rows = {row["patient"]: row for row in bring_in(study, "tcga_luad")}
    assert rows["P-1"]["status"] == "ok"
    assert rows["P-2"]["status"] == "failed"
    assert "is no readable DICOM file" in rows["P-2"]["reason"]


def test_too_many_failures_fail_the_shard(study: Study, archive: Archive) -> None:
    shutil.rmtree(archive.folder / "tcga_luad" / "P-2")
    with pytest.raises(ShardFailed, match="1 of 3 items failed"):
        retrieve_shard(study, find_collection(study, "tcga_luad"), "s000")


def test_patient_id_cannot_lead_out_of_the_archive(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "study" / "archive")
    uid = archive.add("P-1", make_ct(12), PatientID="../../outside")
    archive.write()
    outside = tmp_path / "study" / "outside"
    shutil.move(archive.folder / "tcga_luad" / "P-1", outside)
    assert (outside / uid).is_dir()
    study = make_study(tmp_path / "study", archive_config())
    build_index(study)
    with pytest.raises(ShardFailed, match="leads out of the archive"):
        retrieve_shard(study, find_collection(study, "tcga_luad"), "s000")


def test_unknown_shard_and_collection(study: Study) -> None:
    with pytest.raises(GuideGenError, match="no series in shard 's009'"):
        retrieve_shard(study, find_collection(study, "tcga_luad"), "s009")
    with pytest.raises(GuideGenError, match="'nope' is no collection of this study; it has tcga_luad"):
        find_collection(study, "nope")


def test_full_disk_is_seen_before_the_start(tmp_path: Path, study: Study) -> None:
    other = make_study(study.root, archive_config().replace("min_free_gb: 0", "min_free_gb: 1000000"))
    with pytest.raises(GuideGenError, match="must stay free"):
        retrieve_shard(other, find_collection(other, "tcga_luad"), "s000")


def test_clinical_table_of_the_archive(study: Study, archive: Archive) -> None:
    collection = find_collection(study, "tcga_luad")
    assert retrieve_clinical(study, collection) == []
    table = archive.folder / "clinical" / "tcga_luad.tsv"
    table.parent.mkdir()
    table.write_text("case_submitter_id\tgender\nP-1\tfemale\nP-1\tfemale\nP-9\tmale\n")
    (row,) = retrieve_clinical(study, collection)
    assert (row["rows"], row["key_column"]) == ("3", "case_submitter_id")
    assert (study.root / row["path"]).read_text() == table.read_text()
    assert (
        "https://doi.org/10.7937/k9/tcia.2016.jgnihep5"
        in (study.root / "data" / "raw" / "tcga_luad" / "LICENCE.txt").read_text()
    )


def test_clinical_table_of_other_patients_fails(study: Study, archive: Archive) -> None:
    table = archive.folder / "clinical" / "tcga_luad.tsv"
    table.parent.mkdir()
    table.write_text("case_submitter_id\tgender\nX-1\tfemale\n")
    with pytest.raises(ShardFailed, match="no column names a patient of the index"):
        retrieve_clinical(study, find_collection(study, "tcga_luad"))


def make_private(tmp_path: Path) -> tuple[Study, list[pydicom.Dataset]]:
    datasets = make_ct(12)
    for ds in datasets:
        ds.PatientBirthDate, ds.InstitutionName, ds.AccessionNumber = "19400506", "Lake Road Hospital", "MRN77"
        ds.PatientAge, ds.ContrastBolusAgent = "095Y", "Jane's iodine"
        ds.SeriesDescription = "Doe Jane PORTAL VENOUS"
        ds.add_new(0x00091001, "LO", "Doe^Jane private")
    write_files(tmp_path / "scans" / "Doe_Jane", datasets)
    labels = nib.Nifti1Image(np.zeros((40, 36, 12), np.uint8), np.eye(4))
    labels.header["descrip"] = b"Doe Jane MRN77"
    labels.header["aux_file"] = b"Doe_Jane"
    labels.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Doe Jane, Lake Road 5"))
    (tmp_path / "labels").mkdir()
    labels.to_filename(tmp_path / "labels" / "P-1.nii.gz")
    table = "patient_id,patient_name,birth_date,gender,stage,remark\n"
    (tmp_path / "clinical.csv").write_text(table + "P-1,Doe Jane,1940-05-06,female,IIB,see P-1\nP-7,X,1,male,I,\n")
    config = (
        "study: {name: lab, collections: []}\nretrieve: {min_free_gb: 0}\nindex:\n"
        f"  pseudonym_key: {tmp_path}/keys/k\n  selection: {{local: {{min_instances: 12}}}}\n"
        f"  local: {{lab: {{folder: {tmp_path}/scans, labels: {tmp_path}/labels,"
        f" clinical: {tmp_path}/clinical.csv}}}}\n"
    )
    study = make_study(tmp_path / "study", config)
    build_index(study)
    return study, datasets


def test_private_collection_leaks_no_identifier(tmp_path: Path) -> None:
    study, datasets = make_private(tmp_path)
    (row,) = bring_in(study, "lab")
    retrieve_clinical(study, find_collection(study, "lab"))
    uids = [str(getattr(ds, key)) for ds in datasets for key in ("SOPInstanceUID", "SeriesInstanceUID")]
    secrets = [*SECRETS, "19400506", "1940-05-06", *uids, str(datasets[0].StudyInstanceUID), str(tmp_path)]
    files = [path for path in (study.root / "data").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".tsv", ".json", ".txt", ".tar", ".gz"}
    for path in files:
        data = [path.read_bytes()]
        if path.suffix == ".gz":
            data.append(nib.Nifti1Image.load(path).to_bytes())
        if path.name.endswith(".tar") and "labels" in path.name:
            data += [nib.Nifti1Image.from_bytes(gzip.decompress(d)).to_bytes() for _, d in read_tar(path)]
        for secret in secrets:
            assert not any(secret.encode() in part for part in data), f"{secret} in {path.name}"
    assert (row["sex"], row["age"], row["phase"], row["contrast_agent"]) == ("female", "90", "portal venous", "yes")


def test_private_clinical_table_keeps_facts_under_the_pseudonym(tmp_path: Path) -> None:
    study, _ = make_private(tmp_path)
    (row,) = retrieve_clinical(study, find_collection(study, "lab"))
    (patient,) = {r["patient_id"] for r in study.read_index("lab")}
    assert read_tsv(study.root / row["path"]) == [{"patient_id": patient, "gender": "female", "stage": "IIB"}]


def test_deidentified_series_is_the_same_image(tmp_path: Path) -> None:
    study, datasets = make_private(tmp_path)
    (row,) = bring_in(study, "lab")
    image = nib.Nifti1Image.load(study.root / row["path"])
    assert np.array_equal(np.sort(np.asarray(image.dataobj), axis=None), np.sort(make_pattern(12), axis=None))
    raw = [r for r in read_manifest(study.manifest("data", "raw", "lab", "s000")) if r["role"] == "ct"]
    kept = pydicom.dcmread(io.BytesIO(next(data for _, data in read_tar(study.root / raw[0]["path"]))))
    assert kept.PixelData == datasets[0].PixelData
    assert not [element for element in kept if element.tag.is_private]


def test_table_is_read_by_its_header_line(tmp_path: Path) -> None:
    study, _ = make_private(tmp_path)
    text = (tmp_path / "clinical.csv").read_text()
    (tmp_path / "clinical.csv").write_text("\n".join("\t".join(row) for row in csv.reader(io.StringIO(text))) + "\n")
    (row,) = retrieve_clinical(study, find_collection(study, "lab"))
    assert re.fullmatch(r"[0-9a-f]{64}", row["sha256"])
    assert row["rows"] == "1"


def test_local_nifti_and_label_only_case(tmp_path: Path) -> None:
    affine = np.diag([-2.0, -2.0, 3.0, 1.0])
    hu = np.moveaxis(make_pattern(14), 0, 2).astype(np.float32)
    hu[0] = -3024
    for name, data in (("scans/a", hu), ("labels/b", np.ones((4, 4, 4), np.uint8)), ("scans/unit", hu / 4000)):
        path = tmp_path / f"{name}.nii.gz"
        path.parent.mkdir(exist_ok=True)
        nib.Nifti1Image(data, affine).to_filename(path)
    config = (
        "study: {name: lab, collections: []}\nretrieve: {min_free_gb: 0}\n"
        f"index: {{local: {{lab: {{folder: {tmp_path}/scans, labels: {tmp_path}/labels, private: false}}}}}}\n"
    )
    study = make_study(tmp_path / "study", config)
    build_index(study)
    rows = {row["patient"]: row for row in bring_in(study, "lab")}
    assert (rows["b"]["status"], rows["b"]["content"], rows["b"]["path"]) == ("ok", "none", "")
    assert rows["unit"]["status"] == "excluded"
    assert "not_ct: values from" in rows["unit"]["reason"]
    assert (rows["a"]["padding_value"], rows["a"]["spacing_mm"]) == ("-3024", "2,2,3")
    image = nib.Nifti1Image.load(study.root / rows["a"]["path"])
    assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
    assert np.array_equal(np.asarray(image.dataobj), np.maximum(hu, -1024)[::-1, ::-1])
