"""The remote may be a folder of another machine, over SSH: tested against a real sshd on loopback."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from ssh_server import Server, explain_absence, start_server
from test_restore import clone, hash_data

from guidegen.errors import GuideGenError
from guidegen.study import Study
from guidegen.version.commit import commit_run
from guidegen.version.remote import push_runs
from guidegen.version.restore import restore_run

pytestmark = pytest.mark.skipif(bool(explain_absence()), reason=explain_absence())


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "sshd").mkdir()
    running = start_server(tmp_path / "sshd", Path(os.environ["HOME"]))
    yield running
    running.stop()


def use_remote(template: Path, root: Path, remote: str) -> Study:
    shutil.copytree(template, root, symlinks=True)
    config = root / "config" / "config.yaml"
    config.write_text(config.read_text().replace("remote: ../remote", f"remote: {remote}"))
    return Study.load(root)


def test_a_run_goes_over_ssh_and_comes_back(template: Path, tmp_path: Path, server: Server) -> None:
    stored = tmp_path / "stored"
    study = use_remote(template, tmp_path / "study", f"{server.url}{stored}")
    tag = commit_run(study).tag
    volume = next((study.root / "data" / "ct").rglob("*.nii.gz"))
    digest = hashlib.md5(volume.read_bytes()).hexdigest()
    uploaded = stored / "files" / "md5" / digest[:2] / digest[2:]
    assert uploaded.read_bytes() == volume.read_bytes()
    again = clone(study, tmp_path / "again")
    restore_run(again, tag)
    assert hash_data(again) == hash_data(study.root)

    uploaded.chmod(0o644)
    uploaded.write_bytes(volume.read_bytes()[:100])
    assert "1 object(s) were missing there" in push_runs(study), "what a killed push cut short is pushed again"
    assert uploaded.read_bytes() == volume.read_bytes()


def test_a_server_that_is_gone_is_one_clear_message_and_the_next_push_finishes(
    template: Path, tmp_path: Path, server: Server
) -> None:
    study = use_remote(template, tmp_path / "study", f"{server.url}{tmp_path}/stored")
    server.stop()
    with pytest.raises(GuideGenError, match="the remote does not answer as it should"):
        commit_run(study)
    assert not (tmp_path / "stored").exists()
    (tmp_path / "second").mkdir()
    back = start_server(tmp_path / "second", Path(os.environ["HOME"]))
    config = study.root / "config" / "config.yaml"
    config.write_text(config.read_text().replace(server.url, back.url))
    assert commit_run(Study.load(study.root)).new
    back.stop()
