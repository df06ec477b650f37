"""One look at a study: every planned job with its state, joined with Snakemake's log and SLURM's queue."""

import os
import re
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from guidegen.cluster.queue import QueuedJob, list_queued
from guidegen.errors import GuideGenError
from guidegen.run import find_snakemake
from guidegen.status.plan import PlannedJob, plan_jobs
from guidegen.status.snakemake_log import LoggedJob, LoggedRun, read_last_run
from guidegen.study import Study
from guidegen.tables import read_tsv

State = Literal["done", "running", "queued", "failed", "interrupted", "waiting"]
STATES: tuple[State, ...] = ("done", "running", "queued", "failed", "interrupted", "waiting")
SILENT_S = 900
"""A running job whose log did not grow for so long may hang; trainings write a line every few seconds."""
TAIL_BYTES = 4096
LEFT = re.compile(r", (\d+) s left")


@dataclass
class JobStatus:
    """One job that runs, waits in the queue, or failed."""

    phase: str
    name: str
    state: State
    log: str
    last_line: str = ""
    """Last line of its log."""
    silent_s: int | None = None
    """Seconds since the log grew, None where there is no log yet."""
    age_s: int | None = None
    """Seconds that it has been running, or since it was submitted."""
    left_s: int | None = None
    """Seconds that its own progress line says are left."""
    node: str = ""
    scheduler_job: str = ""
    reason: str = ""
    """Why it waits, or what Snakemake said of its failure."""
    attempts: int = 1


@dataclass
class PhaseStatus:
    """Jobs of one phase by state, and what its manifests say."""

    phase: str
    jobs: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STATES, 0))
    items: dict[str, int] = field(default_factory=dict)
    """Rows of its manifests by status (`ok`, `excluded`, `failed`)."""
    mean_s: float | None = None
    """Mean seconds of its finished jobs, None where no job was timed."""
    left_s: float | None = None
    """Seconds until the phase is done at the number of jobs that run now, None where nothing was timed."""


@dataclass
class Snapshot:
    """Where a study stands."""

    study: str
    root: str
    runner: str
    """`running`, `not running`, or on which other machine it was started."""
    phases: list[PhaseStatus]
    jobs: list[JobStatus]
    problems: list[str]
    """What could not be read, in words."""
    left_s: float | None
    """Seconds until all phases with a timed job are done."""
    untimed: list[str]
    """Phases with jobs left whose duration is unknown, so that `left_s` lacks them."""

    def as_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


def take_snapshot(study: Study) -> Snapshot:
    """Look at a study; what is broken in it becomes a line of `problems`, never an error."""
    problems: list[str] = []
    try:
        plan = plan_jobs(study)
    except GuideGenError as error:
        plan = {}
        problems.append(str(error))
    try:
        queue = {job.id: job for job in list_queued(study.root)}
    except GuideGenError as error:
        queue = {}
        problems.append(str(error))
    run = read_last_run(study.root)
    runner = describe_runner(study.root)
    phases, jobs = [], []
    for phase, planned in plan.items():
        status = PhaseStatus(phase)
        for job in planned:
            told = describe_job(study.root, phase, job, run, queue, alive=runner != "not running")
            status.jobs[told.state] += 1
            if told.state not in ("done", "waiting"):
                jobs.append(told)
        _count_items(study.root, planned, status, problems)
        _estimate_left(study.root, planned, status)
        phases.append(status)
    timed = [phase.left_s for phase in phases if phase.left_s is not None]
    unfinished = [phase for phase in phases if phase.jobs["done"] < sum(phase.jobs.values())]
    untimed = [phase.phase for phase in unfinished if phase.left_s is None]
    left = sum(timed) if timed and unfinished else None
    return Snapshot(study.config.study.name, str(study.root), runner, phases, jobs, problems, left, untimed)


