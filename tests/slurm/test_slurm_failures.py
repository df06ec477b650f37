"""What goes wrong on clusters, on real daemons: each run ends, and with the right outputs."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sleepers import SLEEP, SLEEPERS, Run, read_attempts, wait_for, wait_for_attempts

from guidegen.cluster.orphans import cancel_orphans
from guidegen.cluster.queue import list_queued

pytestmark = pytest.mark.slurm

STRICKEN = ("cancelled", "overtime", "hung", "overweight", "bereft")
# Each job notes its SLURM id; the first attempt meets its fault, a later one does not.
STORM = """
FAULTS = {
    "cancelled": "sleep 600",
    "overtime": "sleep 600",
    "hung": "python3 -c 'import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)'",
    "overweight": "python3 -c 'import time; block = b\\"x\\" * 1_800_000_000; time.sleep(600)'",
    "bereft": "sleep 600",
}
rule all:
    input: expand("{name}.txt", name=FAULTS)
rule work:
    output: "{name}.txt"
    params: fault=lambda wildcards: FAULTS[wildcards.name]
    resources:
        mem_mb=1500,
        runtime=20,
        gpu=lambda wildcards: 1 if wildcards.name == "bereft" else 0,
    shell:
        "echo $SLURM_JOB_ID >> {wildcards.name}.attempts; "
        "if [ $(wc -l < {wildcards.name}.attempts) = 1 ]; then {params.fault}; fi; "
        "echo done by $SLURM_JOB_ID > {output}"
"""


def count_queries(folder: Path) -> int:
    return (folder / "snakemake.log").read_text(encoding="utf-8").count("Status query timing (cycle)")


@pytest.fixture(scope="module")
def runs(cluster, start_workflow, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Run]]:
    """All runs of this file, started together: most of their time is waiting."""
    cluster.call("scontrol", "update", "NodeName=c1", "State=DRAIN", "Reason=test")
    snakefiles = {
        "storm": STORM,
        "drained": SLEEP.format(seconds=5),
        "killed": SLEEP.format(seconds=600),
        "interrupted": SLEEP.format(seconds=600),
    }
    yield {name: Run(tmp_path_factory.mktemp(name), start_workflow, text) for name, text in snakefiles.items()}
    cluster.call("scontrol", "update", "NodeName=c1", "State=RESUME")


@pytest.fixture(scope="module", autouse=True)
def first_ids(cluster, runs: dict[str, Run]) -> dict[str, str]:
    """SLURM ids of the storm's first attempts, all of which have met their faults or will."""
    ids = wait_for_attempts(runs["storm"].folder, STRICKEN)
    for name in ("overtime", "hung"):
        # not from the start: on a very busy machine a minute is over before the job has begun its work
        cluster.call("scontrol", "update", f"JobId={ids[name]}", "TimeLimit=1")
    cluster.kill_node("g1")
    cluster.call("scancel", ids["cancelled"])
    return ids


@pytest.fixture(autouse=True)
def _login_node(site: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in site.items():
        monkeypatch.setenv(key, value)


def test_interrupted_snakemake_cancels_its_jobs(runs: dict[str, Run]) -> None:
    run = runs["interrupted"]
    wait_for_attempts(run.folder, SLEEPERS)
    # not in the middle of a status query, when the executor finds no job to cancel; the study's own rules mend that
    seen = count_queries(run.folder)
    wait_for("a status query", lambda: count_queries(run.folder) > seen)
    time.sleep(1)
    run.process.send_signal(signal.SIGINT)
    assert run.process.wait() != 0
    wait_for("end of its jobs", lambda: not list_queued(run.folder))


def test_killed_snakemake_leaves_no_second_writer(runs: dict[str, Run], tmp_path: Path) -> None:
    run = runs["killed"]
    ids = wait_for_attempts(run.folder, SLEEPERS)
    os.killpg(run.process.pid, signal.SIGKILL)
    run.process.wait()
    assert sorted(job.id for job in list_queued(run.folder)) == sorted(ids.values())
    assert list_queued(tmp_path) == []
    assert sorted(cancel_orphans(run.folder)) == sorted(ids.values())
    run.again("--unlock")
    run.again()
    assert {len(ids) for ids in read_attempts(run.folder, SLEEPERS).values()} == {2}
    assert all((run.folder / f"{name}.txt").is_file() for name in SLEEPERS)


def test_drained_node_gets_no_new_job(runs: dict[str, Run]) -> None:
    run = runs["drained"]
    run.wait()
    assert {(run.folder / f"{name}.txt").read_text() for name in SLEEPERS} == {"c2\n"}


def test_job_of_a_dead_node_is_put_back_by_slurm(cluster, runs: dict[str, Run], first_ids: dict[str, str]) -> None:
    job = first_ids["bereft"]
    wait_for("requeued job", lambda: cluster.call("squeue", "-h", "-o", "%T", "-j", job) == "PENDING")
    cluster.start_daemon("g1")
    runs["storm"].wait()
    # The same job, so that the only GPU node is not excluded from the run.
    assert read_attempts(runs["storm"].folder, STRICKEN)["bereft"] == [job, job]


def test_cancelled_overtime_hung_and_overweight_jobs_run_again(cluster, runs, first_ids: dict[str, str]) -> None:
    folder = runs["storm"].folder
    runs["storm"].wait()
    attempts = read_attempts(folder, STRICKEN)
    assert {name: len(ids) for name, ids in attempts.items()} == dict.fromkeys(STRICKEN, 2)
    assert {name: (folder / f"{name}.txt").read_text() for name in STRICKEN} == {
        name: f"done by {ids[-1]}\n" for name, ids in attempts.items()
    }
    job_states = ("sacct", "-X", "-n", "-P", "-o", "State", "-j")
    states = {name: cluster.call(*job_states, job) for name, job in first_ids.items()}
    assert states["cancelled"].startswith("CANCELLED")
    assert states["overtime"] == states["hung"] == "TIMEOUT"
    assert states["overweight"] in ("OUT_OF_MEMORY", "FAILED", "CANCELLED by 0")
