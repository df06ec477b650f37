"""Layouts of made cases, read back by the tools that others would use."""

import json
import shutil
import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from fabricated_study import CONFIG, make_volume

from guidegen.convert.settings import ConvertSettings
from guidegen.convert.shards import Conversion, convert_case
from guidegen.errors import GuideGenError
from guidegen.labels import load_labels
from guidegen.manifest import BASE_COLUMNS, Item
from guidegen.mask.backends import Annotation, MaskCase
from guidegen.mask.dicom_seg import label_case
from guidegen.mask.resample import read_volume, write_labels
from guidegen.mask.seg_frames import read_frames
from guidegen.mask.settings import MaskSettings
from guidegen.retrieve.tarball import write_tar
from guidegen.synthesize.dicom import INSTITUTION, write_dicom
from guidegen.synthesize.layouts import MadeCase, read_cases
from guidegen.synthesize.nnunet import write_nnunet
from guidegen.synthesize.volumes import center_grid, write_ct
from guidegen.tables import write_tsv

TABLE = load_labels(CONFIG)
YOUNGER_THAN_VALIDATOR = "(0x0008,0x001c)"
"""Synthetic Data; Debian's dicom3tools is of 2022 and does not know it."""
SIZE, SPACING = 30, (9.1, 8.3, 12.7)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[MadeCase]:
    """Two plain cases and one that failed its gates, by their manifest."""
    folder = tmp_path_factory.mktemp("plain")
    rows = []
    for number in range(3):
        ct, labels = (array[:SIZE, :SIZE, :SIZE] for array in make_volume(np.random.default_rng(number)))
        fine = np.kron(ct, np.ones((2, 2, 2), np.int16)) + np.arange(2 * SIZE, dtype=np.int16)
        case = f"train-{number:05d}"
        write_ct(folder / f"{case}.ct.nii.gz", fine.astype(np.int16), center_grid(SIZE, SPACING, 2))
        write_labels(folder / f"{case}.labels.nii.gz", labels, center_grid(SIZE, SPACING))
        sidecar = {
            "case": case,
            "prompt": "68-year-old woman, 3 cm mass in the liver – ασθενής",
            "statements": {"age": 68, "sex": "female"},
            "seed": number,
            "models": {"latent_generator": "00"},
            "licences": [{"collection": "tcga_lihc", "licence": "CC BY 3.0"}],
        }
        (folder / f"{case}.json").write_text(json.dumps(sidecar))
        row = {"case": case, "status": "ok" if number < 2 else "excluded", "path": f"{case}.ct.nii.gz"}
        rows.append({**row, "labels_path": f"{case}.labels.nii.gz", "sidecar_path": f"{case}.json"})
    write_tsv(folder / "s000.tsv", [*BASE_COLUMNS, "labels_path", "sidecar_path"], rows)
    return read_cases(folder, [folder / "s000.tsv"])


