"""DICOM SEG in every encoding comes back voxel by voxel; what is wrong with one is said."""

from pathlib import Path

import numpy as np
import pytest

from guidegen.mask.backends import AnnotationError
from guidegen.mask.dicom_seg import label_case
from guidegen.mask.resample import Grid
from guidegen.mask.settings import MaskSettings

SETTINGS = MaskSettings()


def make_grid(shape: tuple[int, int, int] = (7, 9, 11), spacing: tuple[float, ...] = (2.5, 1.5, 4.0)) -> Grid:
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -31.5, 17.25, -803.0
    return Grid(shape, affine)


def make_masks(grid: Grid) -> dict[int, np.ndarray]:
    """Three segments without overlap; the second skips planes, so that archives leave its frames out."""
    rng = np.random.default_rng(5)
    choice = rng.integers(0, 4, grid.shape)
    masks = {number: choice == number for number in (1, 2, 3)}
    masks[2][:, :, [0, 1, 4, 5, 6, 10]] = False
    return masks


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_equal_grids_are_recovered_voxel_by_voxel(kind, build_seg, make_case, labels):
    grid, names = make_grid(), {1: "liver", 2: "kidney_left", 3: "tumour"}
    masks = make_masks(grid)
    layer = label_case(make_case(build_seg(masks, names, grid, kind)), grid, SETTINGS, labels.source_ids)
    assert layer is not None
    assert layer.flags == ()
    expected = np.where(masks[1], labels.source_ids["liver"], 0)
    expected[masks[2]] = labels.source_ids["kidney_left"]
    np.testing.assert_array_equal(layer.organs, expected)
    np.testing.assert_array_equal(layer.tumour, masks[3])
    assert layer.tumour_kind == "expert"


def test_a_finer_and_shifted_seg_lands_where_it_is_in_millimetres(build_seg, make_case, labels):
    ct = Grid((20, 20, 12), np.diag([4.0, 4.0, 6.0, 1.0]))
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[:3, 3] = 11.0, 23.0, 18.0
    fine = Grid((30, 26, 15), affine)
    mask = np.zeros(fine.shape, bool)
    mask[5:25, 3:23, 2:14] = True
    layer = label_case(make_case(build_seg({1: mask}, {1: "spleen"}, fine)), ct, SETTINGS, labels.source_ids)
    assert layer is not None
    world = [(ct.affine @ [*v, 1])[:3] for v in np.argwhere(layer.organs > 0)]
    low, high = np.min(world, axis=0), np.max(world, axis=0)
    # Centres of CT voxels whose nearest SEG voxel is set: x 15.5..35.5, y 25.5..45.5, z 21..45.
    np.testing.assert_allclose(low, [16, 28, 24])
    np.testing.assert_allclose(high, [32, 44, 42])


def test_a_seg_of_another_series_is_refused(build_seg, make_case, labels):
    grid = make_grid()
    case = make_case(build_seg(make_masks(grid), {1: "liver", 2: "spleen", 3: "tumour"}, grid, ct_uid="9.9.9"))
    with pytest.raises(AnnotationError, match=r"drawn on series 9\.9\.9, but the CT of c__p__00000000 is 1\.2\.3\.4"):
        label_case(case, grid, SETTINGS, labels.source_ids)


def test_one_bad_seg_beside_a_good_one_is_a_flag(build_seg, make_case, labels):
    grid = make_grid()
    good = build_seg({1: make_masks(grid)[1]}, {1: "liver"}, grid)
    bad = build_seg({1: make_masks(grid)[3]}, {1: "tumour"}, grid, ct_uid="9.9.9")
    layer = label_case(make_case(good, bad), grid, SETTINGS, labels.source_ids)
    assert layer is not None
    assert layer.tumour is None
    assert [flag.split(":")[0] for flag in layer.flags] == ["unusable_annotation"]


@pytest.mark.parametrize("damage", ["not dicom", "truncated pixels", "frames missing", "uneven planes", "no positions"])
def test_an_unreadable_seg_names_its_file(damage, build_seg, make_case, labels):
    grid = make_grid()
    seg = build_seg(make_masks(grid), {1: "liver", 2: "spleen", 3: "tumour"}, grid)
    if damage == "truncated pixels":
        seg.PixelData = seg.PixelData[:-40]
    elif damage == "frames missing":
        seg.NumberOfFrames = int(seg.NumberOfFrames) + 3
    elif damage == "uneven planes":
        for frame in seg.PerFrameFunctionalGroupsSequence[8:]:
            position = frame.PlanePositionSequence[0].ImagePositionPatient
            position[2] = float(position[2]) + 1.7
    elif damage == "no positions":
        del seg.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence
    case = make_case(b"this is no DICOM" * 20 if damage == "not dicom" else seg)
    with pytest.raises(AnnotationError, match=r"seg0\.tar"):
        label_case(case, grid, SETTINGS, labels.source_ids)


