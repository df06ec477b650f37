"""The whole smoke study on the cluster makes the same bytes as on one machine, whatever happens meanwhile."""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from sleepers import wait_for

from guidegen.cluster.queue import QueuedJob, list_queued

pytestmark = pytest.mark.slurm
OPTIONS = ("--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "5", "--jobs", "4")


def start(root: Path) -> subprocess.Popen[str]:
    command = ["guidegen", "run", "--study", str(root), "--", "--workflow-profile", "workflow/profiles/slurm", *OPTIONS]
    with (root / "run.log").open("a", encoding="utf-8") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, text=True, start_new_session=True)


def wait_for_running(root: Path, known: set[str]) -> list[QueuedJob]:
    """Wait until a job runs that is not among the known ones; return all such jobs."""
    found: list[QueuedJob] = []

    def look() -> bool:
        found[:] = [job for job in list_queued(root) if job.node and job.id not in known]
        return bool(found)

    wait_for("running job", look)
    return found


def test_smoke_study_that_is_killed_and_loses_a_job_has_the_hashes_of_the_local_run(
    smoke_study: Path, cluster, site, call, hash_study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in site.items():
        monkeypatch.setenv(key, value)
    root = tmp_path / "study"
    call("init", root, "--preset", "smoke")
    shutil.copytree(smoke_study / "archive", root / "archive")
    killed = start(root)
    left = {job.id for job in wait_for_running(root, set())}
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert left <= {job.id for job in list_queued(root)}
    left |= {job.id for job in list_queued(root)}
    again = start(root)
    lost = wait_for_running(root, left)[0].id
    cluster.call("scancel", lost)
    assert again.wait() == 0, (root / "run.log").read_text()
    assert cluster.call("sacct", "-X", "-n", "-P", "-o", "State", "-j", lost).startswith("CANCELLED")
    states = {cluster.call("sacct", "-X", "-n", "-P", "-o", "State", "-j", job).split()[0] for job in left}
    assert states <= {"CANCELLED", "COMPLETED"}, states
    expected, found = hash_study(smoke_study), hash_study(root)
    assert sorted(found) == sorted(expected)
    assert {name for name in expected if found[name] != expected[name]} == set()
    rows = [json.loads(path.read_text()) for path in (root / "results" / "provenance").glob("*/*.json")]
    on_cluster = {row["phase"] for row in rows if row["scheduler_job"]}
    assert {"convert", "mask", "train", "synthesize", "segment"} <= on_cluster
