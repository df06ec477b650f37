"""Irregular series end in a clear row, never in a wrong volume."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from hand_made_ct import CORONAL, make_ct, make_pattern, to_bytes
from pydicom import Dataset, dcmread
from pydicom.uid import EnhancedCTImageStorage, generate_uid

from guidegen.convert.headers import check_headers
from guidegen.convert.settings import ConvertSettings, IrregularityPolicy
from guidegen.errors import ItemError, ItemExcluded

SETTINGS = ConvertSettings()  # type: ignore[call-arg]


def apply_to_all(verdict: str) -> ConvertSettings:
    """Settings with one verdict for every irregularity."""
    policy = IrregularityPolicy(**dict.fromkeys(IrregularityPolicy.model_fields, verdict))  # type: ignore[arg-type]
    return ConvertSettings(irregular=policy)  # type: ignore[call-arg]


Change = Callable[[list[Dataset]], list[Dataset]]


def drop_slice(datasets: list[Dataset]) -> list[Dataset]:
    return datasets[:5] + datasets[6:]


def move_slice(datasets: list[Dataset]) -> list[Dataset]:
    x, y, z = datasets[5].ImagePositionPatient
    datasets[5].ImagePositionPatient = [x, y, float(z) + 0.9]
    return datasets


def repeat_slice(datasets: list[Dataset]) -> list[Dataset]:
    copy = dcmread(io.BytesIO(to_bytes(datasets[6])))
    copy.SOPInstanceUID = generate_uid()
    return [*datasets, copy]


def add_localizer(datasets: list[Dataset]) -> list[Dataset]:
    scout = make_ct(1, orientation=CORONAL)[0]
    scout.SeriesInstanceUID, scout.ImageType = datasets[0].SeriesInstanceUID, ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    return [scout, *datasets]


def add_unmarked_localizer(datasets: list[Dataset]) -> list[Dataset]:
    scout, *others = add_localizer(datasets)
    scout.ImageType = ["ORIGINAL", "PRIMARY"]
    return [scout, *others]


def stack_phases(datasets: list[Dataset]) -> list[Dataset]:
    return datasets + make_later(datasets, 60)


def interleave_phases(datasets: list[Dataset]) -> list[Dataset]:
    return datasets + make_later(datasets, 60, ahead_mm=1.25)


def stack_times(datasets: list[Dataset]) -> list[Dataset]:
    return datasets + make_later(datasets, 60) + make_later(datasets, 120)


def make_later(datasets: list[Dataset], hu: int, ahead_mm: float = 0.0) -> list[Dataset]:
    """The same slices at a later time, with other HU."""
    later = make_ct(len(datasets), hu=make_pattern(len(datasets)) + hu, origin=(-80.0, -95.5, 10.25 + ahead_mm))
    for ds in later:
        ds.SeriesInstanceUID, ds.AcquisitionNumber = datasets[0].SeriesInstanceUID, 1 + hu // 60
    return later


def shift_sideways(datasets: list[Dataset]) -> list[Dataset]:
    for number, ds in enumerate(datasets):
        x, y, z = (float(v) for v in ds.ImagePositionPatient)
        ds.ImagePositionPatient = [x, y + 0.5 * number, z]
    return datasets


def turn_coronal(datasets: list[Dataset]) -> list[Dataset]:
    return make_ct(orientation=CORONAL)


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


def negate_slope(datasets: list[Dataset]) -> list[Dataset]:
    for ds in datasets:
        ds.RescaleSlope = -1
    return datasets


def merge_frames(datasets: list[Dataset]) -> list[Dataset]:
    first = datasets[0]
    first.NumberOfFrames = len(datasets)
    first.PixelData = b"".join(ds.PixelData for ds in datasets)
    return [first]


def make_enhanced(datasets: list[Dataset]) -> list[Dataset]:
    """One enhanced multi-frame CT (PS3.3, A.38): geometry and rescale lie in functional groups."""
    enhanced = merge_frames(datasets)[0]
    enhanced.SOPClassUID = EnhancedCTImageStorage
    shared, measures, directions, values = Dataset(), Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = enhanced.PixelSpacing, enhanced.SliceThickness
    directions.ImageOrientationPatient = enhanced.ImageOrientationPatient
    values.RescaleSlope, values.RescaleIntercept, values.RescaleType = 1, 0, "HU"
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [directions]
    shared.PixelValueTransformationSequence = [values]
    frames = []
    for ds in datasets:
        frame, place = Dataset(), Dataset()
        place.ImagePositionPatient = ds.ImagePositionPatient
        frame.PlanePositionSequence = [place]
        frames.append(frame)
    enhanced.SharedFunctionalGroupsSequence, enhanced.PerFrameFunctionalGroupsSequence = [shared], frames
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope"):
        delattr(enhanced, keyword)
    return [enhanced]


def keep_few(datasets: list[Dataset]) -> list[Dataset]:
    return datasets[:4]


def make_colour(datasets: list[Dataset]) -> list[Dataset]:
    for ds in datasets:
        ds.PhotometricInterpretation = "MONOCHROME1"
    return datasets


def draw_overlay(datasets: list[Dataset]) -> list[Dataset]:
    """A retired overlay in bit 12 of 12-bit pixels (PS3.3-2004, C.9.2)."""
    datasets = make_ct(signed=False, bits=12, intercept=-1024.0)
    image = np.frombuffer(datasets[5].PixelData, "<u2").copy()
    image[100:120] |= 1 << 12
    datasets[5].PixelData = image.tobytes()
    return datasets


def cut_sign(datasets: list[Dataset]) -> list[Dataset]:
    """Negative 12-bit values whose sign does not fill the upper bits."""
    datasets = make_ct(bits=12)
    for ds in datasets:
        ds.PixelData = (np.frombuffer(ds.PixelData, "<u2") & 0x0FFF).tobytes()
    return datasets


IRREGULAR: dict[str, tuple[Change, str]] = {
    "missing slice": (drop_slice, "missing_slice: 1 missing at a spacing of 2.5 mm"),
    "uneven spacing": (move_slice, "uneven_spacing: gaps from 1.6 to 3.4 mm"),
    "duplicate slice": (repeat_slice, "duplicate_slice: 1 of 13 images are there twice"),
    "localizer": (add_localizer, "localizer: 1 of 13 images are localizers"),
    "localizer that does not say so": (add_unmarked_localizer, "mixed_orientation"),
    "two phases": (
        stack_phases,
        "stacked_volumes: different images at one position (10.25 mm); by AcquisitionNumber (slices): 1 (12), 2 (12)",
    ),
    "two phases between each other": (interleave_phases, "stacked_volumes: acquisitions alternate"),
    "three time points": (stack_times, "stacked_volumes: different images at one position"),
    "gantry tilt": (shift_sideways, "gantry_tilt: 11.3 degrees, 5.5 mm from first to last slice"),
    "coronal": (turn_coronal, "orientation: coronal, 90.0 degrees from axial"),
    "one slice turned": (turn_one, "mixed_orientation"),
    "one slice smaller": (shrink_one, "slice_size: slices of 34 x 40 (1), 36 x 40 (11)"),
    "one pixel spacing": (respace_one, "slice_size: pixel spacings differ"),
    "no rescale": (unset_rescale, "rescale: slope nan and intercept nan"),
    "two intercepts": (vary_rescale, "rescale: 2 pairs"),
    "slope zero": (zero_slope, "rescale: slope 0.0"),
    "slope below zero": (negate_slope, "rescale: slope -1.0"),
    "multi-frame": (merge_frames, "multi_frame: image of 12 frames in one file"),
    "enhanced multi-frame": (make_enhanced, "multi_frame: enhanced CT of 12 frames in one file"),
    "four slices": (keep_few, "too_few_slices: 4 slices, at least 10"),
    "inverted grey": (make_colour, "not_ct: image is ('MONOCHROME1', 1, 16)"),
    "overlay in the pixels": (draw_overlay, "not_ct: stored values up to"),
    "sign cut off": (cut_sign, "not_ct: stored values up to 4095, 12 bits hold at most 2047"),
}


@pytest.mark.parametrize("name", IRREGULAR)
def test_irregular_series_is_excluded_with_its_reason(name: str) -> None:
    change, message = IRREGULAR[name]
    files = [to_bytes(ds) for ds in change(make_ct())]
    with pytest.raises(ItemExcluded) as found:
        check_headers("case", files, apply_to_all("exclude"))
    assert str(found.value).startswith(message)


@pytest.mark.parametrize("name", IRREGULAR)
def test_policy_can_make_it_a_failure(name: str) -> None:
    change, message = IRREGULAR[name]
    files = [to_bytes(ds) for ds in change(make_ct())]
    with pytest.raises(ItemError, match=message.partition(":")[0]):
        check_headers("case", files, apply_to_all("fail"))


def test_two_series_in_one_are_an_error() -> None:
    datasets = make_ct()
    datasets[3].SeriesInstanceUID = generate_uid()
    with pytest.raises(ItemError, match=r"case: file 00004\.dcm is of series '[\d.]+', most are of '[\d.]+'"):
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
