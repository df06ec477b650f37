"""Label maps keep their place in millimetres, whatever their axes do."""

import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guidegen.mask.resample import Grid, read_volume, resample_nearest, write_labels


@given(
    order=st.sampled_from(list(itertools.permutations(range(3)))),
    flips=st.tuples(*[st.booleans()] * 3),
    spacing=st.tuples(*[st.floats(0.4, 6.0)] * 3),
    origin=st.tuples(*[st.floats(-900, 900)] * 3),
)
@settings(deadline=None, max_examples=60)
def test_flipped_and_swapped_axes_come_back_voxel_by_voxel(order, flips, spacing, origin):
    labels = np.random.default_rng(3).integers(0, 119, (5, 6, 7)).astype(np.uint8)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = origin
    grid = Grid((5, 6, 7), affine)
    image = nib.Nifti1Image(labels, affine)
    change = np.array([[axis, -1 if flip else 1] for axis, flip in zip(order, flips, strict=True)])
    stored = image.as_reoriented(change)
    np.testing.assert_array_equal(resample_nearest(np.asarray(stored.dataobj), stored.affine, grid), labels)


def test_a_rotated_map_is_placed_by_nearest_neighbour():
    angle = np.deg2rad(20)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine[:3, 3] = 3, -2, 1
    labels = np.random.default_rng(1).integers(0, 9, (12, 12, 6)).astype(np.uint8)
    grid = Grid((10, 10, 6), np.eye(4))
    placed = resample_nearest(labels, affine, grid)
    for voxel in itertools.product(range(10), range(10), range(6)):
        index = np.rint(np.linalg.inv(affine) @ [*voxel, 1])[:3].astype(int)
        inside = (index >= 0).all() and (index < labels.shape).all()
        assert placed[voxel] == (labels[tuple(index)] if inside else 0)


def test_outside_the_map_is_background():
    labels = np.ones((4, 4, 4), np.uint8)
    shifted = np.eye(4)
    shifted[:3, 3] = 2, 0, 0
    placed = resample_nearest(labels, shifted, Grid((4, 4, 4), np.eye(4)))
    assert placed[:2].max() == 0
    assert placed[2:].min() == 1


def test_written_labels_have_the_same_bytes_and_grid(tmp_path: Path):
    labels = np.random.default_rng(2).integers(0, 21, (9, 8, 7)).astype(np.uint8)
    affine = np.diag([1.5, 1.5, 3.0, 1.0])
    affine[:3, 3] = -12.25, 4.5, 800
    for name in ("a.nii.gz", "b.nii.gz"):
        write_labels(tmp_path / name, labels, Grid((9, 8, 7), affine))
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    again, grid = read_volume(tmp_path / "a.nii.gz")
    assert again.dtype == np.uint8
    np.testing.assert_array_equal(again, labels)
    np.testing.assert_allclose(grid.affine, affine)
    assert grid.voxel_ml == pytest.approx(1.5 * 1.5 * 3 / 1000)


def test_each_voxel_takes_the_nearest_centre():
    labels = np.arange(1, 6, dtype=np.uint8).reshape(5, 1, 1)
    coarse = np.diag([3.0, 1.0, 1.0, 1.0])
    fine = np.eye(4)
    fine[0, 3] = -1.0
    placed = resample_nearest(labels, coarse, Grid((15, 1, 1), fine))
    assert placed.ravel().tolist() == [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5]
