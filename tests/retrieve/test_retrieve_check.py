"""Every file is checked before it counts; what is wrong is named."""

import io
import tarfile
from functools import partial
from pathlib import Path

import pytest
from hand_made_ct import make_ct, to_bytes
from pydicom import Dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from guidegen.errors import ItemError
from guidegen.retrieve.check import Expected, check_series
from guidegen.retrieve.tarball import read_tar, write_tar

NATIVE = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian)
COMPRESSED = (JPEG2000Lossless, JPEGLSLossless, RLELossless)


def name_files(datasets: list[Dataset], syntax: str = ExplicitVRLittleEndian) -> dict[str, bytes]:
    return {f"{number}.dcm": to_bytes(ds, syntax) for number, ds in enumerate(datasets)}


def check(files: dict[str, bytes], expected: Expected) -> list[bytes]:
    names = check_series({name: partial(io.BytesIO, data) for name, data in files.items()}, expected)
    return [files[name] for name in names]


def expect(datasets: list[Dataset], **changes: object) -> Expected:
    values = {"case": "case", "series_uid": str(datasets[0].SeriesInstanceUID), "modality": "CT", "format": "dicom"}
    return Expected(**(values | {"instances": len(datasets)} | changes))  # type: ignore[arg-type]


def test_files_are_ordered_by_instance_number() -> None:
    datasets = make_ct(12)
    ordered = check(name_files(datasets[::-1]), expect(datasets))
    assert ordered == [to_bytes(ds) for ds in datasets]


def test_same_files_in_any_order_make_the_same_tar(tmp_path: Path) -> None:
    datasets = make_ct(12)
    for name, files in (("a", name_files(datasets)), ("b", name_files(datasets[::-1]))):
        ordered = check(files, expect(datasets))
        write_tar(tmp_path / name, ((f"{n:05d}.dcm", data) for n, data in enumerate(ordered, 1)))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert [name for name, _ in read_tar(tmp_path / "a")][:2] == ["00001.dcm", "00002.dcm"]
    with tarfile.open(tmp_path / "a") as archive:
        assert {(m.mtime, m.uid, m.gid, m.uname) for m in archive} == {(0, 0, 0, "")}


def test_missing_file() -> None:
    datasets = make_ct(12)
    with pytest.raises(ItemError, match="has 11 files, the index says 12"):
        check(name_files(datasets[1:]), expect(datasets))


def test_extra_file() -> None:
    datasets = make_ct(12)
    with pytest.raises(ItemError, match="has 12 files, the index says 11"):
        check(name_files(datasets), expect(datasets, instances=11))


def test_file_of_another_series() -> None:
    datasets = make_ct(12)
    datasets[3].SeriesInstanceUID = generate_uid()
    with pytest.raises(ItemError, match=r"3\.dcm belongs to series"):
        check(name_files(datasets), expect(datasets))


def test_same_instance_twice() -> None:
    datasets = make_ct(12)
    with pytest.raises(ItemError, match=r"12\.dcm and 3\.dcm are one instance"):
        check(name_files([*datasets, datasets[3]]), expect(datasets, instances=13))


def test_other_object_class() -> None:
    datasets = make_ct(12)
    datasets[3].SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    with pytest.raises(ItemError, match=r"3\.dcm has SOP class '1\.2\.840\.10008\.5\.1\.4\.1\.1\.7', expected CT"):
        check(name_files(datasets), expect(datasets))


def test_wrong_bytes_of_the_right_number_of_files() -> None:
    datasets = make_ct(12)
    with pytest.raises(ItemError, match="the index says 5"):
        check(name_files(datasets), expect(datasets, size=5))


@pytest.mark.parametrize("keep", [40, 200, 600, -10])
def test_truncated_file(keep: int) -> None:
    datasets = make_ct(12)
    files = name_files(datasets)
    files["3.dcm"] = files["3.dcm"][:keep]
    with pytest.raises(ItemError, match=r"3\.dcm"):
        check(files, expect(datasets))


def test_truncated_compressed_file() -> None:
    datasets = make_ct(12)
    files = name_files(datasets, JPEGLSLossless)
    assert len(check(files, expect(datasets))) == 12
    files["3.dcm"] = files["3.dcm"][:-400]
    with pytest.raises(ItemError, match=r"3\.dcm"):
        check(files, expect(datasets))


@pytest.mark.parametrize("syntax", [*NATIVE, DeflatedExplicitVRLittleEndian, *COMPRESSED], ids=lambda uid: uid.name)
def test_every_transfer_syntax_is_whole_or_cut_off(syntax: str) -> None:
    datasets = make_ct(12)
    files = name_files(datasets, syntax)
    assert len(check(files, expect(datasets))) == 12
    whole = files["3.dcm"]
    # The last bytes of a compressed file are a delimiter's length, those of a deflated one may be padding.
    shortest = {DeflatedExplicitVRLittleEndian: 2} | dict.fromkeys(COMPRESSED, 300)
    for lost in (shortest.get(UID(syntax), 1), 300, 1500):
        files["3.dcm"] = whole[:-lost]
        with pytest.raises(ItemError, match=r"3\.dcm"):
            check(files, expect(datasets))


@pytest.mark.parametrize("syntax", NATIVE, ids=lambda uid: uid.name)
def test_pixel_data_that_says_it_is_shorter_is_cut_off(syntax: str) -> None:
    """Bytes that follow the pixels do not stand in for them."""
    datasets = make_ct(12)
    files = name_files(datasets, syntax)
    order = "big" if syntax == ExplicitVRBigEndian else "little"
    stated = (2880).to_bytes(4, order)
    assert files["3.dcm"].count(stated) == 1
    files["3.dcm"] = files["3.dcm"].replace(stated, (2000).to_bytes(4, order))
    with pytest.raises(ItemError, match=r"3\.dcm is cut off: 2000 of 2880 bytes"):
        check(files, expect(datasets))


def test_no_pixel_data() -> None:
    datasets = make_ct(12)
    del datasets[3].PixelData
    with pytest.raises(ItemError, match=r"3\.dcm has no pixel data"):
        check(name_files(datasets), expect(datasets))


@pytest.mark.parametrize("junk", [b"", b"not DICOM at all", bytes(5000), b"<html>503</html>" * 40])
def test_file_that_is_not_dicom(junk: bytes) -> None:
    datasets = make_ct(12)
    files = name_files(datasets)
    files["3.dcm"] = junk
    with pytest.raises(ItemError, match=r"3\.dcm is no readable DICOM file"):
        check(files, expect(datasets))


def test_unreadable_tar_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(io.BytesIO(b"junk" * 300).getvalue())
    with pytest.raises(ItemError, match=r"x\.tar: not a readable tar"):
        list(read_tar(tmp_path / "x.tar"))
