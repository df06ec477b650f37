"""Organs that an annotation names without their side get it from where they lie, or are flagged."""

import nibabel as nib
import numpy as np
import pytest
from pydicom import Dataset

from guidegen.mask.dicom_seg import label_case
from guidegen.mask.names import find_paired_label
from guidegen.mask.resample import Grid
from guidegen.mask.settings import MaskSettings

GRID = Grid((80, 40, 20), np.diag([4.0, 4.0, 5.0, 1.0]))
RIGHT = (slice(54, 62), slice(12, 20), slice(6, 14))
LEFT = (slice(20, 28), slice(12, 20), slice(7, 15))
SPINE = (slice(38, 44), slice(6, 12), slice(0, 20))


def fill(*boxes: tuple[slice, ...]) -> np.ndarray:
    mask = np.zeros(GRID.shape, bool)
    for box in boxes:
        mask[box] = True
    return mask


def label(labels, build_seg, make_case, segments: dict[str, np.ndarray], case=None):
    numbers = dict(enumerate(segments, 1))
    seg = build_seg({n: segments[name] for n, name in numbers.items()}, numbers, GRID)
    layer = label_case(case(seg) if case else make_case(seg), GRID, MaskSettings(), labels.source_ids)
    assert layer is not None
    return layer


def find(layer, labels, name: str) -> np.ndarray:
    assert layer.organs is not None
    return layer.organs == labels.source_ids[name]


def test_both_kidneys_in_one_segment_are_told_apart_by_the_spine(labels, build_seg, make_case):
    segments = {"Kidneys": fill(LEFT, RIGHT), "vertebrae_L1": fill(SPINE)}
    layer = label(labels, build_seg, make_case, segments)
    np.testing.assert_array_equal(find(layer, labels, "kidney_left"), fill(LEFT))
    np.testing.assert_array_equal(find(layer, labels, "kidney_right"), fill(RIGHT))
    assert layer.flags == ("sided_by_position:kidney=left and right",)


def test_a_lone_kidney_has_one_side(labels, build_seg, make_case):
    layer = label(labels, build_seg, make_case, {"Kidney": fill(RIGHT), "vertebrae_L1": fill(SPINE)})
    np.testing.assert_array_equal(find(layer, labels, "kidney_right"), fill(RIGHT))
    assert not find(layer, labels, "kidney_left").any()
    assert layer.flags == ("sided_by_position:kidney=right",)


def test_without_vertebrae_the_bodys_middle_decides_also_where_the_patient_lies_off_centre(
    labels, build_seg, make_case, tmp_path
):
    ct = np.full(GRID.shape, -1000, np.int16)
    ct[2:60, 4:36] = 30  # the middle of this body is at x = 31, not at 40
    nib.Nifti1Image(ct, GRID.affine).to_filename(tmp_path / "ct.nii.gz")

    def with_ct(seg: Dataset):
        made = make_case(seg)
        return type(made)(made.case, made.collection, made.root, tmp_path / "ct.nii.gz", made.ct_series_uid,
                          made.annotations)  # fmt: skip

    near_middle = (slice(42, 50), slice(12, 20), slice(6, 14))
    layer = label(labels, build_seg, make_case, {"kidney": fill(near_middle)}, with_ct)
    np.testing.assert_array_equal(find(layer, labels, "kidney_right"), fill(near_middle))


@pytest.mark.parametrize(
    ("boxes", "vertebrae"),
    [
        ([(slice(20, 62), slice(12, 20), slice(6, 14))], True),  # a horseshoe kidney
        ([(slice(39, 45), slice(14, 20), slice(6, 14))], True),  # in the midline
        ([LEFT, RIGHT], False),  # nothing tells where the middle is: no vertebra, no CT
    ],
)
def test_what_lies_on_no_side_is_flagged_and_not_used(labels, build_seg, make_case, boxes, vertebrae):
    segments = {"kidney": fill(*boxes), "liver": fill((slice(60, 70), slice(25, 30), slice(10, 18)))}
    segments |= {"vertebrae_L1": fill(SPINE)} if vertebrae else {}
    layer = label(labels, build_seg, make_case, segments)
    assert layer.flags == ("unsided_segment:kidney",)
    assert not (find(layer, labels, "kidney_left") | find(layer, labels, "kidney_right")).any()


def test_the_laterality_of_the_segments_code_goes_before_its_place(labels, build_seg, make_case):
    """PS3.3, C.8.20.2: `Kidney` with the modifier `Left`; no guess from the position is needed, nothing is flagged."""

    def code(meaning: str) -> Dataset:
        item = Dataset()
        item.CodeMeaning = meaning
        return item

    seg = build_seg({1: fill(RIGHT)}, {1: "Kidney"}, GRID)
    seg.SegmentSequence[0].SegmentedPropertyTypeCodeSequence = [code("Kidney")]
    seg.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [
        code("Left")
    ]
    layer = label_case(make_case(seg), GRID, MaskSettings(), labels.source_ids)
    assert layer is not None
    np.testing.assert_array_equal(find(layer, labels, "kidney_left"), fill(RIGHT))
    assert layer.flags == ()


@pytest.mark.parametrize(
    ("name", "organ"),
    [("Kidney", "kidney"), ("both kidneys", "kidney"), ("Adrenals", "adrenal_gland"), ("hips", "hip"),
     ("Left kidney", None), ("lung", None), ("liver", None), ("", None)],
)  # fmt: skip
def test_which_names_mean_a_paired_organ(name, organ, labels):
    assert find_paired_label(name, labels.source_ids) == organ
