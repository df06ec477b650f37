"""A killed push, a full disk, a server that is gone: nothing is lost, and the next call finishes."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_interrupt import has_file, kill_when, start
from test_restore import clone, hash_data

from conftest import git
from guidegen.errors import GuideGenError
from guidegen.study import Study
from guidegen.version.commit import commit_run
from guidegen.version.remote import push_runs
from guidegen.version.restore import restore_run
from guidegen.version.verify import verify_study


class SmallDisk:
    """A tmpfs whose size can be changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self._mount("size=1m")

    def leave(self, free: int) -> None:
        """Let this many bytes be free."""
        self._mount(f"remount,size={shutil.disk_usage(self.folder).used + free}")

    def _mount(self, options: str) -> None:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.folder)]
        subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    if os.geteuid() != 0:
        pytest.skip("only root mounts a small disk")
    try:
        disk = SmallDisk(tmp_path / "disk")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no tmpfs can be mounted here: {error.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk.folder)], check=True)


def set_config(study: Study, old: str, new: str) -> Study:
    path = study.root / "config" / "config.yaml"
    path.write_text(path.read_text().replace(old, new))
    return Study.load(study.root)


def test_a_killed_push_is_finished_by_the_next(study: Study, tmp_path: Path) -> None:
    study = set_config(study, "remote: ../remote", 'remote: ""')
    commit_run(study)
    study = set_config(study, 'remote: ""', "remote: ../remote")
    assert kill_when(start(study.root, "push"), lambda: has_file(tmp_path / "remote", "*"))
    assert "1 run(s) are at" in push_runs(study)
    assert push_runs(study).endswith("0 object(s) were missing there")
    assert commit_run(study).pushed_to == "../remote"
    again = clone(study, tmp_path / "again")
    restore_run(again, "HEAD")
    assert hash_data(again) == hash_data(study.root)


def test_a_full_disk_at_the_remote_stops_the_commit_and_the_next_finishes(
    study: Study, tmp_path: Path, small_disk: SmallDisk
) -> None:
    small_disk.leave(80_000)
    study = set_config(study, "../remote", str(small_disk.folder / "remote"))
    with pytest.raises(GuideGenError, match=r"No space left on device.*free some space and call again"):
        commit_run(study)
    assert git(study.root, "tag", "--list") == ""
    small_disk.leave(10_000_000)
    tag = commit_run(study).tag
    restore_run(clone(study, tmp_path / "again"), tag)


def test_a_full_disk_of_the_study_stops_restore_and_commit_and_the_next_finishes(
    study: Study, tmp_path: Path, small_disk: SmallDisk
) -> None:
    tag = commit_run(set_config(study, "../remote", str(tmp_path / "remote"))).tag
    before = hash_data(study.root)
    small_disk.leave(10_000_000)
    again = clone(study, small_disk.folder / "again")
    small_disk.leave(100_000)
    with pytest.raises(GuideGenError, match="No space left on device"):
        restore_run(again, tag)
    small_disk.leave(10_000_000)
    restore_run(again, tag)
    assert hash_data(again) == before

    shutil.rmtree(again / ".dvc" / "cache")
    small_disk.leave(100_000)
    with pytest.raises(GuideGenError, match="No space left on device"):
        commit_run(Study.load(again))
    assert hash_data(again) == before
    small_disk.leave(10_000_000)
    assert commit_run(Study.load(again)).tag == tag
    assert verify_study(Study.load(again)).errors == []


def test_a_server_that_refuses_connections_is_one_clear_message(
    study: Study, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_MAX_ATTEMPTS": "1"}.items():
        monkeypatch.setenv(name, value)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        broken = set_config(study, "remote: ../remote", f"remote: s3://studies/x\n  endpoint_url: {address}")
        with pytest.raises(GuideGenError, match="the remote does not answer as it should"):
            commit_run(broken)
    assert git(study.root, "tag", "--list") == ""
    path = study.root / "config" / "config.yaml"
    path.write_text(path.read_text().replace(f"s3://studies/x\n  endpoint_url: {address}", "../remote"))
    assert commit_run(Study.load(study.root)).new
