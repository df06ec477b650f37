"""Follow a Snakemake run: a bar per phase at a terminal, plain lines elsewhere, everything in a log file."""

import re
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

COUNT = re.compile(r"^([a-z_]+)\s+(\d+)$")
STARTED = re.compile(r"^(?:local)?rule ([a-z_]+):")
LOG = re.compile(r"^    log: (\S+)")
FINISHED = re.compile(r"^Finished jobid: \d+ \(Rule: ([a-z_]+)\)")
KEPT_LINES = 60
FEW = 4
"""Jobs of rules with at most this many may take long: they are told when they start, too."""


def follow_workflow(command: list[str], root: Path, environment: Mapping[str, str]) -> int:
    """Run Snakemake and show its progress; return its exit code.

    Its whole output goes to `logs/snakemake/<time>.log`. On failure, and for dry runs, the output is shown too.
    """
    path = root / "logs" / "snakemake" / time.strftime("%Y%m%d-%H%M%S.log")
    path.parent.mkdir(parents=True, exist_ok=True)
    tail: deque[str] = deque(maxlen=KEPT_LINES)
    dry = any(word in ("-n", "--dry-run", "--dryrun") for word in command)
    process = subprocess.Popen(
        command, cwd=root, env=dict(environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    with path.open("w", encoding="utf-8") as log, _open_display() as display:
        try:
            for line in process.stdout:
                log.write(line)
                log.flush()
                tail.append(line)
                display.read(line.rstrip())
                if dry:
                    print(line, end="")
        except KeyboardInterrupt:
            process.wait()
            raise
    code = process.wait()
    if code and not dry:
        print("".join(tail), end="", file=sys.stderr)
        print(f"The run stopped with errors (above); what is done is kept. Whole output: {path}", file=sys.stderr)
    return code


class _Lines:
    """Progress as plain lines: one per finished job, at most one every two seconds, and one per start of a few."""

    def __init__(self) -> None:
        self.total: dict[str, int] = {}
        self.done: dict[str, int] = {}
        self.starting = ""
        self.start = self.last = time.monotonic()

    def read(self, line: str) -> None:
        if match := COUNT.match(line):
            self.total[match[1]] = int(match[2])
        elif match := FINISHED.match(line):
            self.done[match[1]] = self.done.get(match[1], 0) + 1
            self._show(match[1])
        elif match := STARTED.match(line):
            self.starting = match[1]
        elif (match := LOG.match(line)) and 0 < self.total.get(self.starting, 0) <= FEW:
            self._tell_start(match[1])
        elif line.startswith("Cancelled "):
            print(line, file=sys.stderr)
        elif line.startswith("Nothing to be done"):
            print("Nothing to be done: everything is current.", file=sys.stderr)

    def _tell_start(self, log: str) -> None:
        print(f"[{time.monotonic() - self.start:6.0f} s] started, see {log}", file=sys.stderr, flush=True)

    def _show(self, rule: str) -> None:
        total, done, now = self.total.get("total", 0), sum(self.done.values()), time.monotonic()
        if now - self.last < 2 and self.done[rule] != self.total.get(rule):
            return
        self.last = now
        share = f"{self.done[rule]}/{self.total.get(rule, '?')}"
        print(f"[{now - self.start:6.0f} s] {done}/{total} jobs, {rule} {share}", file=sys.stderr, flush=True)


class _Bars(_Lines):
    """Progress as one bar per phase."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self.progress = progress
        self.tasks: dict[str, int] = {}

    def read(self, line: str) -> None:
        super().read(line)
        if (match := COUNT.match(line)) and match[1] not in ("total", "all", *self.tasks):
            self.tasks[match[1]] = self.progress.add_task(match[1].replace("_", " "), total=int(match[2]))

    def _tell_start(self, log: str) -> None:
        pass

    def _show(self, rule: str) -> None:
        if rule in self.tasks:
            self.progress.update(self.tasks[rule], completed=self.done[rule])  # type: ignore[arg-type]


@contextmanager
def _open_display() -> Iterator[_Lines]:
    if not sys.stderr.isatty():
        yield _Lines()
        return
    columns = (TextColumn("{task.description:>22}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        yield _Bars(progress)
