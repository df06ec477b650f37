"""DICOM SEG objects made by hand, attribute by attribute, so that the reader is not tested against its own library."""

import io
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from guidegen.labels import LabelTable, load_labels
from guidegen.mask.backends import Annotation, MaskCase
from guidegen.mask.resample import Grid

CONFIG = Path(__file__).parents[2] / "config"
CT_UID = "1.2.3.4"


@pytest.fixture(scope="session")
def labels() -> LabelTable:
    return load_labels(CONFIG)


def cut_frame(volume: np.ndarray, k: int) -> np.ndarray:
    """Rows run to posterior, columns to the patient's left, as in an axial image."""
    return volume[::-1, ::-1, k].T


def _item(**values: object) -> Dataset:
    item = Dataset()
    for name, value in values.items():
        setattr(item, name, value)
    return item


def _describe_frame(grid: Grid, k: int, number: int | None) -> Dataset:
    corner = grid.affine @ [grid.shape[0] - 1, grid.shape[1] - 1, k, 1]
    frame = _item(
        PlanePositionSequence=[_item(ImagePositionPatient=[f"{v:.6f}" for v in (-corner[0], -corner[1], corner[2])])]
    )
    if number is not None:
        frame.SegmentIdentificationSequence = [_item(ReferencedSegmentNumber=number)]
    return frame


def build_seg(
    segments: Mapping[int, np.ndarray],
    names: Mapping[int, str],
    grid: Grid,
    kind: str = "BINARY",
    ct_uid: str = CT_UID,
    keep_empty: bool = False,
) -> Dataset:
    """Return a SEG of masks (X, Y, Z) on a RAS+ grid without rotation; empty frames are left out, as archives do."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    label_map = kind == "LABELMAP"
    ds.SOPClassUID = f"1.2.840.10008.5.1.4.1.1.66.{7 if label_map else 4}"
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "1.2.9.1"
    ds.Modality, ds.SegmentationType = "SEG", kind
    ds.ReferencedSeriesSequence = [_item(SeriesInstanceUID=ct_uid)]
    ds.SegmentSequence = [_item(SegmentNumber=n, SegmentLabel=name) for n, name in names.items()]
    spacing = [f"{v:.6f}" for v in grid.spacing_mm]
    ds.SharedFunctionalGroupsSequence = [
        _item(
            PlaneOrientationSequence=[_item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
            PixelMeasuresSequence=[_item(PixelSpacing=[spacing[1], spacing[0]], SpacingBetweenSlices=spacing[2])],
        )
    ]
    frames, described = [], []
    for k in range(grid.shape[2]):
        if label_map:
            merged = sum((n * mask.astype(np.uint8) for n, mask in segments.items()), np.zeros(grid.shape, np.uint8))
            frames.append(cut_frame(merged, k))
            described.append(_describe_frame(grid, k, None))
            continue
        for number, mask in segments.items():
            if keep_empty or mask[:, :, k].any():
                frames.append(cut_frame(mask.astype(np.uint8), k))
                described.append(_describe_frame(grid, k, number))
    ds.PerFrameFunctionalGroupsSequence = described
    ds.NumberOfFrames = len(frames)
    ds.Rows, ds.Columns = grid.shape[1], grid.shape[0]
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    stack = np.stack(frames) if frames else np.zeros((0, grid.shape[1], grid.shape[0]), np.uint8)
    bits = 1 if kind == "BINARY" else 8
    ds.BitsAllocated = ds.BitsStored = bits
    ds.HighBit = bits - 1
    if kind == "FRACTIONAL":
        ds.MaximumFractionalValue = 200
        stack = stack * 150
    data = np.packbits(stack.ravel(), bitorder="little").tobytes() if bits == 1 else stack.tobytes()
    ds.PixelData = data + b"\0" * (len(data) % 2)
    ds["PixelData"].VR = "OB"
    return ds


def pack_tar(path: Path, files: Mapping[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def encode(ds: Dataset) -> bytes:
    stream = io.BytesIO()
    dcmwrite(stream, ds, enforce_file_format=True)
    return stream.getvalue()


@pytest.fixture
def make_case(tmp_path: Path) -> Callable[..., MaskCase]:
    """Return a function that makes a case with SEG datasets (or raw bytes) as its annotations."""

    def make(*annotations: Dataset | bytes, kinds: tuple[str, ...] = (), site: str = "") -> MaskCase:
        found = []
        for index, data in enumerate(annotations):
            raw = data if isinstance(data, bytes) else encode(data)
            path = pack_tar(tmp_path / f"seg{index}.tar", {"1.dcm": raw})
            found.append(Annotation(path, "dicom", f"1.2.9.{index}", kinds[index] if kinds else "expert"))
        return MaskCase("c__p__00000000", "c", tmp_path, None, CT_UID, tuple(found), site)

    return make


@pytest.fixture(name="build_seg", scope="session")
def fixture_build_seg() -> Callable[..., Dataset]:
    return build_seg


@pytest.fixture(name="pack_tar", scope="session")
def fixture_pack_tar() -> Callable[..., Path]:
    return pack_tar
