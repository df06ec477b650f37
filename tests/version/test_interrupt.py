"""Killed at any point, called again: the same end. Two at once: one after the other."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from test_restore import clone, hash_data

from conftest import git
from guidegen.study import STATE_FOLDER, Study
from guidegen.version.commit import commit_run
from guidegen.version.restore import restore_run
from guidegen.version.verify import verify_study


def start(root: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "guidegen", "version", *words, "--study", str(root)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0, env=dict(os.environ)
    )


def kill_when(process: subprocess.Popen[str], reached: Callable[[], bool]) -> bool:
    """Kill the whole process group as soon as `reached`; return whether it was still alive."""
    while not reached():
        if process.poll() is not None:
            return False
        time.sleep(0.0005)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return True


def has_file(folder: Path, pattern: str) -> bool:
    return next(folder.rglob(pattern), None) is not None


def test_a_commit_killed_at_every_stage_ends_as_if_it_was_not(template: Path, study: Study, tmp_path: Path) -> None:
    root, remote = study.root, tmp_path / "remote"
    stages: dict[str, Callable[[], bool]] = {
        "at the start": lambda: (root / STATE_FOLDER / "version.lock").exists(),
        "storing in the cache": lambda: has_file(root / ".dvc" / "cache", "*"),
        "writing pointers": lambda: has_file(root / "data", "*.dvc"),
        "pushing": lambda: has_file(remote, "*"),
        "gathering lineage": lambda: (root / "results" / "provenance" / "lineage.jsonl").exists(),
        "adding to git": lambda: (root / ".git" / "index.lock").exists(),
        "tagging": lambda: git(root, "rev-list", "--count", "HEAD").strip() == "2",
    }
    hit = [stage for stage, reached in stages.items() if kill_when(start(root, "commit", "--allow-dirty"), reached)]
    print("killed:", ", ".join(hit))
    assert len(hit) >= 5
    run = commit_run(study)
    assert git(root, "tag", "--list").split() == [run.tag]
    assert git(root, "rev-list", "--count", "HEAD").strip() == "2"
    assert git(root, "fsck", "--strict", "--no-dangling") == ""
    assert verify_study(study).findings == []
    again = clone(study, tmp_path / "again")
    restore_run(again, run.tag)
    assert hash_data(again) == hash_data(root)


def test_an_orphaned_child_of_a_killed_commit_is_waited_for(study: Study) -> None:
    """Only the parent is killed; its `dvc add` goes on, and the next commit must not run beside it."""
    first = start(study.root, "commit", "--allow-dirty")
    while not has_file(study.root / ".dvc" / "cache", "*"):
        assert first.poll() is None
        time.sleep(0.0005)
    first.kill()
    assert commit_run(study).new
    assert verify_study(study).findings == []
    first.communicate()


def test_a_restore_killed_at_every_stage_ends_as_if_it_was_not(study: Study, tmp_path: Path) -> None:
    tag = commit_run(study).tag
    again = clone(study, tmp_path / "again")
    git(again, "rm", "-rq", "data", "config/labels.tsv")
    stages: dict[str, Callable[[], bool]] = {
        "checked out": lambda: (again / "data" / "cohort" / "cohort.tsv").exists(),
        "fetching": lambda: has_file(again / ".dvc" / "cache", "*"),
        "writing bulk": lambda: has_file(again / "data", "*.nii.gz"),
    }
    words = ("restore", tag, "--force")
    hit = [stage for stage, reached in stages.items() if kill_when(start(again, *words), reached)]
    print("killed:", ", ".join(hit))
    assert len(hit) >= 2
    restore_run(again, tag)
    assert hash_data(again) == hash_data(study.root)
    assert verify_study(Study.load(again)).findings == []


def test_of_two_commits_at_once_one_commits_and_one_finds_it_done(study: Study) -> None:
    both = [start(study.root, "commit", "--allow-dirty") for _ in range(2)]
    told = [process.communicate() for process in both]
    codes = [process.returncode for process in both]
    assert len(git(study.root, "tag", "--list", "run/*").split()) == 1
    assert git(study.root, "rev-list", "--count", "HEAD").strip() == "2"
    assert codes == [0, 0]
    assert sorted("already" in out for out, _ in told) == [False, True]


@pytest.mark.parametrize("command", [("commit", "--allow-dirty"), ("restore", "HEAD")])
def test_nothing_is_committed_or_restored_while_a_run_is_at_work(study: Study, command: tuple[str, ...]) -> None:
    import fcntl

    with (study.root / STATE_FOLDER / "run.lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        process = start(study.root, *command)
        _, told = process.communicate()
    assert process.returncode == 2
    assert "`guidegen run` works on this study" in told
