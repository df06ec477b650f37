"""Irregular series end in a clear row, never in a wrong volume."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hand_made_ct import make_ct, make_pattern, to_bytes
from pydicom import Dataset
from pydicom.uid import generate_uid

from guidegen.convert.headers import check_headers
from guidegen.convert.settings import ConvertSettings, IrregularityPolicy
from guidegen.convert.volume import convert_stack
from guidegen.errors import ItemError, ItemExcluded

SETTINGS = ConvertSettings()  # type: ignore[call-arg]
Change = Callable[[list[Dataset]], list[Dataset]]


def drop_slice(datasets: list[Dataset]) -> list[Dataset]:
    return datasets[:5] + datasets[6:]


def move_slice(datasets: list[Dataset]) -> list[Dataset]:
    x, y, z = datasets[5].ImagePositionPatient
    datasets[5].ImagePositionPatient = [x, y, float(z) + 0.9]
    return datasets


def stack_phases(datasets: list[Dataset]) -> list[Dataset]:
    later = make_ct(hu=make_pattern(12) + 60)
    for ds, first in zip(later, datasets, strict=True):
        ds.SeriesInstanceUID, ds.AcquisitionNumber = first.SeriesInstanceUID, 2
    return datasets + later


def shift_sideways(datasets: list[Dataset]) -> list[Dataset]:
    for number, ds in enumerate(datasets):
        x, y, z = (float(v) for v in ds.ImagePositionPatient)
        ds.ImagePositionPatient = [x, y + 0.5 * number, z]
    return datasets


def turn_coronal(datasets: list[Dataset]) -> list[Dataset]:
    return make_ct(orientation=(1.0, 0.0, 0.0, 0.0, 0.0, -1.0))


def turn_one(datasets: list[Dataset]) -> list[Dataset]:
    datasets[4].ImageOrientationPatient = [1.0, 0.0, 0.0, 0.0, 0.9961947, 0.0871557]
    return datasets


def shrink_one(datasets: list[Dataset]) -> list[Dataset]:
    datasets[4].Rows -= 2
    datasets[4].PixelData = datasets[4].PixelData[: datasets[4].Rows * datasets[4].Columns * 2]
    return datasets


def respace_one(datasets: list[Dataset]) -> list[Dataset]:
    datasets[4].PixelSpacing = [0.9, 0.9]
    return datasets


def unset_rescale(datasets: list[Dataset]) -> list[Dataset]:
    for ds in datasets:
        del ds.RescaleSlope, ds.RescaleIntercept
    return datasets


def vary_rescale(datasets: list[Dataset]) -> list[Dataset]:
    datasets[3].RescaleIntercept = -1024
    return datasets


def zero_slope(datasets: list[Dataset]) -> list[Dataset]:
    for ds in datasets:
        ds.RescaleSlope = 0
    return datasets


def merge_frames(datasets: list[Dataset]) -> list[Dataset]:
    first = datasets[0]
    first.NumberOfFrames = len(datasets)
    first.PixelData = b"".join(ds.PixelData for ds in datasets)
    return [first]


def keep_few(datasets: list[Dataset]) -> list[Dataset]:
    return datasets[:4]


def make_colour(datasets: list[Dataset]) -> list[Dataset]:
    for ds in datasets:
        ds.PhotometricInterpretation = "MONOCHROME1"
    return datasets


IRREGULAR: dict[str, tuple[Change, str]] = {
    "missing slice": (drop_slice, "missing_slice: 1 missing at a spacing of 2.5 mm"),
    "uneven spacing": (move_slice, "uneven_spacing: gaps from 1.6 to 3.4 mm"),
    "two phases": (stack_phases, "stacked_volumes: different images at one position"),
    "gantry tilt": (shift_sideways, "gantry_tilt: 11.3 degrees"),
    "coronal": (turn_coronal, "orientation: coronal, 90.0 degrees from axial"),
    "one slice turned": (turn_one, "mixed_orientation"),
    "one slice smaller": (shrink_one, "slice_size: slices of 34 x 40 (1), 36 x 40 (11)"),
    "one pixel spacing": (respace_one, "slice_size: pixel spacings differ"),
    "no rescale": (unset_rescale, "rescale: slope nan and intercept nan"),
    "two intercepts": (vary_rescale, "rescale: 2 pairs"),
    "slope zero": (zero_slope, "rescale: slope 0.0"),
    "multi-frame": (merge_frames, "multi_frame"),
    "four slices": (keep_few, "too_few_slices: 4 slices"),
    "inverted grey": (make_colour, "not_ct"),
}


@pytest.mark.parametrize("name", IRREGULAR)
def test_irregular_series_is_excluded_with_its_reason(name: str) -> None:
    change, message = IRREGULAR[name]
    files = [to_bytes(ds) for ds in change(make_ct())]
    with pytest.raises(ItemExcluded) as found:
        check_headers("case", files, SETTINGS)
    assert str(found.value).startswith(message)


@pytest.mark.parametrize("name", IRREGULAR)
def test_policy_can_make_it_a_failure(name: str) -> None:
    change, message = IRREGULAR[name]
    policy = IrregularityPolicy(**dict.fromkeys(IrregularityPolicy.model_fields, "fail"))
    files = [to_bytes(ds) for ds in change(make_ct())]
    with pytest.raises(ItemError, match=message.partition(":")[0]):
        check_headers("case", files, ConvertSettings(irregular=policy))  # type: ignore[call-arg]


def test_duplicate_slice_is_used_once_and_noted(tmp_path: Path) -> None:
    datasets = make_ct()
    copy = make_ct()[6]
    copy.SeriesInstanceUID, copy.SOPInstanceUID = datasets[0].SeriesInstanceUID, generate_uid()
    stack = check_headers("case", [to_bytes(ds) for ds in [*datasets, copy]], SETTINGS)
    assert stack.repairs == ("duplicate_slice: 1 of 13 images are there twice",)
    volume = convert_stack("case", stack, tmp_path)
    assert volume.hu.shape == (40, 36, 12)
    assert np.array_equal(np.sort(volume.hu, axis=None), np.sort(make_pattern(12), axis=None))


def test_localizer_among_the_slices_is_taken_out_and_noted() -> None:
    datasets = make_ct()
    scout = make_ct(1, orientation=(1.0, 0.0, 0.0, 0.0, 0.0, -1.0))[0]
    scout.SeriesInstanceUID, scout.ImageType = datasets[0].SeriesInstanceUID, ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    stack = check_headers("case", [to_bytes(ds) for ds in [scout, *datasets]], SETTINGS)
    assert stack.shape == (40, 36, 12)
    assert stack.repairs == ("localizer: 1 of 13 images are localizers",)


def test_two_series_in_one_are_an_error() -> None:
    datasets = make_ct()
    datasets[3].SeriesInstanceUID = generate_uid()
    with pytest.raises(ItemError, match="2 series in one"):
        check_headers("case", [to_bytes(ds) for ds in datasets], SETTINGS)


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_missing_geometry_is_an_error_that_names_the_file(keyword: str) -> None:
    datasets = make_ct()
    delattr(datasets[2], keyword)
    with pytest.raises(ItemError, match=r"00003\.dcm has no usable position, orientation or spacing"):
        check_headers("case", [to_bytes(ds) for ds in datasets], SETTINGS)


def test_rounded_positions_are_regular() -> None:
    datasets = make_ct()
    for number, ds in enumerate(datasets):
        x, y, z = (float(v) for v in ds.ImagePositionPatient)
        ds.ImagePositionPatient = [x, y, z + 0.02 * (number % 2)]
    assert check_headers("case", [to_bytes(ds) for ds in datasets], SETTINGS).repairs == ()


def test_pixels_that_cannot_be_decoded_are_an_error(tmp_path: Path) -> None:
    files = [to_bytes(ds, "1.2.840.10008.1.2.4.80") for ds in make_ct()]
    stack = check_headers("case", [*files[:6], files[6][:-300] + bytes(300), *files[7:]], SETTINGS)
    with pytest.raises(ItemError):
        convert_stack("case", stack, tmp_path)
