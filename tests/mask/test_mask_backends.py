"""Backends combine: organs of one, the tumour of another; a NIfTI map is placed in physical space."""

import gzip
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from guidegen.errors import GuideGenError, ItemExcluded
from guidegen.manifest import Item
from guidegen.mask.backends import Annotation, AnnotationError, MaskCase, combine_backends
from guidegen.mask.names import find_source_label, hash_names, read_names
from guidegen.mask.resample import Grid
from guidegen.mask.settings import BackendChoice, MaskSettings
from guidegen.mask.shard import MaskWorker
from guidegen.study import Study

GRID = Grid((8, 9, 10), np.diag([3.0, 3.0, 5.0, 1.0]))


def make_map(labels) -> np.ndarray:
    values = np.zeros(GRID.shape, np.uint8)
    values[1:6, 2:7, 2:8] = labels.source_ids["liver"]
    values[6:8, 2:5, 3:5] = labels.source_ids["kidney_right"]
    return values


def write_map(path: Path, values: np.ndarray, affine: np.ndarray) -> Annotation:
    path.write_bytes(gzip.compress(nib.Nifti1Image(values, affine).to_bytes()))
    return Annotation(path, "nifti", "1.2", "expert")


def make_nifti_case(tmp_path: Path, *annotations: Annotation) -> MaskCase:
    return MaskCase("c__p__0", "c", tmp_path, None, "1.2.3.4", annotations)


def test_a_flipped_map_is_placed_by_its_affine(tmp_path, labels):
    values = make_map(labels)
    affine = GRID.affine.copy()
    affine[1, 1], affine[1, 3] = -3.0, 8 * 3.0
    case = make_nifti_case(tmp_path, write_map(tmp_path / "a.nii.gz", values[:, ::-1].copy(), affine))
    found = combine_backends(case, GRID, MaskSettings(), labels.source_ids)
    assert found is not None
    assert found.backend == "nifti"
    np.testing.assert_array_equal(found.layer.organs, values)


def test_a_tarred_map_and_a_bare_one_read_the_same(tmp_path, labels, pack_tar):
    values = make_map(labels)
    bare = write_map(tmp_path / "a.nii.gz", values, GRID.affine)
    tar = pack_tar(tmp_path / "a.tar", {"a.nii.gz": bare.path.read_bytes()})
    case = make_nifti_case(tmp_path, Annotation(tar, "nifti", "1.2", ""))
    found = combine_backends(case, None, MaskSettings(), labels.source_ids)
    assert found is not None
    np.testing.assert_array_equal(found.layer.organs, values)


def test_organs_of_one_backend_and_the_tumour_of_another(tmp_path, labels, build_seg, make_case):
    tumour = np.zeros(GRID.shape, bool)
    tumour[2:4, 3:5, 3:6] = True
    segs = make_case(build_seg({1: tumour, 2: tumour}, {1: "neoplasm", 2: "spleen"}, GRID))
    own = write_map(tmp_path / "a.nii.gz", make_map(labels), GRID.affine)
    case = MaskCase("c__p__0", "c", tmp_path, None, "1.2.3.4", (*segs.annotations, own))
    choice = BackendChoice(organs=("nifti",), tumour=("dicom_seg",))
    found = combine_backends(case, GRID, MaskSettings(collections={"c": choice}), labels.source_ids)
    assert found is not None
    assert found.backend == "nifti+dicom_seg"
    np.testing.assert_array_equal(found.layer.organs, make_map(labels))
    np.testing.assert_array_equal(found.layer.tumour, tumour)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((4, 4, 4), 2.5, np.float32), "no label ids"),
        (np.full((4, 4, 4), 300, np.int16), "no label ids"),
        (np.ones((4, 4), np.uint8), "2 axes"),
    ],
)
def test_what_is_no_label_map_is_refused(values, message, tmp_path, labels):
    case = make_nifti_case(tmp_path, write_map(tmp_path / "a.nii.gz", values, np.eye(4)))
    with pytest.raises(AnnotationError, match=message):
        combine_backends(case, GRID, MaskSettings(), labels.source_ids)


