"""Shards: what is current is kept, nothing is lost, and a killed run ends like one that was never killed."""

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from shard_work import Runs

from guidegen.errors import GuideGenError, ShardFailed
from guidegen.locks import hold_lock
from guidegen.manifest import Item, Outcome, list_files, process_items, read_manifest


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


def test_every_item_has_a_row_with_the_files_it_made(runs: Runs) -> None:
    rows = runs.run(runs.items("b", "a") + runs.items("c", mode="exclude"))
    assert [(row["case"], row["status"], row["reason"]) for row in rows] == [
        ("a", "ok", ""),
        ("b", "ok", ""),
        ("c", "excluded", "too few slices"),
    ]
    assert rows == read_manifest(runs.shard.manifest)
    assert rows[0]["shape"] == "1,2,3"
    for role, path, size, digest in list_files(rows[0]):
        data = (runs.shard.root / path).read_bytes()
        assert role in ("", "source")
        assert (len(data), hashlib.sha256(data).hexdigest()) == (size, digest)


def test_rerun_does_only_what_is_not_current(runs: Runs) -> None:
    first = runs.run(runs.items("a", "b") + runs.items("c", mode="exclude"))
    assert runs.take_calls() == ["a", "b", "c"]
    assert runs.run(runs.items("a", "b") + runs.items("c", mode="exclude")) == first
    assert runs.take_calls() == []
    runs.run(runs.items("a") + runs.items("b", version="2"))
    assert runs.take_calls() == ["b"]
    runs.run(runs.items("a"), fingerprint="other code")
    assert runs.take_calls() == ["a"]


@pytest.mark.parametrize("damage", ["altered", "same size", "deleted"])
def test_a_damaged_output_is_made_again(runs: Runs, damage: str) -> None:
    runs.run(runs.items("a", "b"))
    before, file = runs.hash_all(), runs.shard.bulk / "a.source.nii.gz"
    runs.take_calls()
    if damage == "deleted":
        file.unlink()
    else:
        file.write_text("labels of X" if damage == "same size" else "other")
    runs.run(runs.items("a", "b"))
    assert runs.take_calls() == ["a"]
    assert runs.hash_all() == before


def test_a_damaged_record_is_no_obstacle(runs: Runs) -> None:
    runs.run(runs.items("a", "b", "c"))
    (runs.shard.state / "a.json").write_bytes(b"\xff\xfe half a rec")
    (runs.shard.state / "b.json").write_text("[]")
    (runs.shard.state / "c.json").write_text('{"key": ')
    runs.take_calls()
    assert [row["status"] for row in runs.run(runs.items("a", "b", "c"))] == ["ok"] * 3
    assert runs.take_calls() == ["a", "b", "c"]


def test_files_of_items_that_are_gone_are_moved_aside_not_deleted(runs: Runs) -> None:
    runs.run(runs.items("a", "b"))
    runs.run(runs.items("b"))
    assert sorted(path.name for path in runs.shard.bulk.iterdir()) == ["b.nii.gz", "b.source.nii.gz"]
    aside = {path.name: path.read_text() for path in runs.shard.orphans.rglob("*.gz")}
    assert aside["a.source.nii.gz"] == "labels of a"
    assert len(aside) == 2


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("fail", "slice 3 is missing"),
        ("crash", "ZeroDivisionError: division by zero"),
        ("leave", "SystemExit: no licence"),
    ],
)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_failed_item_is_a_row_and_is_tried_again(runs: Runs, mode: str, reason: str, workers: int) -> None:
    items = runs.items("a", "b", "c") + runs.items("d", mode=mode)
    rows = runs.run(items, max_failed_share=0.25, workers=workers)
    assert [(row["status"], row["reason"], row["path"]) for row in rows[3:]] == [("failed", reason, "")]
    runs.take_calls()
    runs.run(items, max_failed_share=0.25)
    assert runs.take_calls() == ["d"]


def test_too_many_failures_fail_the_shard_and_keep_what_succeeded(runs: Runs) -> None:
    with pytest.raises(ShardFailed, match=r"1 of 3 items failed, at most 25% may(.|\n)*c: slice 3 is missing"):
        runs.run(runs.items("a", "b") + runs.items("c", mode="fail"), max_failed_share=0.25)
    assert not runs.shard.manifest.exists()
    assert {row["case"]: row["status"] for row in read_manifest(runs.shard.state / "failed.tsv")}["c"] == "failed"
    runs.take_calls()
    assert [row["status"] for row in runs.run(runs.items("a", "b", "c"))] == ["ok"] * 3
    assert runs.take_calls() == ["c"]


