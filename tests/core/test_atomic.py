"""Files and folders appear whole or not at all."""

import hashlib
import signal
import subprocess
import sys
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


@pytest.mark.parametrize("replace", ["replace_file", "replace_folder"])
def test_what_a_killed_writer_left_goes_with_the_next_one(tmp_path: Path, replace: str) -> None:
    target = tmp_path / "target"
    code = f"""
import os, signal
from pathlib import Path
from guidegen.atomic import {replace}
with {replace}(Path({str(target)!r})) as temporary:
    (temporary / "half" if temporary.is_dir() else temporary).write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", code], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 1
    with replace_file(target) if replace == "replace_file" else replace_folder(target) as temporary:
        (temporary / "whole" if temporary.is_dir() else temporary).write_text("whole")
    assert list(tmp_path.iterdir()) == [target]


def test_the_temporary_file_of_a_living_writer_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with replace_file(path) as first:
        first.write_text("first")
        write_text(path, "second")
        assert first.read_text() == "first"
    assert path.read_text() == "first"


def test_hash_file_is_sha256(tmp_path: Path) -> None:
    data = bytes(range(256)) * 4000
    (tmp_path / "a").write_bytes(data)
    assert hash_file(tmp_path / "a") == hashlib.sha256(data).hexdigest()
