"""From a checked stack of slices to a proven volume: dcm2niix in an empty folder, then HU in RAS+."""

import io
import os
import shutil
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

from guidegen.convert.headers import Stack
from guidegen.convert.hu import floor_padding, rescale
from guidegen.convert.proof import prove_geometry, prove_voxels
from guidegen.convert.slices import Slice
from guidegen.convert.tilt import straighten
from guidegen.errors import ItemError

READ_BY_DCM2NIIX = {
    *(ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, JPEG2000, JPEG2000Lossless),
    *(JPEGLosslessSV1, JPEGLSLossless, JPEGLSNearLossless, RLELossless),
}
"""Transfer syntaxes handed to dcm2niix as they are; others are decoded by pydicom first."""
LEFT_ASIDE = ("volume_Tilt_", "volume_ROI")
LARGE_PAGES = "glibc.malloc.hugetlb=1"
"""Lets dcm2niix take memory in large pages, where the kernel has them."""
LONGEST_S = 600
GZIP_LEVEL = 2


@dataclass(frozen=True)
class Volume:
    """A CT volume: int16 HU (X, Y, Z) in RAS+, with the padding that was replaced by the floor.

    `padding_value` is the HU of the padding before that, None where there was none; `padding_share` its share of all
    voxels of the files.
    """

    hu: np.ndarray
    affine: np.ndarray
    padding_value: int | None
    padding_share: float


def convert_stack(case: str, stack: Stack, folder: Path) -> Volume:
    """Convert a checked stack with dcm2niix, prove the result against headers and files, and mend a gantry's tilt.

    Args:
        case: case id, for messages.
        stack: from `check_headers`.
        folder: an empty folder for temporary files.

    Raises:
        ItemError: dcm2niix did not make one 3D volume, or its geometry or voxels differ from the headers' and files'.
    """
    source, target = folder / "dicom", folder / "nifti"
    source.mkdir()
    target.mkdir()
    for number, item in enumerate(stack.slices, 1):
        (source / f"{number:05d}.dcm").write_bytes(make_readable(item))
    image = _run_dcm2niix(case, source, target)
    stored = np.asanyarray(image.dataobj.get_unscaled())  # type: ignore[attr-defined]
    slope, intercept = image.dataobj.slope, image.dataobj.inter  # type: ignore[attr-defined]
    order = prove_geometry(case, stored.shape, np.asarray(image.affine), stack)
    prove_voxels(case, apply_orientation(stored, order), slope, intercept, stack)
    hu, padding_value, share = floor_padding(rescale(stored, slope, intercept), _list_paddings(stack))
    hu, affine = apply_orientation(hu, order), stack.affine
    if stack.tilted:
        hu, affine = straighten(hu, affine)
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
    """Return the volume that dcm2niix made; its own correction of a tilted gantry and overlays are left aside."""
    flags = ["-g", "i", "-b", "n", "-z", "n", "-l", "o", "-i", "n", "-m", "y", "-x", "n", "-f", "volume"]
    command = [dcm2niix.bin, *flags, "-o", str(target), str(source)]
    environment = os.environ | {"GLIBC_TUNABLES": LARGE_PAGES}
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S, check=False, env=environment)
    text = " ".join((done.stdout + done.stderr).split())[-400:]
    made = sorted(path.name for path in target.iterdir() if not path.name.startswith(LEFT_ASIDE))
    if done.returncode != 0 or made != ["volume.nii"]:
        names = ", ".join(made) or "nothing"
        free = f"exit code {done.returncode}, {shutil.disk_usage(target).free / 1e6:.0f} MB free on its disk"
        raise ItemError(f"{case}: dcm2niix made {names} ({free}), expected one volume: {text}")
    try:
        image = nib.Nifti1Image.load(target / "volume.nii", mmap="r")
    except (ImageFileError, OSError) as error:
        raise ItemError(f"{case}: dcm2niix wrote an unreadable file: {error}") from None
    if len(image.shape) != 3:
        raise ItemError(f"{case}: dcm2niix made a volume of shape {image.shape}, expected three dimensions")
    return image


def to_ras(voxels: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reorder the axes so that they run closest to right, anterior, superior; returns voxels and affine."""
    orientation = io_orientation(affine)
    return apply_orientation(voxels, orientation), affine @ inv_ornt_aff(orientation, voxels.shape)


def write_volume(path: Path, hu: np.ndarray, affine: np.ndarray) -> None:
    """Write int16 HU as gzipped NIfTI-1, sform and qform set, with no text in its header and fixed bytes."""
    image = nib.Nifti1Image(hu, affine, dtype="<i2")
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    with path.open("wb") as stream, igzip.IGzipFile("", "wb", GZIP_LEVEL, stream, mtime=0) as compressed:
        image.to_stream(compressed)


def _list_paddings(stack: Stack) -> set[int]:
    header = stack.slices[0].header
    value = header.get("PixelPaddingValue")
    if value is None or isinstance(value, bytes):
        return set()
    return {round(float(value) * float(header.RescaleSlope) + float(header.RescaleIntercept))}
