"""A conversion on a full or read-only disk, or killed: nothing half-made counts, and the next run goes on."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_disk import fill_disk, mount_small_disk
from small_study import archive_config, make_archive, make_study
from typer.testing import CliRunner

from guidegen.cli import app
from guidegen.errors import GuideGenError
from guidegen.index.build import build_index
from guidegen.retrieve.shards import find_collection, retrieve_shard
from guidegen.study import Study

COMMAND = ["convert", "--collection", "tcga_luad", "--shard", "s000", "--study"]
RUN = "from guidegen.cli import main; main()"
KILLS = 4


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study that is converted without trouble; `retrieved` beside it is what it was before."""
    root = tmp_path_factory.mktemp("whole")
    archive = make_archive(root / "archive")
    study = make_study(root / "retrieved", archive_config(archive=archive.folder))
    build_index(study)
    retrieve_shard(study, find_collection(study, "tcga_luad"), "s000")
    shutil.copytree(study.root, root / "study")
    study = Study.load(root / "study")
    call_convert(study)
    return study


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with mount_small_disk(tmp_path / "disk") as place:
        yield place


def copy_retrieved(whole: Study, root: Path) -> Study:
    shutil.copytree(whole.root.parent / "retrieved", root)
    return Study.load(root)


def call_convert(study: Study) -> None:
    result = CliRunner().invoke(app, [*COMMAND, str(study.root)], catch_exceptions=True)
    if result.exception:
        raise result.exception


def list_results(study: Study) -> dict[str, bytes]:
    folder = study.root / "data" / "ct"
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def list_leftovers(study: Study) -> list[Path]:
    state = study.shard("data", "ct", "tcga_luad", "s000").state
    return [path for path in state.rglob("*") if path.name.startswith((".work-", ".tmp-")) or path.suffix == ".dcm"]


@pytest.mark.parametrize("left", [4_096, 30_000, 70_000, 90_000])
def test_disk_that_is_full_while_converting(whole: Study, small_disk: Path, left: int) -> None:
    """The least is used up by the copies for dcm2niix, more by its volume, the most by the compressed one."""
    study = copy_retrieved(whole, small_disk / "study")
    filler = fill_disk(small_disk, left)
    with pytest.raises(GuideGenError, match=r"No space left on device|, 0 MB free on its disk"):
        call_convert(study)
    assert not study.manifest("data", "ct", "tcga_luad", "s000").exists()
    assert list_results(study).items() <= list_results(whole).items(), "what is there is whole"
    filler.unlink()
    call_convert(study)
    assert list_results(study) == list_results(whole)
    assert not list_leftovers(study)


def test_disk_that_is_read_only(whole: Study, small_disk: Path) -> None:
    study = copy_retrieved(whole, small_disk / "study")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(GuideGenError, match=r"[Rr]ead-only file system\. What was finished is kept"):
        call_convert(study)
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    call_convert(study)
    assert list_results(study) == list_results(whole)


def test_killed_conversion_ends_like_one_that_was_not(whole: Study, tmp_path: Path) -> None:
    study = copy_retrieved(whole, tmp_path / "study")
    state = study.shard("data", "ct", "tcga_luad", "s000").state
    dice = random.Random(int(os.environ.get("GUIDEGEN_TEST_SEED", "5")))
    for _ in range(KILLS):
        job = subprocess.Popen([sys.executable, "-c", RUN, *COMMAND, str(study.root)], stderr=subprocess.DEVNULL)
        while not list(state.glob(".work-*")) and job.poll() is None:
            time.sleep(0.002)
        time.sleep(dice.uniform(0, 0.2))
        job.send_signal(signal.SIGKILL)
        job.wait()
    call_convert(study)
    assert list_results(study) == list_results(whole)
    assert not list_leftovers(study)
