"""NIfTI that a lab brings: checked, not believed."""

import io

import nibabel as nib
import numpy as np
from isal import igzip
from nibabel.filebasedimages import ImageFileError

from guidegen.convert.hu import HU_CEILING, floor_padding
from guidegen.convert.settings import ConvertSettings
from guidegen.convert.volume import Volume, to_ras
from guidegen.errors import ItemError, ItemExcluded

AIR_HU = -300
"""A CT of the trunk holds air, in the lungs, the bowel or around the body, and tissue."""
TISSUE_HU = 0
LARGEST_SHEAR = 1e-3


def read_nifti(case: str, data: bytes, settings: ConvertSettings) -> Volume:
    """Load a gzipped NIfTI CT and check that it is one 3D volume in HU with a usable affine.

    Args:
        case: case id, for messages.
        data: the file.
        settings: what becomes of irregular volumes.

    Raises:
        ItemExcluded: not 3D, not HU, too few slices, oblique or sheared; where the config says so.
        ItemError: the file cannot be read, or the config says `fail`.
    """
    try:
        image = nib.Nifti1Image.from_stream(io.BytesIO(igzip.decompress(data)))
        values = np.asanyarray(image.dataobj)
    except (ImageFileError, OSError, ValueError, EOFError) as error:
        raise ItemError(f"{case}: not a readable NIfTI image: {error}") from None
    shape = image.shape
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    _require(case, len(shape) == 3, "not_ct", f"shape {image.shape}, expected three dimensions", settings)
    values = values.reshape(shape)
    affine = np.asarray(image.affine, float)
    _check_affine(case, affine, image, settings)
    _require(case, bool(np.all(np.isfinite(values))), "not_ct", "values that are no numbers", settings)
    low, high = float(values.min()), float(values.max())
    _require(case, low < AIR_HU and high > TISSUE_HU, "not_ct", f"values from {low:g} to {high:g} are not HU", settings)
    hu = np.clip(np.rint(values), -32768, HU_CEILING).astype(np.int16)
    hu, padding, share = floor_padding(hu, set())
    volume = Volume(*to_ras(hu, affine), padding, share)
    slices = volume.hu.shape[2]
    _require(case, slices >= settings.min_slices, "too_few_slices", f"{slices} slices", settings)
    return volume


def _check_affine(case: str, affine: np.ndarray, image: nib.Nifti1Image, settings: ConvertSettings) -> None:
    coded = int(image.header["sform_code"]) > 0 or int(image.header["qform_code"]) > 0
    _require(case, coded, "orientation", "neither sform nor qform: left and right are unknown", settings)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    _require(case, bool(np.all(np.isfinite(affine)) and np.all(spacing > 0)), "orientation", "no affine", settings)
    directions = affine[:3, :3] / spacing
    shear = np.abs(directions.T @ directions - np.eye(3)).max()
    _require(case, shear < LARGEST_SHEAR, "gantry_tilt", f"sheared affine ({shear:.3f})", settings)
    angle = np.degrees(np.arccos(np.clip(np.abs(directions).max(axis=0), 0, 1))).max()
    limit = settings.max_oblique_degrees
    _require(case, angle <= limit, "orientation", f"{angle:.1f} degrees oblique, at most {limit:g}", settings)


def _require(case: str, holds: bool, irregularity: str, found: str, settings: ConvertSettings) -> None:
    if holds:
        return
    if getattr(settings.irregular, irregularity) == "fail":
        raise ItemError(f"{case}: {irregularity}: {found}")
    raise ItemExcluded(f"{irregularity}: {found}")