def test_damaged_files_and_maps_elsewhere_are_refused(tmp_path, labels):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(b"\x1f\x8bnonsense")
    with pytest.raises(AnnotationError, match=r"a\.nii\.gz: not a readable"):
        combine_backends(
            make_nifti_case(tmp_path, Annotation(path, "nifti", "1", "")), GRID, MaskSettings(), labels.source_ids
        )
    affine = GRID.affine.copy()
    affine[2, 3] = 5000
    case = make_nifti_case(tmp_path, write_map(tmp_path / "b.nii.gz", make_map(labels), affine))
    with pytest.raises(AnnotationError, match="does not overlap"):
        combine_backends(case, GRID, MaskSettings(), labels.source_ids)


def test_a_value_without_a_name_is_a_flag(tmp_path, labels):
    values = make_map(labels)
    values[0, 0, :3] = 231
    case = make_nifti_case(tmp_path, write_map(tmp_path / "a.nii.gz", values, GRID.affine))
    found = combine_backends(case, GRID, MaskSettings(), labels.source_ids)
    assert found is not None
    assert found.layer.flags == ("unnamed_value:231=3",)
    np.testing.assert_array_equal(found.layer.organs, make_map(labels))


def test_a_labs_own_ids_are_read_by_the_names_of_its_table(tmp_path, labels):
    """Names of TotalSegmentator 1 and 2 and those of clinicians; two parts of the heart are one organ."""
    values = np.zeros(GRID.shape, np.uint8)
    for number in range(1, 8):
        values[number, 3:6, 3:6] = number
    (tmp_path / "own.tsv").write_text(
        "id\tname\n1\tvertebrae_T12\n2\theart_atrium_left\n3\theart_ventricle_right\n4\tGTV\n5\tLeft kidney\n"
        "6\tappendix\n0\tbackground\n"
    )
    case = make_nifti_case(tmp_path, write_map(tmp_path / "a.nii.gz", values, GRID.affine))
    settings = MaskSettings(label_tables={"c": Path("own.tsv")})
    found = combine_backends(case, GRID, settings, labels.source_ids)
    assert found is not None
    expected = np.zeros(GRID.shape, np.uint8)
    for number, name in ((1, "vertebrae_T12"), (2, "heart"), (3, "heart"), (5, "kidney_left")):
        expected[values == number] = labels.source_ids[name]
    np.testing.assert_array_equal(found.layer.organs, expected)
    np.testing.assert_array_equal(found.layer.tumour, values == 4)
    assert found.layer.flags == ("unknown_segment:appendix", "unnamed_value:7=9")


@pytest.mark.parametrize(("text", "message"), [("id\tname\n256\tliver\n", "id '256'"), ("a\tb\n1\t2\n", "id")])
def test_a_label_table_that_is_none_is_refused(text, message, tmp_path):
    (tmp_path / "own.tsv").write_text(text)
    with pytest.raises(GuideGenError, match=message):
        read_names(tmp_path / "own.tsv")


def test_another_label_table_makes_a_collections_masks_again_and_a_missing_one_is_an_error(tmp_path):
    shutil.copytree(Path(__file__).parents[2] / "config", tmp_path / "config", ignore=shutil.ignore_patterns("presets"))
    (tmp_path / "config" / "config.yaml").write_text(
        "study: {name: lab, collections: [tcga_kirc, tcga_lihc]}\nmask: {label_tables: {tcga_kirc: own.tsv}}\n"
    )
    study = Study.load(tmp_path)
    with pytest.raises(GuideGenError, match=r"mask\.label_tables\.tcga_kirc: .*own\.tsv: no such file"):
        hash_names(study, "tcga_kirc")
    (tmp_path / "own.tsv").write_text("id\tname\n1\tliver\n")
    before = hash_names(study, "tcga_kirc")
    (tmp_path / "own.tsv").write_text("id\tname\n1\tspleen\n")
    assert before != hash_names(study, "tcga_kirc")
    assert hash_names(study, "tcga_lihc") == ""


def test_a_case_without_labels_is_excluded_with_the_reason(tmp_path, labels):
    case = make_nifti_case(tmp_path)
    with pytest.raises(ItemExcluded, match="no label source"):
        MaskWorker(MaskSettings(), labels)(Item("c__p__0", {}, case), tmp_path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("kidney_left", "kidney_left"),
        ("Left Kidney", "kidney_left"),
        ("vertebrae_t12", "vertebrae_T12"),
        ("Tumour", "tumour"),
        ("GTV-1", "tumour"),
        ("Oesophagus", "esophagus"),
        ("heart_ventricle_left", "heart"),
        ("appendix", None),
    ],
)
def test_segment_names(name, expected, labels):
    assert find_source_label(name, labels.source_ids) == expected
