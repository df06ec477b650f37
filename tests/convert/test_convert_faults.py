"""Files that are broken end in one error that names the file and what is wrong with it, never in a volume."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from hand_made_ct import make_ct, to_bytes
from pydicom import dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from guidegen.convert.headers import check_headers
from guidegen.convert.settings import ConvertSettings
from guidegen.convert.volume import convert_stack
from guidegen.errors import ItemError

SETTINGS = ConvertSettings()  # type: ignore[call-arg]
COMPRESSED = (DeflatedExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless)
NATIVE = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian)


def drop_pixels(data: bytes) -> bytes:
    ds = dcmread(io.BytesIO(data))
    del ds.PixelData
    stream = io.BytesIO()
    ds.save_as(stream)
    return stream.getvalue()


def set_text(keyword: str, text: str) -> Callable[[bytes], bytes]:
    """A number's value becomes another text of the same length."""

    def change(data: bytes) -> bytes:
        ds = dcmread(io.BytesIO(data))
        setattr(ds, keyword, "7" * len(text))
        stream = io.BytesIO()
        ds.save_as(stream)
        return stream.getvalue().replace(b"7" * len(text), text.encode())

    return change


FAULTS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "no pixel data": (drop_pixels, "has no pixel data"),
    "cut off in the pixels": (lambda data: data[:-700], r"is cut off: 2180 of 2880 bytes of pixel data"),
    "cut off in the header": (lambda data: data[:500], "has no pixel data"),
    "cut off in the preamble": (lambda data: data[:120], "cannot be parsed"),
    "a text file": (lambda data: b"This is no DICOM file.\n" * 40, "cannot be parsed"),
    "empty": (lambda data: b"", "cannot be parsed"),
    "slope that is no number": (set_text("RescaleSlope", "one point two"), "RescaleSlope is 'one point two', expected"),
    "two intercepts in one": (
        set_text("RescaleIntercept", r"-1024\-1000"),
        "RescaleIntercept is '.*', expected one",
    ),
    "number of frames in words": (set_text("NumberOfFrames", "one frame"), "NumberOfFrames is 'one frame'"),
}


def convert(files: list[bytes], folder: Path) -> None:
    convert_stack("case", check_headers("case", files, SETTINGS), folder)


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("syntax", NATIVE, ids=lambda uid: uid.name)
def test_broken_file_is_named(name: str, syntax: str, tmp_path: Path) -> None:
    break_file, message = FAULTS[name]
    files = [to_bytes(ds, syntax) for ds in make_ct()]
    files[4] = break_file(files[4])
    with pytest.raises(ItemError, match=rf"^case: file 00005\.dcm:? {message}"):
        convert(files, tmp_path)


@pytest.mark.parametrize("syntax", COMPRESSED, ids=lambda uid: uid.name.split(",")[0])
@pytest.mark.parametrize("lost", [40, 400])
def test_compressed_file_that_is_cut_off_is_an_error(syntax: str, lost: int, tmp_path: Path) -> None:
    files = [to_bytes(ds, syntax) for ds in make_ct()]
    files[4] = files[4][:-lost]
    with pytest.raises(ItemError, match="case"):
        convert(files, tmp_path)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, RLELossless], ids=lambda uid: uid.name)
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_compressed_image_that_ends_too_early_in_a_whole_file_is_an_error(
    syntax: str, share: float, tmp_path: Path
) -> None:
    files = [to_bytes(ds, syntax) for ds in make_ct()]
    ds = dcmread(io.BytesIO(files[4]))
    frame = next(generate_frames(ds.PixelData, number_of_frames=1))
    ds.PixelData = encapsulate([frame[: int(len(frame) * share)]])
    stream = io.BytesIO()
    ds.save_as(stream, enforce_file_format=True)
    files[4] = stream.getvalue()
    with pytest.raises(ItemError, match="case"):
        convert(files, tmp_path)


def test_pixels_that_cannot_be_decoded_are_an_error(tmp_path: Path) -> None:
    files = [to_bytes(ds, JPEGLSLossless) for ds in make_ct()]
    files[6] = files[6][:-300] + bytes(300)
    with pytest.raises(ItemError, match="case"):
        convert(files, tmp_path)
