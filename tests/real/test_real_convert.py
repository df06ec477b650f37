"""Real CT series become the volume that SimpleITK reads, voxel by voxel in physical space."""

import os
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from guidegen.convert.shards import convert_shard
from guidegen.index.build import build_index
from guidegen.retrieve.shards import find_collection, retrieve_shard
from guidegen.study import Study

pytestmark = pytest.mark.real
REALDATA = Path(os.environ.get("GUIDEGEN_REALDATA", Path(__file__).parents[2].parent / "shared" / "realdata"))
CONFIG = Path(__file__).parents[2] / "config"
GE = {"kvp": "120", "thickness_mm": "5", "manufacturer": "GE MEDICAL SYSTEMS", "transfer_syntax": "1.2.840.10008.1.2.1"}
SERIES = {
    "lusc": (
        "TCGA-LUSC_TCGA-34-2605/dicom",
        {"patient": "TCGA-34-2605", "sex": "male", "age": "76", "kernel": "LUNG", "extent_mm": "400,400,305"} | GE,
        -2048,
    ),
    "pda": (
        "CPTAC-PDA_C3L-00189/dicom",
        {"patient": "C3L-00189", "sex": "female", "age": "68", "kernel": "LUNG", "extent_mm": "440,440,175"} | GE,
        -3024,
    ),
    "crlm": (
        "CRLM-CT-1006/dicom",
        {"patient": "CRLM-CT-1006", "contrast_agent": "GASTRO & OMNI", "phase": "", "extent_mm": "412,412,255"} | GE,
        -3024,
    ),
    "jpeg2000": (
        "TotalSegmentator_testdata/example_ct_dicom",
        {"sex": "", "age": "", "kernel": "Br38f 3", "extent_mm": "500,500,40", "thickness_mm": "3", "kvp": "120"}
        | {"manufacturer": "SIEMENS", "transfer_syntax": "1.2.840.10008.1.2.4.90"},
        None,
    ),
}
PRIVATE = "lab"


