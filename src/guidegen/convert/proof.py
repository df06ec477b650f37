"""Proof that dcm2niix's volume is what the headers and files say."""

import io
from itertools import product

import numpy as np
import pydicom
from nibabel.orientations import inv_ornt_aff, io_orientation, ornt_transform

from guidegen.convert.headers import Stack
from guidegen.convert.slices import Slice
from guidegen.errors import ItemError

GEOMETRY_TOLERANCE_MM = 0.02
LARGEST_HU_ERROR = 0.5


def prove_geometry(case: str, shape: tuple[int, ...], affine: np.ndarray, stack: Stack) -> np.ndarray:
    """Compare dcm2niix's affine with the headers'.

    dcm2niix does not put a gantry's tilt into its affine; of a tilted stack the first slice is compared here, and all
    of them by `prove_voxels`.

    Returns:
        The orientation (3, 2) that brings dcm2niix's voxels to the order (column, row, slice) of the stack, for
        `nibabel.orientations.apply_orientation`.

    Raises:
        ItemError: the shape differs, or a corner by more than 0.02 mm.
    """
    order = ornt_transform(io_orientation(affine), io_orientation(stack.affine))
    moved_affine = affine @ inv_ornt_aff(order, shape)
    made = tuple(shape[list(order[:, 0]).index(axis)] for axis in range(3))
    if made != stack.shape:
        raise ItemError(f"{case}: dcm2niix made {made} voxels, the headers say {stack.shape}")
    corners = np.array([[*corner, 1] for corner in product((0, 1), (0, 1), (0,) if stack.tilted else (0, 1))], float).T
    corners[:3] *= np.array(stack.shape)[:, None] - 1
    error = np.abs((moved_affine - stack.affine) @ corners).max()
    if error > GEOMETRY_TOLERANCE_MM:
        raise ItemError(f"{case}: dcm2niix's geometry is {error:.3f} mm off the headers'")
    return order


def prove_voxels(case: str, stored: np.ndarray, slope: float, intercept: float, stack: Stack) -> None:
    """Compare dcm2niix's voxels with the files', all of them.

    Slices that lie uncompressed in their files are compared as stored values, others are decoded by pydicom and
    compared as HU.

    Args:
        case: case id, for messages.
        stored: stored values (column, row, slice) in the order of the stack.
        slope: dcm2niix's HU per stored value.
        intercept: dcm2niix's HU of the stored value 0.
        stack: the headers and files.

    Raises:
        ItemError: the pixels of a file cannot be decoded, or a voxel differs by more than half a HU.
    """
    header = stack.slices[0].header
    stated = (float(header.RescaleSlope), float(header.RescaleIntercept))
    rescaled_alike = bool(np.allclose((slope, intercept), stated, rtol=1e-6, atol=0))
    for number, item in enumerate(stack.slices):
        voxels = stored[:, :, number].T
        if item.stored is not None and rescaled_alike and np.array_equal(voxels, item.stored):
            continue
        expected = _decode(case, item) * stated[0] + stated[1]
        error = np.abs(voxels * slope + intercept - expected).max()
        if error > LARGEST_HU_ERROR:
            raise ItemError(f"{case}: dcm2niix's voxels differ from the file's by up to {error:.1f} HU")


def _decode(case: str, item: Slice) -> np.ndarray:
    try:
        return pydicom.dcmread(io.BytesIO(item.data)).pixel_array.astype(np.float64)
    except (ValueError, RuntimeError, NotImplementedError, AttributeError) as error:
        raise ItemError(f"{case}: the pixels cannot be decoded: {error}") from None
