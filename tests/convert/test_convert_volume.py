"""A regular series becomes the same HU at the same physical points, whatever way it is stored."""

from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel as nib
import numpy as np
import pytest
from hand_made_ct import AXIAL, make_ct, make_pattern, to_bytes
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from nibabel.orientations import inv_ornt_aff
from pydicom import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)
from scipy.spatial.transform import Rotation

from guidegen.convert.headers import check_headers
from guidegen.convert.proof import prove_geometry, prove_voxels
from guidegen.convert.settings import ConvertSettings
from guidegen.convert.volume import Volume, convert_stack
from guidegen.errors import ItemError

SETTINGS = ConvertSettings()  # type: ignore[call-arg]


def convert(
    datasets: list[Dataset], syntax: str = ExplicitVRLittleEndian, config: ConvertSettings = SETTINGS
) -> Volume:
    files = [to_bytes(ds, syntax) for ds in datasets]
    with TemporaryDirectory() as folder:
        return convert_stack("case", check_headers("case", files, config), Path(folder))


def assert_same_points(volume: Volume, datasets: list[Dataset], hu: np.ndarray) -> None:
    """Each voxel of each file lies at the same place of the volume, within 0.01 mm, and has the same HU within 0.5."""
    inverse = np.linalg.inv(volume.affine)
    for ds, image in zip(datasets, hu, strict=True):
        row, column = np.array(ds.ImageOrientationPatient, float).reshape(2, 3)
        r, c = np.meshgrid(np.arange(ds.Rows), np.arange(ds.Columns), indexing="ij")
        lps = np.array(ds.ImagePositionPatient, float)[:, None] + (
            np.outer(row, c.ravel() * float(ds.PixelSpacing[1]))
            + np.outer(column, r.ravel() * float(ds.PixelSpacing[0]))
        )
        ras = np.diag([-1.0, -1.0, 1.0]) @ lps
        voxel = inverse[:3, :3] @ ras + inverse[:3, 3:]
        nearest = np.rint(voxel).astype(int)
        error_mm = np.linalg.norm(volume.affine[:3, :3] @ (voxel - nearest), axis=0).max()
        assert error_mm < 0.01
        assert np.abs(volume.hu[tuple(nearest)] - image.ravel()).max() <= 0.5


def turn(about_x: float, about_y: float, about_z: float) -> np.ndarray:
    """Rotation matrix (3, 3) of angles in degrees."""
    return Rotation.from_euler("xyz", [about_x, about_y, about_z], degrees=True).as_matrix()


PATIENT_POSITIONS = {
    "head first supine": AXIAL,
    "prone": (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0),
    "seen from above": (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "decubitus": (0.0, 1.0, 0.0, -1.0, 0.0, 0.0),
}
ANGLES = st.floats(-5, 5) | st.just(0.0)
PIXEL_MM = st.floats(0.3, 1.5).map(lambda mm: round(mm, 6))


# Without shrinking, which would run dcm2niix for minutes.
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.generate],
)
@given(
    position=st.sampled_from(sorted(PATIENT_POSITIONS)),
    angles=st.tuples(ANGLES, ANGLES, ANGLES),
    spacing=st.tuples(PIXEL_MM, PIXEL_MM),
    step=st.floats(0.4, 10).map(lambda mm: round(mm, 4)),
    storage=st.sampled_from(
        [(True, 16, 0.0), (True, 16, -1024.0), (False, 16, -1024.0), (False, 16, -8192.0), (False, 12, -1024.0)]
    ),
    slope=st.sampled_from([1.0, 0.5, 2.0, 0.7324]),
    syntax=st.sampled_from([ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]),
    order=st.permutations(range(12)),
)
def test_known_ct_comes_back_in_the_same_place(
    position: str,
    angles: tuple[float, float, float],
    spacing: tuple[float, float],
    step: float,
    storage: tuple[bool, int, float],
    slope: float,
    syntax: str,
    order: list[int],
) -> None:
    signed, bits, intercept = storage
    slope = max(slope, 1.0) if bits == 12 else slope
    directions = turn(*angles) @ np.reshape(PATIENT_POSITIONS[position], (2, 3)).T
    datasets = make_ct(
        orientation=directions.T.ravel().tolist(),
        spacing=spacing,
        step=step,
        signed=signed,
        bits=bits,
        intercept=intercept,
        slope=slope,
    )
    expected = np.maximum(np.rint((make_pattern(12) - intercept) / slope) * slope + intercept, -1024)
    volume = convert([datasets[number] for number in order], syntax)
    assert volume.hu.dtype == np.int16
    assert_same_points(volume, datasets, expected)
    assert nib.aff2axcodes(volume.affine) == ("R", "A", "S")


