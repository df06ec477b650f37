"""Files and folders appear whole or not at all."""

import hashlib
from pathlib import Path

import pytest

from guidegen.atomic import hash_file, replace_file, replace_folder, write_text


def write_half(path: Path) -> None:
    with replace_file(path) as temporary:
        assert temporary.suffixes[-2:] == [".nii", ".gz"]
        temporary.write_text("half")
        raise ZeroDivisionError


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.nii.gz"
    write_text(path, "old")
    with pytest.raises(ZeroDivisionError):
        write_half(path)
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_the_old_file_is_there_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with replace_file(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_forgetting_to_write_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replace_file(tmp_path / "a.txt"):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("existed", [True, False])
@pytest.mark.parametrize("fails", [True, False])
def test_a_folder_is_swapped_as_a_whole(tmp_path: Path, existed: bool, fails: bool) -> None:
    path = tmp_path / "folder"
    if existed:
        path.mkdir()
        (path / "old").touch()
    try:
        with replace_folder(path) as new:
            (new / "new").touch()
            if fails:
                raise ZeroDivisionError
    except ZeroDivisionError:
        assert fails
    names = [item.name for item in path.iterdir()] if path.exists() else None
    assert names == ((["old"] if existed else None) if fails else ["new"])
    assert [item.name for item in tmp_path.iterdir()] == (["folder"] if names else [])


def test_hash_file_is_sha256(tmp_path: Path) -> None:
    data = bytes(range(256)) * 4000
    (tmp_path / "a").write_bytes(data)
    assert hash_file(tmp_path / "a") == hashlib.sha256(data).hexdigest()
