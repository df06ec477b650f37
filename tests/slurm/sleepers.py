"""Workflows of three jobs that sleep at their first attempt, for what goes wrong meanwhile."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

SLEEPERS = ("one", "two", "three")
SLEEP = """
rule all:
    input: expand("{{name}}.txt", name=["one", "two", "three"])
rule work:
    output: "{{name}}.txt"
    resources: mem_mb=1500, runtime=20
    shell:
        "echo $SLURM_JOB_ID >> {{wildcards.name}}.attempts; "
        "if [ $(wc -l < {{wildcards.name}}.attempts) = 1 ]; then sleep {seconds}; fi; "
        "echo $SLURMD_NODENAME > {{output}}"
"""


def wait_for(what: str, ready: Callable[[], object], seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, f"no {what} after {seconds:.0f} s"
        time.sleep(0.5)


def read_attempts(folder: Path, names: tuple[str, ...]) -> dict[str, list[str]]:
    paths = {name: folder / f"{name}.attempts" for name in names}
    return {name: path.read_text().split() if path.is_file() else [] for name, path in paths.items()}


def wait_for_attempts(folder: Path, names: tuple[str, ...]) -> dict[str, str]:
    """Wait until every job runs; return their SLURM ids."""
    wait_for("first attempts", lambda: all(read_attempts(folder, names).values()))
    return {name: ids[0] for name, ids in read_attempts(folder, names).items()}


class Run:
    """A workflow that was started in a folder of its own."""

    def __init__(
        self, folder: Path, start: Callable[..., "subprocess.Popen[str]"], snakefile: str, *options: str
    ) -> None:
        self.folder = folder
        self.snakefile = snakefile
        self._start = start
        self.process = start(folder, snakefile, *options)

    def again(self, *options: str) -> None:
        self.process = self._start(self.folder, self.snakefile, *options)
        self.wait()

    def wait(self) -> None:
        assert self.process.wait() == 0, (self.folder / "snakemake.log").read_text()
