"""The archive on disk: DICOM, tables, determinism, resuming, refusals."""

import shutil
from pathlib import Path

import highdicom as hd
import numpy as np
import pandas as pd
import pydicom
import pytest
from typer.testing import CliRunner

from guidegen.atomic import hash_file
from guidegen.cli import app
from guidegen.errors import GuideGenError
from guidegen.labels import TUMOUR
from guidegen.phantom import archive as archive_module
from guidegen.phantom.archive import ArchivePlan, build_archive
from guidegen.phantom.dicom import STORAGE, outside_view
from guidegen.phantom.paint import choose_grid, paint_canvas, paint_patient, read_source_ids
from guidegen.phantom.patient import make_patient
from guidegen.phantom.study_writer import SIZES
from guidegen.tables import read_tsv

PLAN = ArchivePlan(("cptac_pda", "tcga_kirc", "tcga_lihc"), 2, 3, "small")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("phantom") / "archive"
    assert build_archive(out, PLAN)
    return out


def list_hashes(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): hash_file(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def read_volume(folder: Path) -> tuple[np.ndarray, np.ndarray, list[pydicom.Dataset]]:
    """HU in RAS+ order, affine and headers of an axial series, read in the order of positions."""
    slices = sorted((pydicom.dcmread(p) for p in folder.iterdir()), key=lambda d: float(d.ImagePositionPatient[2]))
    hu = np.stack([d.pixel_array.astype(int) * int(d.RescaleSlope) + int(d.RescaleIntercept) for d in slices], -1)
    hu = hu.transpose(1, 0, 2)[::-1, ::-1]
    step = [float(slices[0].PixelSpacing[1]), float(slices[0].PixelSpacing[0])]
    z = [float(d.ImagePositionPatient[2]) for d in slices]
    affine = np.diag([*step, (z[-1] - z[0]) / (len(z) - 1), 1.0])
    first = slices[0].ImagePositionPatient
    n = hu.shape
    affine[:3, 3] = [-first[0] - step[0] * (n[0] - 1), -first[1] - step[1] * (n[1] - 1), first[2]]
    return hu, affine, slices


def each_patient() -> list[tuple[str, int]]:
    return [(c, i) for c in PLAN.collections for i in range(PLAN.patients)]


@pytest.mark.parametrize(("collection", "index"), each_patient())
def test_main_series_is_the_painted_volume(archive: Path, collection: str, index: int) -> None:
    patient = make_patient(collection, index, PLAN.seed)
    truth = next(r for r in read_tsv(archive / "truth.tsv") if r["patient_id"] == patient.patient_id)
    hu, affine, slices = read_volume(archive / collection / patient.patient_id / truth["series_uid"])
    size, spacing = SIZES[PLAN.size]
    _, _, expected = paint_patient(patient, spacing, size)
    assert np.allclose(affine, expected, atol=1e-3)
    storage = STORAGE.get(collection)
    if storage and storage.padding is not None:
        outside = outside_view(size)
        assert (hu[outside] == storage.padding).all()
        hu[outside] = -1000
    assert hu.min() >= -1024
    assert -1010 < np.median(hu[:4]) < -990
    assert {d.PatientID for d in slices} == {patient.patient_id}
    assert {d.PatientSex for d in slices} == {"F" if patient.sex == "female" else "M"}
    enhanced = patient.phase != "non-contrast"
    assert all(("ContrastBolusAgent" in d) == enhanced for d in slices)
    names = [p.name for p in sorted((archive / collection / patient.patient_id / truth["series_uid"]).iterdir())]
    by_height = [f"{d.SOPInstanceUID}.dcm" for d in slices]
    assert names != by_height, "file names say nothing about the order of the slices"


@pytest.mark.parametrize(("collection", "index"), each_patient())
def test_seg_equals_the_painted_labels(archive: Path, collection: str, index: int) -> None:
    patient = make_patient(collection, index, PLAN.seed)
    size, spacing = SIZES[PLAN.size]
    labels = paint_canvas(patient, choose_grid(patient, spacing, size)).label
    ids = read_source_ids()
    table = pd.read_parquet(archive / "seg_index.parquet").set_index("SeriesInstanceUID")
    found = np.zeros_like(labels)
    seen = set()
    for path in sorted((archive / collection / patient.patient_id).rglob("*.dcm")):
        if pydicom.dcmread(path, stop_before_pixels=True).Modality != "SEG":
            continue
        seg = hd.seg.segread(path)
        row = table.loc[seg.SeriesInstanceUID]
        seen.add(row["SegmentationType"])
        assert row["segmented_SeriesInstanceUID"] == seg.ReferencedSeriesSequence[0].SeriesInstanceUID
        assert row["total_segments"] == len(seg.segment_numbers)
        truth = next(r for r in read_tsv(archive / "truth.tsv") if r["patient_id"] == patient.patient_id)
        assert row["segmented_SeriesInstanceUID"] == truth["series_uid"]
        _, _, slices = read_volume(archive / collection / patient.patient_id / truth["series_uid"])
        pixels = seg.get_pixels_by_source_instance(
            [d.SOPInstanceUID for d in slices], combine_segments=True, ignore_spatial_locations=True,
            assert_missing_frames_are_empty=True,
        )  # fmt: skip
        lookup = np.zeros(256, np.uint8)
        for number in seg.segment_numbers:
            lookup[number] = ids[seg.get_segment_description(number).segment_label]
        volume = lookup[pixels].transpose(2, 1, 0)[::-1, ::-1]
        assert not (found[volume > 0]).any(), "two segmentations overlap"
        found += volume
    assert np.array_equal(found, labels)
    assert seen == ({"LABELMAP", "BINARY"} if (labels == ids[TUMOUR]).any() else {"LABELMAP"})


def test_index_rows_match_the_files(archive: Path) -> None:
    table = pd.read_parquet(archive / "idc_index.parquet")
    assert table.SeriesInstanceUID.is_unique
    assert table.crdc_series_uuid.is_unique
    for row in table.itertuples():
        folder = archive / str(row.collection_id) / str(row.PatientID) / str(row.SeriesInstanceUID)
        files = sorted(folder.iterdir())
        assert len(files) == row.instanceCount
        assert sum(p.stat().st_size for p in files) == pytest.approx(row.series_size_MB * 1e6, abs=1)
        ds = pydicom.dcmread(files[0], stop_before_pixels=True)
        assert f"{ds.SOPInstanceUID}.dcm" == files[0].name
        for name in (
            "SeriesInstanceUID",
            "StudyInstanceUID",
            "Modality",
            "SeriesDescription",
            "PatientID",
            "SOPClassUID",
        ):
            assert str(getattr(row, name)) == str(ds[name].value), name
        assert str(row.TransferSyntaxUID) == str(ds.file_meta.TransferSyntaxUID)
    on_disk = {p.parent.name for p in archive.rglob("*.dcm")}
    assert on_disk == set(table.SeriesInstanceUID)
    kinds = table.groupby("PatientID").SeriesDescription.apply(list)
    assert all(any(d in ("SCOUT", "LOCALIZER") or d.startswith("Topogram") for d in names) for names in kinds)


def test_index_has_columns_of_the_idc(archive: Path) -> None:
    package = pytest.importorskip("idc_index_data")
    import pyarrow.parquet as pq

    real = pq.read_schema(package.IDC_INDEX_PARQUET_FILEPATH)
    ours = pq.read_schema(archive / "idc_index.parquet")
    for field in ours:
        assert real.field(field.name).type == field.type


def test_clinical_table_agrees_with_truth(archive: Path) -> None:
    truth = {row["patient_id"]: row for row in read_tsv(archive / "truth.tsv")}
    seen = set()
    for collection in PLAN.collections:
        for row in read_tsv(archive / "clinical" / f"{collection}.tsv"):
            patient = truth[row["case_submitter_id"]]
            seen.add(row["case_submitter_id"])
            assert row["gender"] == patient["sex"]
            assert row["age_at_index"] in (patient["age"], "'--")
            assert int(row["age_at_diagnosis"]) // 365.25 == int(patient["age"])
            if patient["tumour_side"]:
                assert row["laterality"] == patient["tumour_side"].capitalize()
            if row["tumor_largest_dimension_diameter"] != "'--":
                assert float(row["tumor_largest_dimension_diameter"]) == pytest.approx(
                    float(patient["tumour_diameter_mm"]) / 10, abs=0.051
                )
    assert seen == set(truth)


def test_same_seed_same_bytes_with_any_number_of_processes(archive: Path, tmp_path: Path) -> None:
    build_archive(tmp_path / "again", PLAN, processes=2)
    assert list_hashes(tmp_path / "again") == list_hashes(archive)


def test_interrupted_archive_is_finished(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "archive"
    write = archive_module.write_patient
    done = []

    def write_three(folder: Path, patient: object, size: str) -> object:
        if len(done) == 3:
            (folder / "half a series").mkdir()
            raise KeyboardInterrupt
        done.append(patient)
        return write(folder, patient, size)  # type: ignore[arg-type]

    monkeypatch.setattr(archive_module, "write_patient", write_three)
    with pytest.raises(KeyboardInterrupt):
        build_archive(out, PLAN)
    assert not (out / "idc_index.parquet").exists()
    monkeypatch.undo()
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*.dcm")}
    assert build_archive(out, PLAN)
    assert all(p.stat().st_mtime_ns == t for p, t in before.items() if p.exists())
    assert list_hashes(out) == list_hashes(archive)
    assert not build_archive(out, PLAN)


def test_archive_of_other_parameters_is_refused(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(GuideGenError, match="seed: 3 there, 4 wanted"):
        build_archive(archive, ArchivePlan(PLAN.collections, PLAN.patients, 4, PLAN.size))
    (tmp_path / "thesis.txt").write_text("not an archive")
    with pytest.raises(GuideGenError, match="not empty"):
        build_archive(tmp_path, PLAN)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_command_refuses_unknown_collection(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["phantom", "--out", str(tmp_path / "a"), "--collections", "tcga_xyz"])
    assert result.exit_code != 0
    assert "tcga_xyz" in str(result.exception)
    assert not (tmp_path / "a").exists()


def test_removing_a_patient_of_an_unfinished_archive_writes_it_again(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "archive"
    shutil.copytree(archive, out)
    (out / "idc_index.parquet").unlink()
    victim = next(p for p in sorted((out / "tcga_kirc").iterdir()))
    shutil.rmtree(victim)
    build_archive(out, PLAN)
    assert list_hashes(out) == list_hashes(archive)
