"""What the last Snakemake of a study did, from its log file in `.snakemake/log`."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

TIMESTAMP = re.compile(r"\[(\w{3} \w{3} +\d+ \d\d:\d\d:\d\d \d{4})\]")
JOB = re.compile(r"(?:local)?rule (\w+):$")
ERROR = re.compile(r"Error in rule (\w+):$")
FIELD = re.compile(r"    (log|jobid|message): (.*)$")
SUBMITTED = re.compile(r"Job (\d+) has been submitted with SLURM jobid (\d+)")
FINISHED = re.compile(r"Finished jobid: (\d+) ")
RESTARTED = re.compile(r"Trying to restart job (\d+)\.")
REAL_RUN = ("Job stats:", "Nothing to be done")


@dataclass
class LoggedJob:
    """One job as the log tells it; times are seconds since 1970, 0 where the log has none."""

    rule: str
    log: str = ""
    state: Literal["started", "finished", "failed"] = "started"
    start: float = 0.0
    end: float = 0.0
    scheduler_job: str = ""
    attempts: int = 1
    message: str = ""


@dataclass
class LoggedRun:
    """One run of Snakemake."""

    path: Path
    jobs: dict[str, LoggedJob] = field(default_factory=dict)
    """By Snakemake's job id."""

    def find(self, log: str) -> LoggedJob | None:
        """Return the job with this log file."""
        return next((job for job in self.jobs.values() if job.log == log), None)


def read_last_run(root: Path) -> LoggedRun | None:
    """Return the last run that had something to decide (no `--unlock`), None where there was none."""
    for path in sorted((root / ".snakemake" / "log").glob("*.snakemake.log"), reverse=True):
        text = path.read_text(encoding="utf-8", errors="replace")
        if any(word in text for word in REAL_RUN):
            return parse_run(path, text)
    return None


def parse_run(path: Path, text: str) -> LoggedRun:
    """Read the text of one of Snakemake's log files."""
    run, now = LoggedRun(path), 0.0
    block: LoggedJob | None = None
    failing = False
    for line in _drop_framed(text):
        if match := TIMESTAMP.fullmatch(line):
            now = time.mktime(time.strptime(match[1], "%a %b %d %H:%M:%S %Y"))
        elif match := JOB.fullmatch(line):
            block, failing = LoggedJob(match[1], start=now), False
        elif match := ERROR.fullmatch(line):
            block, failing = LoggedJob(match[1], start=now), True
        elif block and (match := FIELD.match(line)):
            _note_field(run, block, match[1], match[2], failing, now)
        elif match := SUBMITTED.match(line):
            if job := run.jobs.get(match[1]):
                job.scheduler_job = match[2]
        elif match := FINISHED.match(line):
            if job := run.jobs.get(match[1]):
                job.state, job.end = "finished", now
        elif (match := RESTARTED.match(line)) and (job := run.jobs.get(match[1])):
            job.state, job.attempts = "started", job.attempts + 1
        if not line.startswith("    "):
            block = block if JOB.fullmatch(line) or ERROR.fullmatch(line) else None
    return run


def _note_field(run: LoggedRun, block: LoggedJob, key: str, value: str, failing: bool, now: float) -> None:
    if key == "log":
        block.log = value.split(" (check log")[0]
    elif key == "message":
        block.message = value
    elif not failing:
        known = run.jobs.get(value)
        block.attempts = known.attempts if known else 1
        run.jobs[value] = block
    elif job := run.jobs.get(value):
        job.state, job.end, job.message = "failed", now, block.message


def _drop_framed(text: str) -> Iterator[str]:
    """Leave out the logs of failed jobs that Snakemake prints between two equal lines of `=`."""
    header, frame = False, ""
    for line in text.splitlines():
        if frame:
            frame = "" if line == frame else frame
        elif header and line and not line.strip("="):
            frame = line
        else:
            yield line.rstrip()
        header = line.startswith("Logfile ")
