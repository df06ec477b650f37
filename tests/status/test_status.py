"""`guidegen status` tells the truth about studies that are finished, running, dead, broken or were never started."""

import contextlib
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from guidegen.cluster.queue import parse_elapsed
from guidegen.status.display import _render_head
from guidegen.status.plan import plan_jobs
from guidegen.status.snakemake_log import parse_run, read_last_run
from guidegen.status.snapshot import STATES, PhaseStatus, Snapshot, take_snapshot
from guidegen.study import Study

STAMP = "[Sun Nov 22 23:55:37 2026]"


def write_log(root: Path, text: str) -> None:
    """Write what Snakemake would have logged in its last run."""
    folder = root / ".snakemake" / "log"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "9999-01-01T000000.000000.snakemake.log").write_text(f"Job stats:\ntotal 1\n\n{text}")


def log_start(jobid: int, log: str) -> str:
    block = f"{STAMP}\nrule train:\n    input: a\n    log: {log}\n    jobid: {jobid}\n"
    return f"{block}    wildcards: stage=x\nShell command: x\n"


def log_error(jobid: int, log: str) -> str:
    block = f"{STAMP}\nError in rule train:\n    message: SLURM-job '7' failed\n    jobid: {jobid}\n"
    block += f"    log: {log} (check log file(s) for error details)\nLogfile {log}:\n"
    return f"{block}{'=' * 31}\nrule report:\nFinished jobid: {jobid} (Rule: x)\n{'=' * 31}\n"


def find_phase(snapshot: Snapshot, name: str) -> dict[str, int]:
    return next(phase.jobs for phase in snapshot.phases if phase.phase == name)


@pytest.fixture
def copied(smoke_study: Path, tmp_path: Path) -> Path:
    root = tmp_path / "study"
    shutil.copytree(smoke_study, root, ignore=shutil.ignore_patterns("archive", "metadata", ".guidegen"))
    return root