def test_names_nobody_knows_empty_segments_and_nameless_values_are_flags(build_seg, make_case, labels):
    grid = make_grid()
    masks = make_masks(grid)
    empty = np.zeros(grid.shape, bool)
    seg = build_seg({1: masks[1], 2: empty, 3: masks[3], 9: masks[2]}, {1: "liver", 2: "spleen", 3: "appendix"}, grid)
    layer = label_case(make_case(seg), grid, SETTINGS, labels.source_ids)
    assert layer is not None
    assert set(layer.flags) == {f"unnamed_value:9={masks[2].sum()}", "empty_segment:spleen", "unknown_segment:appendix"}
    np.testing.assert_array_equal(layer.organs > 0, masks[1])


def test_overlapping_organs_keep_the_smaller_and_say_so(build_seg, make_case, labels):
    grid = make_grid()
    large, small = np.zeros(grid.shape, bool), np.zeros(grid.shape, bool)
    large[:, :, 2:9], small[2:5, 2:5, 4:6] = True, True
    for masks, names in (
        ({1: large, 2: small}, {1: "liver", 2: "gallbladder"}),
        ({1: small, 2: large}, {1: "gallbladder", 2: "liver"}),
    ):
        layer = label_case(make_case(build_seg(masks, names, grid)), grid, SETTINGS, labels.source_ids)
        assert layer is not None
        assert layer.flags == ("overlap:liver/gallbladder=18",)
        np.testing.assert_array_equal(layer.organs == labels.source_ids["gallbladder"], small)
        np.testing.assert_array_equal(layer.organs == labels.source_ids["liver"], large & ~small)


def test_only_accepted_kinds_make_a_tumour(build_seg, make_case, labels):
    grid = make_grid()
    seg = build_seg({1: make_masks(grid)[1]}, {1: "Tumor"}, grid)
    layer = label_case(make_case(seg, kinds=("seed",)), grid, SETTINGS, labels.source_ids)
    assert layer is not None
    assert layer.tumour is None
    assert layer.flags == ("tumour_not_accepted:seed",)
    accepting = MaskSettings(accepted_kinds=("seed",))
    layer = label_case(make_case(seg, kinds=("seed",)), grid, accepting, labels.source_ids)
    assert layer is not None
    assert layer.tumour_kind == "seed"


def test_a_segment_beside_the_ct_is_a_flag(build_seg, make_case, labels):
    grid = make_grid()
    affine = grid.affine.copy()
    affine[0, 3] += 1000
    seg = build_seg({1: make_masks(grid)[1]}, {1: "liver"}, Grid(grid.shape, affine))
    layer = label_case(make_case(seg), grid, SETTINGS, labels.source_ids)
    assert layer is not None
    assert layer.flags == ("outside_ct:liver",)


@pytest.mark.parametrize("index", [0, 1])
def test_phantom_labels_equal_what_was_painted(index, tmp_path: Path, make_case, labels):
    from guidegen.phantom.paint import choose_grid, paint_canvas
    from guidegen.phantom.patient import make_patient
    from guidegen.phantom.study_writer import SIZES, write_patient

    patient = make_patient(("tcga_kirc", "tcga_luad")[index], 0, 1)
    folder = tmp_path / "patient"
    folder.mkdir()
    written = write_patient(folder, patient, "small")
    pixels, spacing = SIZES["small"]
    grid = choose_grid(patient, spacing, pixels)
    painted = paint_canvas(patient, grid).label
    series = [row["SeriesInstanceUID"] for row in written.segmentations]
    files = [next((folder / uid).iterdir()).read_bytes() for uid in series]
    case = make_case(*files)
    ct_uid = written.segmentations[0]["segmented_SeriesInstanceUID"]
    case = type(case)(case.case, case.collection, case.root, None, ct_uid, case.annotations)
    layer = label_case(case, Grid(grid.shape, grid.affine), SETTINGS, labels.source_ids)
    assert layer is not None
    assert layer.flags == ()
    tumour = painted == labels.source_ids["tumour"]
    np.testing.assert_array_equal(layer.organs, np.where(tumour, 0, painted))
    np.testing.assert_array_equal(layer.tumour if layer.tumour is not None else np.zeros_like(tumour), tumour)