def test_a_failing_rerun_leaves_no_manifest_of_files_that_changed(runs: Runs) -> None:
    runs.run(runs.items("a", "b"))
    with pytest.raises(ShardFailed):
        runs.run(runs.items("a", version="2") + runs.items("b", version="2", mode="fail"))
    assert not runs.shard.manifest.exists()


def test_a_case_id_used_twice_is_refused_before_anything_is_made(runs: Runs) -> None:
    with pytest.raises(GuideGenError, match="case id used twice: a"):
        runs.run(runs.items("a", "b", "a"))
    assert not runs.shard.bulk.exists()


def write_one_name(item: Item, folder: Path) -> Outcome:
    (folder / "volume.nii.gz").write_text(item.case)
    return Outcome(files={"": "volume.nii.gz"})


def test_two_cases_cannot_make_one_file(runs: Runs) -> None:
    with pytest.raises(GuideGenError, match=r"s000/volume.nii.gz is made by a and by b"):
        process_items(runs.shard, runs.items("a", "b"), write_one_name, fingerprint="f", columns=())


def write_outside(item: Item, folder: Path) -> Outcome:
    (folder.parent / "escaped").write_text(item.case)
    return Outcome(files={"": "../escaped"})


def test_a_file_outside_the_bulk_folder_is_refused(runs: Runs) -> None:
    with pytest.raises(GuideGenError, match="lies outside its folder"):
        process_items(runs.shard, runs.items("a"), write_outside, fingerprint="f", columns=())


def test_workers_make_the_same_bytes(tmp_path: Path) -> None:
    cases, made = ["a", "b", "c", "d", "e"], []
    for workers in (1, 2):
        runs = Runs(tmp_path / str(workers))
        runs.run(runs.items(*cases), workers=workers)
        made.append(runs.hash_all())
    assert made[0] == made[1]


def test_a_killed_worker_fails_the_shard_with_advice(runs: Runs) -> None:
    with pytest.raises(ShardFailed, match="a worker process died, most often because memory ran out"):
        runs.run(runs.items("a", mode="die"), workers=2)


def test_two_processes_never_work_on_one_shard(runs: Runs) -> None:
    told = rf"another process works on this shard \(process {os.getpid()}"
    with hold_lock(runs.shard.state / ".lock", "held by the test"), pytest.raises(GuideGenError, match=told):
        runs.run(runs.items("a"))
    assert [row["case"] for row in runs.run(runs.items("a"))] == ["a"]


def test_no_items_make_an_empty_manifest(runs: Runs) -> None:
    assert runs.run([]) == []
    assert runs.shard.manifest.read_text().startswith("case\tstatus\treason")


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {folder!r})
from shard_work import Runs
if __name__ == "__main__":
    runs = Runs(Path(sys.argv[1]))
    runs.run(runs.items(*"abcdefgh", mode="slow"), workers=int(sys.argv[2]))
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_killed_in_the_middle_ends_like_one_that_was_not(tmp_path: Path, workers: int) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(folder=str(Path(__file__).parent)))
    whole, killed = Runs(tmp_path / "whole"), Runs(tmp_path / "killed")
    whole.run(whole.items(*"abcdefgh"))
    process = subprocess.Popen([sys.executable, script, killed.shard.root, str(workers)], stderr=subprocess.DEVNULL)
    while not list(killed.shard.bulk.glob("c.nii.gz")):
        assert process.poll() is None
        time.sleep(0.005)
    children = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    process.kill()
    process.wait()
    assert len(children) >= (workers if workers > 1 else 0)
    assert not killed.shard.manifest.exists()
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{child}").exists() for child in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [child for child in children if Path(f"/proc/{child}").exists()], "workers outlive their parent"
    killed.take_calls()
    killed.run(killed.items(*"abcdefgh", mode="slow"), workers=workers)
    assert 0 < len(killed.take_calls()) < 8
    assert killed.hash_all() == whole.hash_all()
    assert not list(killed.shard.state.glob(".work-*"))
    assert not list(killed.shard.root.rglob(".tmp-*"))