@pytest.fixture
def snakemake(copied: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that looks like the study's Snakemake."""
    script = copied / "snakemake"
    script.write_text("import time\ntime.sleep(600)\n")
    process = subprocess.Popen([sys.executable, str(script)], cwd=copied)
    time.sleep(0.2)
    yield process
    process.kill()
    process.wait()


def test_plan_names_the_jobs_that_snakemake_ran(smoke_study: Path) -> None:
    run = read_last_run(smoke_study)
    assert run is not None
    planned = {job.log for jobs in plan_jobs(Study.load(smoke_study)).values() for job in jobs}
    texts = [path.read_text() for path in (smoke_study / ".snakemake" / "log").glob("*.log")]
    ran = {job.log for text in texts for job in parse_run(Path(), text).jobs.values() if job.log}
    assert planned == ran


def test_finished_study_has_all_jobs_done(smoke_study: Path) -> None:
    snapshot = take_snapshot(Study.load(smoke_study))
    assert snapshot.runner == "not running"
    assert snapshot.problems == []
    assert snapshot.jobs == []
    assert snapshot.left_s is None
    for phase in snapshot.phases:
        assert phase.jobs["done"] == sum(phase.jobs.values()) > 0
    assert all(phase.mean_s for phase in snapshot.phases)


def test_never_started_study_says_what_to_run(tmp_path: Path, call) -> None:
    call("init", tmp_path / "study", "--preset", "smoke")
    shown = call("status", "--study", tmp_path / "study").stdout
    assert "index was not built" in " ".join(shown.split())
    told = json.loads(call("status", "--study", tmp_path / "study", "--json").stdout)
    assert told["runner"] == "not running"
    assert told["phases"] == []


def test_broken_manifest_is_named_and_the_rest_is_shown(copied: Path) -> None:
    table = sorted((copied / "data" / "ct").glob("*/s*.tsv"))[0]
    table.write_bytes(b"case\tstatus\n\xff\xfe\n")
    snapshot = take_snapshot(Study.load(copied))
    assert len(snapshot.problems) == 1
    assert str(table) in snapshot.problems[0]
    assert find_phase(snapshot, "report")["done"] == 1


def test_running_job_has_age_node_and_last_line(copied: Path, snakemake) -> None:
    log = "logs/train/latents.log"
    write_log(copied, log_start(4, log))
    (copied / "results" / "models" / "latents.tsv").unlink()
    (copied / log).write_text("train latents: 3/12 steps, 0.5/s, 18 s left loss [0.1]\n")
    snapshot = take_snapshot(Study.load(copied))
    assert snapshot.runner == "running"
    (job,) = snapshot.jobs
    assert (job.phase, job.name, job.state) == ("train", "latents", "running")
    assert job.node == os.uname().nodename
    assert job.age_s is not None
    assert job.left_s == 18
    assert "3/12 steps" in job.last_line
    assert find_phase(snapshot, "train") == dict.fromkeys(STATES, 0) | {"done": 3, "running": 1}
    assert snapshot.left_s is not None


def test_job_of_a_dead_snakemake_is_interrupted(copied: Path, call) -> None:
    write_log(copied, log_start(4, "logs/train/latents.log"))
    snapshot = take_snapshot(Study.load(copied))
    assert [job.state for job in snapshot.jobs] == ["interrupted"]
    assert "guidegen run" in call("status", "--study", copied).stdout


def test_failed_job_shows_its_log_and_a_retry_counts(copied: Path, call) -> None:
    log = "logs/train/latents.log"
    (copied / "results" / "models" / "latents.tsv").unlink()
    retried = log_start(4, log) + log_error(4, log) + "Trying to restart job 4.\n" + log_start(4, log)
    write_log(copied, retried + log_error(4, log))
    (copied / log).write_text("guidegen: no space left on device\n")
    (job,) = take_snapshot(Study.load(copied)).jobs
    assert (job.state, job.attempts) == ("failed", 2)
    assert job.reason == "SLURM-job '7' failed"
    assert job.last_line == "guidegen: no space left on device"
    assert "no space left on device" in call("status", "--study", copied).stdout


def test_job_that_failed_and_then_succeeded_is_done(copied: Path) -> None:
    log = "logs/train/latents.log"
    text = log_start(4, log) + log_error(4, log) + log_start(4, log) + f"{STAMP}\nFinished jobid: 4 (Rule: train)\n"
    write_log(copied, text)
    assert take_snapshot(Study.load(copied)).jobs == []


def test_watching_ends_with_ctrl_c(tmp_path: Path, call) -> None:
    call("init", tmp_path / "study", "--preset", "smoke")
    command = [sys.executable, "-m", "guidegen", "status", "--study", str(tmp_path / "study"), "--watch"]
    ours, theirs = pty.openpty()
    environment = os.environ | {"COLUMNS": "300", "TERM": "xterm"}
    # A test run in the background of a shell would hand down an ignored SIGINT.
    process = subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    os.close(theirs)
    shown = b""
    while b"index was not built" not in shown:
        shown += os.read(ours, 4096)
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(OSError):  # the terminal is gone with its last process
        while os.read(ours, 4096):
            pass
    assert process.wait() == 0


def test_missing_study_is_one_clear_error(tmp_path: Path, call) -> None:
    done = call("status", "--study", tmp_path, check=False)
    assert done.returncode == 2
    assert "no such config file" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "seconds"), [("0:05", 5), ("1:02:03", 3723), ("2-00:00:01", 172801), ("INVALID", 0), ("", 0)]
)
def test_elapsed_times_of_slurm(text: str, seconds: int) -> None:
    assert parse_elapsed(text) == seconds


def test_time_left_is_unknown_where_no_job_that_remains_was_timed() -> None:
    told = {}
    for left, untimed in ((0.0, ["train"]), (300.0, ["train"]), (300.0, [])):
        phase = PhaseStatus("train", dict.fromkeys(STATES, 0) | {"pending": 2}, 0, None, None)
        told[left, bool(untimed)] = str(_render_head(Snapshot("s", "r", "running", [phase], [], [], left, untimed)))
    assert "time left unknown: train (no finished job to judge by)" in told[0.0, True]
    assert "about 5 min left, without train" in told[300.0, True]
    assert told[300.0, False].endswith("about 5 min left")