def read_lps(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return SimpleITK's voxels (X, Y, Z) and its affine in RAS."""
    files = [str(path) for path in sorted(folder.iterdir()) if path.is_file()]
    positions = {}
    for name in files:
        reader = SimpleITK.ImageFileReader()
        reader.SetFileName(name)
        reader.ReadImageInformation()
        positions[name] = reader.GetOrigin()[2]
    image = SimpleITK.ReadImage(sorted(files, key=lambda name: positions[name]))
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    affine[:2] *= -1
    return SimpleITK.GetArrayFromImage(image).T, affine


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    if not REALDATA.is_dir():
        pytest.skip(f"no real CT series at {REALDATA}; set GUIDEGEN_REALDATA to the folder that holds them")
    root = tmp_path_factory.mktemp("real_convert")
    (root / "config").mkdir()
    for name in ("collections.tsv", "labels.tsv", "source_labels.tsv"):
        shutil.copyfile(CONFIG / name, root / "config" / name)
    entries = "".join(
        f"    {name}: {{folder: {REALDATA}/{place}, private: false}}\n" for name, (place, _, _) in SERIES.items()
    )
    entries += f"    {PRIVATE}: {{folder: {REALDATA}/{SERIES['pda'][0]}}}\n"
    (root / "config" / "config.yaml").write_text(
        "study: {name: real, collections: []}\nretrieve: {min_free_gb: 0}\n"
        f"index:\n  pseudonym_key: {tmp_path_factory.mktemp('keys')}/key\n  local:\n{entries}"
    )
    study = Study.load(root)
    build_index(study)
    return study


def convert(study: Study, name: str) -> dict[str, str]:
    collection = find_collection(study, name)
    retrieve_shard(study, collection, "s000")
    (row,) = convert_shard(study, collection, "s000")
    return row


@pytest.mark.parametrize("name", SERIES)
def test_volume_is_what_simpleitk_reads(study: Study, name: str) -> None:
    place, facts, padding = SERIES[name]
    row = convert(study, name)
    assert {key: row[key] for key in facts} == facts
    image = nib.Nifti1Image.load(study.root / row["path"])
    ours = np.asarray(image.dataobj)
    assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
    theirs, affine = read_lps(REALDATA / place)
    index = np.array(np.meshgrid(*map(np.arange, ours.shape), indexing="ij")).reshape(3, -1)[:, ::997]
    points = image.affine[:3, :3] @ index + image.affine[:3, 3:]
    matrix = np.linalg.inv(affine)
    found = matrix[:3, :3] @ points + matrix[:3, 3:]
    assert np.abs(found - np.rint(found)).max() < 0.01
    flipped = theirs[::-1, ::-1]
    nearest = np.rint(found).astype(int)
    assert np.array_equal(nearest[2], index[2])
    assert np.array_equal(theirs.shape[0] - 1 - nearest[0], index[0])
    assert np.array_equal(theirs.shape[1] - 1 - nearest[1], index[1])
    assert np.array_equal(ours, np.maximum(flipped, -1024))
    assert ours.min() == -1024
    assert row["padding_value"] == ("" if padding is None else str(padding))
    assert row["repairs"] == ""


def test_private_collection_is_the_same_volume_and_tells_nothing(study: Study) -> None:
    public, private = convert(study, "pda"), convert(study, PRIVATE)
    images = [nib.Nifti1Image.load(study.root / row["path"]) for row in (public, private)]
    assert np.array_equal(np.asarray(images[0].dataobj), np.asarray(images[1].dataobj))
    assert np.array_equal(images[0].affine, images[1].affine)
    files = [study.root / "data" / kind / PRIVATE for kind in ("raw", "ct")]
    paths = [path for folder in files for path in folder.rglob("*") if path.is_file()]
    paths += list((study.root / "data" / "index").glob(f"{PRIVATE}*"))
    secrets = (b"C3L-00189", b"1.3.6.1.4.1.14519", b"20030728", b"Recon", b"LUNG BASES")
    assert len(paths) >= 6
    for path in paths:
        data = path.read_bytes() if path.suffix != ".gz" else images[1].to_bytes()
        assert not [secret for secret in secrets if secret in data], path.name


def test_torso_with_labels_and_label_only_cases(study: Study, tmp_path: Path) -> None:
    source = REALDATA / "TotalSegmentator_testdata"
    masks = REALDATA / "TotalSegmentator_dataset_masks"
    for path, target in (
        (source / "example_ct.nii.gz", "scans/torso.nii.gz"),
        (source / "example_seg.nii.gz", "labels/torso.nii.gz"),
        (masks / "s0327_total117_1p5mm.nii.gz", "labels/s0327.nii.gz"),
    ):
        (tmp_path / target).parent.mkdir(exist_ok=True)
        shutil.copyfile(path, tmp_path / target)
    root = tmp_path / "study"
    shutil.copytree(study.root / "config", root / "config")
    (root / "config" / "config.yaml").write_text(
        "study: {name: torso, collections: []}\nretrieve: {min_free_gb: 0}\n"
        f"index: {{local: {{torso: {{folder: {tmp_path}/scans, labels: {tmp_path}/labels, private: false}}}}}}\n"
    )
    other = Study.load(root)
    build_index(other)
    collection = find_collection(other, "torso")
    retrieve_shard(other, collection, "s000")
    rows = {row["patient"]: row for row in convert_shard(other, collection, "s000")}
    assert rows["s0327"]["content"] == "none"
    ours = nib.as_closest_canonical(nib.Nifti1Image.load(root / rows["torso"]["path"]))
    theirs = nib.as_closest_canonical(nib.Nifti1Image.load(source / "example_ct.nii.gz"))
    assert np.allclose(ours.affine, theirs.affine, atol=1e-4)
    assert np.abs(np.asarray(ours.dataobj) - np.maximum(np.rint(theirs.get_fdata()), -1024)).max() <= 0.5