def describe_runner(root: Path) -> str:
    """Return whether a Snakemake works on the study; on another machine only the lock's text can be seen."""
    if find_snakemake(root) is not None:
        return "running"
    lock = root / ".guidegen" / "run.lock"
    holder = lock.read_text(encoding="utf-8", errors="replace").strip() if lock.is_file() else ""
    host = holder.rpartition(" on ")[2]
    locked = any((root / ".snakemake" / "locks").glob("*"))
    if locked and host and host != os.uname().nodename:
        return f"started on {host}, which cannot be asked from here"
    return "not running"


def describe_job(
    root: Path, phase: str, job: PlannedJob, run: LoggedRun | None, queue: dict[str, QueuedJob], *, alive: bool
) -> JobStatus:
    """Return the state of one planned job.

    Args:
        root: study folder.
        phase: its phase.
        job: the job.
        run: the last run of Snakemake.
        queue: jobs in SLURM's queue by id.
        alive: whether that Snakemake still runs, as far as is known.
    """
    logged = run.find(job.log) if run else None
    queued = queue.get(logged.scheduler_job) if logged else None
    state = _find_state(root, job, logged, queued, alive)
    told = JobStatus(phase, job.name, state, job.log)
    if state in ("done", "waiting"):
        return told
    assert logged is not None
    told.attempts, told.scheduler_job = logged.attempts, logged.scheduler_job
    told.last_line, told.silent_s = _read_tail(root / job.log, logged.start)
    if queued:
        told.node, told.reason = queued.node, queued.reason if state == "queued" else ""
        told.age_s = queued.seconds if queued.node else _age(logged.start)
    elif state == "running":
        told.node, told.age_s = os.uname().nodename if not logged.scheduler_job else "", _age(logged.start)
    if state == "failed":
        told.reason = "" if logged.message in ("", "None") else logged.message
    if state == "running" and (match := LEFT.search(told.last_line)):
        told.left_s = int(match[1])
    return told


def _find_state(root: Path, job: PlannedJob, logged: LoggedJob | None, queued: QueuedJob | None, alive: bool) -> State:
    if logged and logged.state == "started":
        if queued:
            return "queued" if queued.state == "PENDING" else "running"
        return "running" if alive else "interrupted"
    if job.is_done(root):
        return "done"
    return "failed" if logged and logged.state == "failed" else "waiting"


def _age(start: float) -> int | None:
    return max(0, int(time.time() - start)) if start else None


def _read_tail(path: Path, since: float) -> tuple[str, int | None]:
    """Return the last line of a log that was written since then, and how long ago."""
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - TAIL_BYTES))
            lines = stream.read().decode(errors="replace").replace("\r", "\n").split("\n")
            changed = os.fstat(stream.fileno()).st_mtime
    except OSError:
        return "", None
    if changed < since - 1:
        return "", None
    return next((line.strip() for line in reversed(lines) if line.strip()), ""), max(0, int(time.time() - changed))


def _count_items(root: Path, planned: list[PlannedJob], status: PhaseStatus, problems: list[str]) -> None:
    for path in [root / output for job in planned for output in job.outputs if output.endswith(".tsv")]:
        if not path.is_file():
            continue
        try:
            rows = read_tsv(path)
        except GuideGenError as error:
            problems.append(str(error))
            continue
        for row in rows:
            if "status" in row:
                status.items[row["status"]] = status.items.get(row["status"], 0) + 1


def _estimate_left(root: Path, planned: list[PlannedJob], status: PhaseStatus) -> None:
    """Fill in mean and time left from the benchmark files of the phase's jobs."""
    seconds = [found for job in planned if (found := read_seconds(root / job.benchmark)) is not None]
    if not seconds:
        return
    status.mean_s = sum(seconds) / len(seconds)
    left = sum(status.jobs.values()) - status.jobs["done"]
    status.left_s = status.mean_s * left / max(1, status.jobs["running"])


def read_seconds(path: Path) -> float | None:
    """Return the wall time in one of Snakemake's benchmark files, None where there is none yet or it is cut off."""
    try:
        return float(path.read_text(encoding="utf-8").splitlines()[1].split("\t")[0])
    except (OSError, IndexError, ValueError):
        return None