@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
        RLELossless,
        JPEGLSLossless,
        JPEG2000Lossless,
    ],
    ids=lambda uid: uid.name.split(",")[0],
)
def test_transfer_syntax_changes_nothing(syntax: str) -> None:
    datasets = make_ct(intercept=-1024.0)
    assert_same_points(convert(datasets, syntax), datasets, make_pattern(12))


@pytest.mark.parametrize("padding", [-2000, -2048, -3024])
def test_padding_becomes_the_floor_and_is_recorded(padding: int) -> None:
    hu = make_pattern(12)
    hu[:, :2] = padding
    datasets = make_ct(hu=hu)
    volume = convert(datasets)
    assert volume.hu.min() == -1024
    assert volume.padding_value == padding
    assert volume.padding_share == pytest.approx(2 / 36)
    assert_same_points(volume, datasets, np.maximum(hu, -1024))


def test_padding_at_the_floor_is_recorded_where_the_header_states_it() -> None:
    hu = make_pattern(12)
    hu[:, 0] = -1024
    datasets = make_ct(hu=hu, signed=False, intercept=-1024.0)
    for ds in datasets:
        ds.PixelPaddingValue = 0
    volume = convert(datasets)
    assert (volume.padding_value, volume.padding_share) == (-1024, pytest.approx(1 / 36))


def test_sixteen_bit_unsigned_values_are_not_wrapped() -> None:
    hu = make_pattern(12)
    hu[5, 3, 4] = 40000
    volume = convert(make_ct(hu=hu, signed=False, intercept=-1024.0))
    assert volume.hu.max() == 32767
    assert volume.hu.min() == -1000


def test_volume_whose_geometry_is_not_the_headers_is_refused() -> None:
    stack = check_headers("case", [to_bytes(ds) for ds in make_ct()], SETTINGS)
    assert np.array_equal(prove_geometry("case", (40, 36, 12), stack.affine, stack), [[0, 1], [1, 1], [2, 1]])
    turned = stack.affine @ inv_ornt_aff(np.array([[1, 1], [0, -1], [2, 1]]), (40, 36, 12))
    assert np.array_equal(prove_geometry("case", (36, 40, 12), turned, stack)[:, 0], [1, 0, 2])
    shifted = stack.affine.copy()
    shifted[2, 3] += 0.1
    with pytest.raises(ItemError, match=r"0\.100 mm off the headers'"):
        prove_geometry("case", (40, 36, 12), shifted, stack)
    with pytest.raises(ItemError, match=r"made \(40, 36, 11\) voxels, the headers say \(40, 36, 12\)"):
        prove_geometry("case", (40, 36, 11), stack.affine, stack)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGLSLossless])
def test_volume_whose_voxels_are_not_the_files_is_refused(syntax: str) -> None:
    stack = check_headers("case", [to_bytes(ds, syntax) for ds in make_ct()], SETTINGS)
    stored = np.moveaxis(make_pattern(12), 0, 2).swapaxes(0, 1).astype(np.int16)
    prove_voxels("case", stored, 1.0, 0.0, stack)
    prove_voxels("case", stored * 2, 0.5, 0.0, stack)
    changed = stored.copy()
    changed[7, 9, 11] += 1
    for wrong, slope, intercept in (
        (stored[:, :, ::-1], 1.0, 0.0),
        (stored[:, ::-1], 1.0, 0.0),
        (changed, 1.0, 0.0),
        (stored, 1.0, 1.0),
        (stored, 1.001, 0.0),
    ):
        with pytest.raises(ItemError, match=r"differ from the file's by up to \d+\.\d HU"):
            prove_voxels("case", wrong, slope, intercept, stack)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
@pytest.mark.parametrize("number", [0, 5, 11])
def test_every_slice_is_compared(syntax: str, number: int) -> None:
    stack = check_headers("case", [to_bytes(ds, syntax) for ds in make_ct()], SETTINGS)
    stored = np.moveaxis(make_pattern(12), 0, 2).swapaxes(0, 1).astype(np.int16)
    stored[3, 4, number] += 1
    with pytest.raises(ItemError, match=r"by up to 1\.0 HU"):
        prove_voxels("case", stored, 1.0, 0.0, stack)
