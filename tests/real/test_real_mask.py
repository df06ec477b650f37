"""Real label maps: physical space, plausible intensities, covered ranges and measurements."""

import io
import json
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from PIL import Image

from guidegen.labels import LabelTable, load_labels
from guidegen.manifest import Item
from guidegen.mask.backends import Annotation, MaskCase
from guidegen.mask.resample import Grid, read_volume, write_labels
from guidegen.mask.settings import MaskSettings
from guidegen.mask.shard import MaskWorker
from guidegen.overlay import OUTLINE, PLANES, SOFT_TISSUE, draw_panels

pytestmark = pytest.mark.real
ROOT = Path(__file__).parents[2]
REALDATA = Path(os.environ.get("GUIDEGEN_REALDATA", ROOT.parent / "shared" / "realdata"))
TESTDATA = REALDATA / "TotalSegmentator_testdata"
MASKS = REALDATA / "TotalSegmentator_dataset_masks"


@pytest.fixture(scope="module")
def labels() -> LabelTable:
    if not REALDATA.is_dir():
        pytest.skip(f"no real CT series at {REALDATA}; set GUIDEGEN_REALDATA to the folder that holds them")
    return load_labels(ROOT / "config")


def label(folder: Path, labels: LabelTable, label_map: Path, ct: Path | None) -> dict[str, str]:
    case = MaskCase("real__p__0", "real", folder, ct, "", (Annotation(label_map, "nifti", "1", "expert"),))
    outcome = MaskWorker(MaskSettings(), labels)(Item(case.case, {}, case), folder)
    assert outcome.status == "ok", outcome.reason
    return {**outcome.columns, **outcome.files}


def read_dicom(folder: Path, target: Path) -> np.ndarray:
    """Read the series with SimpleITK, an independent reader, and keep it as RAS+ NIfTI."""
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    SimpleITK.WriteImage(SimpleITK.Cast(reader.Execute(), SimpleITK.sitkInt16), str(target))
    image = nib.as_closest_canonical(nib.load(target))
    nib.save(image, target)
    return np.asarray(image.dataobj)


def test_the_flipped_map_of_the_jpeg2000_series_agrees_in_physical_space(labels, tmp_path):
    ct = tmp_path / "ct.nii.gz"
    hu = read_dicom(TESTDATA / "example_ct_dicom", ct)
    row = label(tmp_path, labels, TESTDATA / "example_seg_dicom.nii.gz", ct)
    source, grid = read_volume(tmp_path / row["source"])
    assert source.shape == hu.shape
    for name, mean in (("liver", 89), ("aorta", 177)):
        assert hu[source == labels.source_ids[name]].mean() == pytest.approx(mean, abs=0.5)
    # SimpleITK places the map independently: all voxels agree.
    image = SimpleITK.ReadImage(str(ct))
    stored_map = SimpleITK.ReadImage(str(TESTDATA / "example_seg_dicom.nii.gz"))
    placed = SimpleITK.Resample(stored_map, image, SimpleITK.Transform(), SimpleITK.sitkNearestNeighbor, 0)
    np.testing.assert_array_equal(source, SimpleITK.GetArrayFromImage(placed).T)
    np.testing.assert_allclose(grid.affine, nib.load(ct).affine, atol=1e-4)
    # Taken index by index, without the affines, the liver would not be liver.
    stored = np.asarray(nib.load(TESTDATA / "example_seg_dicom.nii.gz").dataobj)
    wrong = np.median(hu[stored == labels.source_ids["liver"]])
    assert abs(wrong - 89) > 20
    assert "left_right" not in row["flags"]


def test_the_torso_ct_and_its_map_agree(labels, tmp_path):
    row = label(tmp_path, labels, TESTDATA / "example_seg.nii.gz", TESTDATA / "example_ct_sm.nii.gz")
    assert row["flags"] == ""
    organs = json.loads(row["organs"])
    assert organs["lung"]["hu"] < -700
    assert 100 < organs["vertebrae"]["hu"] < 300
    assert 30 < organs["liver"]["hu"] < 70
    assert (row["coverage_first"], row["coverage_last"]) == ("upper abdomen", "upper abdomen")
    torso, _ = read_volume(tmp_path / row[""])
    source, _ = read_volume(tmp_path / row["source"])
    stored = np.asarray(nib.as_closest_canonical(nib.load(TESTDATA / "example_seg.nii.gz")).dataobj)
    np.testing.assert_array_equal(source, stored)
    np.testing.assert_array_equal(torso, labels.source_to_torso[stored.astype(int)])