@pytest.fixture(scope="module")
def dicom(cases: list[MadeCase], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("layout") / "dicom"
    write_dicom(cases, out, TABLE)
    return out


def test_cases_that_failed_their_gates_are_in_no_layout(cases: list[MadeCase], dicom: Path) -> None:
    assert [case.case for case in cases] == ["train-00000", "train-00001"]
    assert sorted(path.name for path in dicom.iterdir()) == ["train-00000", "train-00001"]


def test_nnunet_dataset_has_one_grid_for_image_and_labels(cases: list[MadeCase], tmp_path: Path) -> None:
    out = tmp_path / "Dataset501_Synthetic"
    write_nnunet(cases, out, TABLE)
    described = json.loads((out / "dataset.json").read_text())
    assert described["numTraining"] == 2
    assert described["labels"]["background"] == 0
    assert described["labels"]["tumour"] == 20
    assert described["channel_names"] == {"0": "CT"}
    assert described["licence"] == ["CC BY 3.0"]
    for case in cases:
        image = nib.load(out / "imagesTr" / f"{case.case}_0000.nii.gz")
        labels = nib.load(out / "labelsTr" / f"{case.case}.nii.gz")
        assert image.shape == labels.shape == (60, 60, 60)
        np.testing.assert_allclose(image.affine, labels.affine)
        small = nib.load(case.labels)
        np.testing.assert_array_equal(np.asarray(labels.dataobj)[::2, ::2, ::2], np.asarray(small.dataobj))
        assert (out / "sidecars" / f"{case.case}.json").is_file()


def test_wrong_name_and_full_folder_are_refused_and_nothing_is_half_made(cases: list[MadeCase], tmp_path: Path) -> None:
    with pytest.raises(GuideGenError, match="a name such as Dataset501_Synthetic"):
        write_nnunet(cases, tmp_path / "synthetic", TABLE)
    full = tmp_path / "Dataset502_Full"
    full.mkdir()
    (full / "mine.txt").write_text("keep")
    for write in (write_nnunet, write_dicom):
        with pytest.raises(GuideGenError, match="exists already"):
            write(cases, full, TABLE)
    damaged = MadeCase("x", cases[0].labels, cases[0].ct, cases[0].sidecar)
    with pytest.raises((GuideGenError, ValueError, ZeroDivisionError)):
        write_nnunet([cases[0], damaged], tmp_path / "Dataset503_Damaged", TABLE)
    assert [path.name for path in tmp_path.iterdir()] == ["Dataset502_Full"]
    assert (full / "mine.txt").read_text() == "keep"


def test_dicom_says_everywhere_that_it_is_synthetic(dicom: Path) -> None:
    for path in [dicom / "train-00000/ct/00001.dcm", dicom / "train-00000/seg.dcm"]:
        ds = pydicom.dcmread(path)
        assert ds.SyntheticData == "YES"
        assert ds.ImageType[0] == "DERIVED"
        assert ds.InstitutionName == INSTITUTION
        assert ds.SeriesDescription.startswith("SYNTHETIC")
        assert str(ds.PatientName).startswith("Synthetic")
    assert pydicom.dcmread(dicom / "train-00000/ct/00001.dcm").ImageComments.endswith("ασθενής")


def test_dicom_is_a_function_of_the_seed(cases: list[MadeCase], dicom: Path, tmp_path: Path) -> None:
    write_dicom(cases[:1], tmp_path / "again", TABLE)
    for path in (tmp_path / "again").rglob("*.dcm"):
        assert path.read_bytes() == (dicom / path.relative_to(tmp_path / "again")).read_bytes()
    reseeded = MadeCase(cases[0].case, cases[0].ct, cases[0].labels, {**cases[0].sidecar, "seed": 99})
    write_dicom([reseeded], tmp_path / "other", TABLE)
    uids = [_list_uids(folder) for folder in (dicom / "train-00000", dicom / "train-00001", tmp_path / "other")]
    assert len(set.union(*uids)) == sum(map(len, uids)) == 3 * (2 * SIZE + 5)


def _list_uids(folder: Path) -> set[str]:
    names = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")
    read = [pydicom.dcmread(path, stop_before_pixels=True) for path in folder.rglob("*.dcm")]
    return {str(ds[name].value) for ds in read for name in names}


def test_dicom_comes_back_through_convert_with_the_same_voxels_and_place(
    cases: list[MadeCase], dicom: Path, tmp_path: Path
) -> None:
    files = sorted((dicom / "train-00000" / "ct").iterdir())
    write_tar(tmp_path / "series.tar", ((f"{n:05d}.dcm", path.read_bytes()) for n, path in enumerate(files, 1)))
    raw = {"status": "ok", "path": str(tmp_path / "series.tar"), "format": "dicom"}
    task = Conversion(tmp_path, {"patient": "P", "patient_id": "P"}, raw, ConvertSettings())  # type: ignore[call-arg]
    outcome = convert_case(Item("case", {}, task), tmp_path)
    assert outcome.status == "ok", outcome.reason
    back, grid = read_volume(tmp_path / outcome.files[""])
    ct, _, own = cases[0].load()
    np.testing.assert_array_equal(back, ct)
    np.testing.assert_allclose(grid.affine, own.affine, atol=1e-3)
    assert outcome.columns["sex"] == "female"
    assert float(outcome.columns["age"]) == 68


def test_segmentation_comes_back_voxel_by_voxel(cases: list[MadeCase], dicom: Path, tmp_path: Path) -> None:
    _, labels, own = cases[0].load()
    path = dicom / "train-00000/seg.dcm"
    ds = pydicom.dcmread(path)
    frames = read_frames(path, ds)
    names = {int(item.SegmentNumber): str(item.SegmentLabel) for item in ds.SegmentSequence}
    present = [entry for entry in TABLE.classes[1:] if (labels == entry.id).any()]
    assert [names[number] for number in sorted(names)] == [_name(entry) for entry in present]
    for number, entry in enumerate(present, 1):
        block, affine = frames.extract(number)
        voxels = np.argwhere(block) @ affine[:3, :3].T + affine[:3, 3]
        expected = np.argwhere(labels == entry.id) @ own.affine[:3, :3].T + own.affine[:3, 3]
        np.testing.assert_allclose(
            voxels[np.lexsort(np.round(voxels, 2).T)], expected[np.lexsort(np.round(expected, 2).T)], atol=1e-3
        )
    write_tar(tmp_path / "seg.tar", [("00001.dcm", path.read_bytes())])
    series = str(pydicom.dcmread(dicom / "train-00000/ct/00001.dcm").SeriesInstanceUID)
    case = MaskCase("case", "made", tmp_path, None, series, (Annotation(tmp_path / "seg.tar", "dicom", "1", "ai"),))
    layer = label_case(case, own, MaskSettings(), TABLE.source_ids)
    assert layer is not None
    assert layer.organs is not None
    for entry in present:
        if _name(entry) in TABLE.source_ids and entry.name != "tumour":
            found = layer.organs == TABLE.source_ids[_name(entry)]
            np.testing.assert_array_equal(found, labels == entry.id, err_msg=entry.name)


def _name(entry) -> str:
    return entry.source_labels[0] if len(entry.source_labels) == 1 else entry.name


def test_a_dicom_validator_accepts_both(dicom: Path) -> None:
    tool = shutil.which("dciodvfy")
    if not tool:
        pytest.skip("no dciodvfy; apt-get install dicom3tools")
    for path in [dicom / "train-00000/ct/00001.dcm", dicom / "train-00000/seg.dcm"]:
        done = subprocess.run([tool, str(path)], capture_output=True, text=True, check=False)
        told = (done.stdout + done.stderr).splitlines()
        assert told, "dciodvfy said nothing, not even the kind of object"
        errors = [line for line in told if line.startswith("Error") and YOUNGER_THAN_VALIDATOR not in line]
        assert errors == []
