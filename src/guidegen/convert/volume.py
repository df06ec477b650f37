"""From a checked stack of slices to a proven volume: dcm2niix in an empty folder, then HU in RAS+."""

import io
import subprocess
from dataclasses import dataclass
from pathlib import Path

import dcm2niix
import nibabel as nib
import numpy as np
import pydicom
from isal import igzip
from nibabel.filebasedimages import ImageFileError
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation
from pydicom.uid import (
    JPEG2000,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from guidegen.convert.headers import Slice, Stack
from guidegen.errors import ItemError

HU_FLOOR = -1024
HU_CEILING = 32767
GEOMETRY_TOLERANCE_MM = 0.02
READ_BY_DCM2NIIX = {
    *(ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, JPEG2000, JPEG2000Lossless),
    *(JPEGLosslessSV1, JPEGLSLossless, JPEGLSNearLossless, RLELossless),
}
"""Transfer syntaxes handed to dcm2niix as they are; others are decoded by pydicom first."""
LONGEST_S = 600
SMALLEST_PADDING_SHARE = 0.01
"""The lowest value is taken for the padding where it has this share; else the most frequent one below the floor."""
GZIP_LEVEL = 3


@dataclass(frozen=True)
class Volume:
    """A CT volume: int16 HU (X, Y, Z) in RAS+, with the padding that was replaced by the floor.

    `padding_value` is the HU of the padding before that, None where there was none; `padding_share` its share of all
    voxels.
    """

    hu: np.ndarray
    affine: np.ndarray
    padding_value: int | None
    padding_share: float


def convert_stack(case: str, stack: Stack, folder: Path) -> Volume:
    """Convert a checked stack with dcm2niix and prove the result against the headers.

    Args:
        case: case id, for messages.
        stack: from `check_headers`.
        folder: an empty folder for temporary files.

    Raises:
        ItemError: dcm2niix did not make exactly one 3D volume, or its geometry or voxels differ from the headers'.
    """
    source, target = folder / "dicom", folder / "nifti"
    source.mkdir()
    target.mkdir()
    for number, item in enumerate(stack.slices, 1):
        (source / f"{number:05d}.dcm").write_bytes(make_readable(item))
    image = _run_dcm2niix(case, source, target)
    stored = np.asanyarray(image.dataobj.get_unscaled())  # type: ignore[attr-defined]
    slope, intercept = image.dataobj.slope, image.dataobj.inter  # type: ignore[attr-defined]
    hu, padding_value, share = floor_padding(rescale(stored, slope, intercept), _list_paddings(stack))
    hu, affine = prove_geometry(case, hu, np.asarray(image.affine), stack)
    prove_voxels(case, hu, stack)
    return Volume(*to_ras(hu, affine), padding_value, share)


def make_readable(item: Slice) -> bytes:
    """Return a slice's file in a transfer syntax that dcm2niix reads."""
    if item.header.file_meta.TransferSyntaxUID in READ_BY_DCM2NIIX:
        return item.data
    decoded = pydicom.dcmread(io.BytesIO(item.data))
    if decoded.file_meta.TransferSyntaxUID.is_compressed and not decoded.file_meta.TransferSyntaxUID.is_deflated:
        decoded.decompress()
    decoded.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    stream = io.BytesIO()
    decoded.save_as(stream, implicit_vr=False, little_endian=True)
    return stream.getvalue()


def _run_dcm2niix(case: str, source: Path, target: Path) -> nib.Nifti1Image:
    flags = ["-g", "i", "-b", "n", "-z", "n", "-l", "o", "-i", "n", "-m", "y", "-x", "n", "-f", "volume"]
    command = [dcm2niix.bin, *flags, "-o", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S, check=False)
    text = " ".join((done.stdout + done.stderr).split())[-400:]
    made = sorted(target.iterdir())
    if done.returncode != 0 or [path.suffix for path in made] != [".nii"]:
        names = ", ".join(path.name for path in made) or "nothing"
        raise ItemError(f"{case}: dcm2niix made {names} (exit code {done.returncode}), expected one volume: {text}")
    try:
        image = nib.Nifti1Image.load(made[0], mmap=False)
    except (ImageFileError, OSError) as error:
        raise ItemError(f"{case}: dcm2niix wrote an unreadable file: {error}") from None
    if len(image.shape) != 3:
        raise ItemError(f"{case}: dcm2niix made a volume of shape {image.shape}, expected three dimensions")
    return image


def prove_geometry(case: str, stored: np.ndarray, affine: np.ndarray, stack: Stack) -> tuple[np.ndarray, np.ndarray]:
    """Bring dcm2niix's voxels to the order (column, row, slice) of the headers and compare the affines.

    Returns:
        The voxels and the headers' affine.

    Raises:
        ItemError: shape or corners differ by more than 0.02 mm.
    """
    wanted = nib.orientations.ornt_transform(io_orientation(affine), io_orientation(stack.affine))
    moved = apply_orientation(stored, wanted)
    moved_affine = affine @ inv_ornt_aff(wanted, stored.shape)
    if moved.shape != stack.shape:
        raise ItemError(f"{case}: dcm2niix made {moved.shape} voxels, the headers say {stack.shape}")
    corners = np.array([[x, y, z, 1] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float).T
    corners[:3] *= np.array(stack.shape)[:, None] - 1
    error = np.abs((moved_affine - stack.affine) @ corners).max()
    if error > GEOMETRY_TOLERANCE_MM:
        raise ItemError(f"{case}: dcm2niix's geometry is {error:.3f} mm off the headers'")
    return moved, stack.affine


def prove_voxels(case: str, hu: np.ndarray, stack: Stack) -> None:
    """Compare the middle slice with the one that pydicom decodes from its file.

    Args:
        case: case id, for messages.
        hu: HU with the floor (column, row, slice).
        stack: the headers and files.

    Raises:
        ItemError: a voxel differs by more than half a HU.
    """
    middle = len(stack.slices) // 2
    dataset = pydicom.dcmread(io.BytesIO(stack.slices[middle].data))
    try:
        pixels = dataset.pixel_array
    except (ValueError, RuntimeError, NotImplementedError, AttributeError) as error:
        raise ItemError(f"{case}: the pixels cannot be decoded: {error}") from None
    expected = pixels.astype(np.float64) * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    error = np.abs(hu[:, :, middle] - np.clip(expected.T, HU_FLOOR, HU_CEILING)).max()
    if error > 0.5 + 1e-6:
        raise ItemError(f"{case}: dcm2niix's voxels differ from the file's by up to {error:.1f} HU")


def rescale(stored: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    """Return stored values as whole HU, int16, clipped to its range."""
    low, high = (float(value) * slope + intercept for value in (stored.min(), stored.max()))
    whole = slope == 1.0 and intercept == round(intercept) and stored.dtype in (np.dtype("<i2"), np.dtype("<u2"))
    if whole and low >= np.iinfo(np.int16).min and high <= HU_CEILING:
        # 16-bit integers wrap around, so that the sum is right for unsigned values too.
        return (stored.view(np.uint16) + np.uint16(round(intercept) % 2**16)).view(np.int16)
    return np.clip(np.rint(stored * np.float64(slope) + intercept), -32768, HU_CEILING).astype(np.int16)


def floor_padding(hu: np.ndarray, stated: set[int]) -> tuple[np.ndarray, int | None, float]:
    """Raise values below -1024 HU to that floor and find what the padding was.

    Args:
        hu: int16 HU.
        stated: HU of the padding values that the headers state.

    Returns:
        The floored volume, the HU of the padding (None: no padding), and its share of all voxels.
    """
    lowest = int(hu.min())
    if lowest < HU_FLOOR:
        share = np.count_nonzero(hu == lowest) / hu.size
        if share < SMALLEST_PADDING_SHARE:
            below = hu[hu < HU_FLOOR]
            counts = np.bincount(below.astype(np.int32) - lowest)
            lowest, share = lowest + int(np.argmax(counts)), float(counts.max() / hu.size)
        return np.maximum(hu, np.int16(HU_FLOOR)), lowest, share
    for value in sorted(stated):
        if value == HU_FLOOR and (share := float(np.mean(hu == value))):
            return hu, value, share
    return hu, None, 0.0


def to_ras(voxels: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reorder the axes so that they run closest to right, anterior, superior; returns voxels and affine."""
    orientation = io_orientation(affine)
    return apply_orientation(voxels, orientation), affine @ inv_ornt_aff(orientation, voxels.shape)


def write_volume(path: Path, hu: np.ndarray, affine: np.ndarray) -> None:
    """Write int16 HU as gzipped NIfTI-1, sform and qform set, with no text in its header and fixed bytes."""
    image = nib.Nifti1Image(np.asfortranarray(hu, dtype="<i2"), affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    path.write_bytes(igzip.compress(image.to_bytes(), compresslevel=GZIP_LEVEL, mtime=0))


def _list_paddings(stack: Stack) -> set[int]:
    header = stack.slices[0].header
    value = header.get("PixelPaddingValue")
    if value is None or isinstance(value, bytes):
        return set()
    return {round(float(value) * float(header.RescaleSlope) + float(header.RescaleIntercept))}