@pytest.mark.parametrize(
    ("name", "first", "top", "bottom"),
    [("s0327", "chest", -0.02, 1.48), ("s0328", "upper abdomen", 0.44, 1.39)],
)
def test_label_only_cases_keep_their_own_grid(name, first, top, bottom, labels, tmp_path):
    path = MASKS / f"{name}_total117_1p5mm.nii.gz"
    row = label(tmp_path, labels, path, None)
    assert (row["coverage_first"], row["coverage_last"]) == (first, "pelvis")
    assert float(row["coverage_top"]) == pytest.approx(top, abs=0.02)
    assert float(row["coverage_bottom"]) == pytest.approx(bottom, abs=0.02)
    assert row["absent"] == ""
    assert row["tumour_annotated"] is False
    assert row["flags"] == ""
    image = nib.as_closest_canonical(nib.load(path))
    source, grid = read_volume(tmp_path / row["source"])
    np.testing.assert_array_equal(source, np.asarray(image.dataobj))
    np.testing.assert_allclose(grid.affine, image.affine, atol=1e-4)
    liver, spleen = (np.argwhere(source == labels.source_ids[n])[:, 0].mean() for n in ("liver", "spleen"))
    assert liver > spleen, "x grows to the patient's right"


def test_a_mirrored_real_map_is_excluded(labels, tmp_path):
    values, grid = read_volume(MASKS / "s0328_total117_1p5mm.nii.gz")
    mirrored = tmp_path / "mirrored.nii.gz"
    write_labels(mirrored, values[::-1].copy(), Grid(grid.shape, grid.affine))
    case = MaskCase("real__p__0", "real", tmp_path, None, "", (Annotation(mirrored, "nifti", "1", "expert"),))
    outcome = MaskWorker(MaskSettings(), labels)(Item(case.case, {}, case), tmp_path)
    assert outcome.status == "excluded"
    assert "left_right:kidney_right lies" in outcome.reason


def test_an_organ_cut_out_of_a_real_map_is_absent(labels, tmp_path):
    values, grid = read_volume(MASKS / "s0328_total117_1p5mm.nii.gz")
    values = np.where(values == labels.source_ids["gallbladder"], 0, values)
    path = tmp_path / "without.nii.gz"
    write_labels(path, values, grid)
    assert label(tmp_path, labels, path, None)["absent"] == "gallbladder"


@pytest.mark.parametrize(
    ("ct", "name"),
    [
        ("example_ct", "TotalSegmentator_testdata/example_seg_fast_force_split"),
        (None, "TotalSegmentator_dataset_masks/s0327_total117_1p5mm"),
        (None, "TotalSegmentator_dataset_masks/s0328_total117_1p5mm"),
    ],
)
def test_in_pictures_of_real_cases_left_and_right_anterior_and_superior_are_right(ct, name, labels):
    image = nib.as_closest_canonical(nib.load(REALDATA / f"{name}.nii.gz"))
    torso = labels.source_to_torso[np.asarray(image.dataobj).astype(np.uint8)]
    scan = nib.as_closest_canonical(nib.load(TESTDATA / f"{ct}.nii.gz")) if ct else None
    hu = np.asarray(scan.dataobj).astype(np.int16) if scan else None
    views = [(plane, SOFT_TISSUE) for plane in PLANES]
    panels = {p.plane: p for p in draw_panels(hu, torso, image.header.get_zooms()[:3], labels, views, 300, trim=True)}

    def find(plane: str, organ: str) -> np.ndarray:
        """Mean (row, column) of a class; spine and liver are in every one of these cuts."""
        data = panels[plane].labels
        assert data is not None
        ids = np.asarray(Image.open(io.BytesIO(data))) % OUTLINE
        return np.argwhere(ids == labels.ids[organ]).mean(axis=0)

    for plane in ("axial", "coronal"):
        assert find(plane, "liver")[1] < panels[plane].width / 2, "the liver is on the left of the picture"
    assert find("axial", "vertebrae")[0] > panels["axial"].height / 2, "the spine is below"
    assert find("sagittal", "vertebrae")[1] > panels["sagittal"].width / 2, "the spine is on the right"
    assert find("coronal", "liver")[0] < find("coronal", "urinary_bladder")[0]
