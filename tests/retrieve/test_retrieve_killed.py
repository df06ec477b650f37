"""A shard that is killed at random moments ends with the bytes of one that never was."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from faulty_proxy import Fault, FaultyProxy
from hand_made_ct import make_ct
from nbia_server import Nbia
from s3_bucket import Bucket, serve_s3
from small_study import make_study

from guidegen.index.build import INDEX_COLUMNS, build_index
from guidegen.retrieve.shards import find_collection, retrieve_shard
from guidegen.study import Study
from guidegen.tables import write_tsv

KILLS = 3
RUN = "import sys; from guidegen.cli import main; main()"
RUN_WITHOUT_GUARD = f"import guidegen.retrieve.s3 as s3; s3.find_guard = lambda: (); {RUN}"
"""As on a machine without util-linux's setpriv."""


def make_nbia_study(root: Path, url: str) -> Study:
    return make_study(
        root,
        "study: {name: nbia, collections: [tcga_read]}\n"
        "index: {source: nbia, idc_tables_url: '', selection: {nbia: {min_instances: 12, min_slice_mb: null}}}\n"
        f"retrieve: {{nbia_url: '{url}', min_free_gb: 0}}\n",
    )


def make_idc_study(root: Path, url: str) -> Study:
    config = "study: {name: idc, collections: [tcga_read]}\nindex: {source: idc}\n"
    return make_study(root, config + f"retrieve: {{endpoint_url: '{url}', min_free_gb: 0, connections: 1}}\n")


def start_job(study: Study, code: str = RUN) -> subprocess.Popen:
    words = ["retrieve", "--study", str(study.root), "--collection", "tcga_read", "--shard", "s000"]
    return subprocess.Popen([sys.executable, "-c", code, *words], stderr=subprocess.DEVNULL)


def kill_when_asked(job: subprocess.Popen, asked: list[str], pause_s: float) -> None:
    """Kill a job some time after its first request, and wait for its end."""
    while not asked and job.poll() is None:
        time.sleep(0.005)
    time.sleep(pause_s)
    job.send_signal(signal.SIGKILL)
    job.wait()
    asked.clear()


def read_outcome(study: Study) -> dict[str, bytes]:
    folder = study.root / "data" / "raw"
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def list_state(study: Study) -> list[str]:
    state = study.shard("data", "raw", "tcga_read", "s000").state
    return sorted(p.name for p in state.rglob("*") if p.is_file() and p.suffix != ".json" and p.name != ".lock")


@pytest.fixture
def nbia() -> Iterator[Nbia]:
    nbia = Nbia()
    server = nbia.serve()
    for number in range(3):
        datasets = make_ct(12)
        for ds in datasets:
            ds.PatientID = f"P-{number}"
        nbia.add(datasets)
    yield nbia
    server.shutdown()


def finish_and_compare(study: Study, whole: Study) -> None:
    retrieve_shard(study, find_collection(study, "tcga_read"), "s000")
    assert read_outcome(study) == read_outcome(whole)
    assert not list_state(study)


def test_killed_nbia_shard(nbia: Nbia, tmp_path: Path) -> None:
    whole = make_nbia_study(tmp_path / "whole", nbia.url)
    build_index(whole)
    start = time.monotonic()
    retrieve_shard(whole, find_collection(whole, "tcga_read"), "s000")
    lasts_s = time.monotonic() - start
    study = make_nbia_study(tmp_path / "study", nbia.url)
    build_index(study)
    nbia.asked.clear()
    dice = random.Random(int(os.environ.get("GUIDEGEN_TEST_SEED", "3")))
    for _ in range(KILLS):
        kill_when_asked(start_job(study), nbia.asked, dice.uniform(0, lasts_s))
    finish_and_compare(study, whole)


@pytest.mark.parametrize("code", [RUN, RUN_WITHOUT_GUARD], ids=["guard", "no guard"])
def test_killed_idc_shard_leaves_no_s5cmd_behind(code: str, tmp_path: Path) -> None:
    with serve_s3() as url:
        rows = [Bucket(url).index_row()]
        whole = make_idc_study(tmp_path / "whole", url)
        write_tsv(whole.index_table("tcga_read"), INDEX_COLUMNS, rows)
        retrieve_shard(whole, find_collection(whole, "tcga_read"), "s000")
        proxy = FaultyProxy(url, [Fault(times=999, trickle_s=0.02, matches=lambda path: "/00000003-" in path)])
        server = proxy.serve()
        study = make_idc_study(tmp_path / "study", proxy.url)
        write_tsv(study.index_table("tcga_read"), INDEX_COLUMNS, rows)
        dice = random.Random(int(os.environ.get("GUIDEGEN_TEST_SEED", "4")))
        for _ in range(KILLS):
            kill_when_asked(start_job(study, code), proxy.asked, dice.uniform(0, 1.5))
            end = time.monotonic() + 10
            while (left := list_s5cmd(proxy.url)) and time.monotonic() < end:
                time.sleep(0.05)
            assert not left, left
        proxy.faults.clear()
        finish_and_compare(study, whole)
        server.shutdown()


def list_s5cmd(url: str) -> list[list[str]]:
    commands = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    return [words for words in commands if url in words]
