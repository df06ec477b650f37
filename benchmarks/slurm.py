"""What SLURM and Snakemake cost per job, on the test cluster of real daemons (root and the packages are needed).

1. A study of 20 jobs that each do nothing, through the profile: CPU seconds of a job beyond its work (the Snakemake
   processes that the plugin starts in it) and of the login node, messages to the controller, status queries.
2. 100, 300 and 1,000 jobs on simulated nodes: a script in the place of `sbatch` sends a job that only makes the output,
   so that Snakemake, plugin and controller work as ever while the nodes cost nothing.
3. 100 such jobs that sleep for half a minute on the 32 cores of the CPU nodes: wall time against the sum of their work.

Costs are CPU seconds, because on a machine that is both login node and all nodes wall time says little. The overhead of
a job of ten minutes is its CPU seconds beyond its work, plus half a polling interval, over 600 s; that of a study of
such jobs is what the third run took beyond its waves of sleep, over as many waves of ten minutes.
"""

import math
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent / "tests" / "slurm"))

from slurm_cluster import Cluster, find_missing  # noqa: E402

PROFILE = FOLDER.parent / "workflow" / "profiles" / "slurm"
SITE = FOLDER.parent / "tests" / "slurm" / "site.yaml"
JOBS = 20
SIMULATED = (100, 300, 1000)
ASLEEP = 100
SLEEP_S = 30
CORES = 32
"""Of the partition that the jobs go to."""
WORK_S = 600
JOB_QUERY = "REQUEST_JOB_INFO"
SNAKEFILE = """
rule all:
    input: expand("{{n}}.txt", n=range({jobs}))
rule work:
    output: "{{n}}.txt"
    resources: mem_mb=500, runtime=5
    shell: "echo done > {{output}}"
"""
# The wildcard is the last word of the comment.
SIMULATOR = """#!/bin/sh
for word; do case "$word" in rule_work_wildcards_*) n=${{word##*_}};; esac; done
cat > /dev/null
set -- $(printf '%s\\n' "$@" | grep -v '^/dev/stdin$')
printf '#!/bin/sh\\nsleep {seconds}; echo done > %s.txt\\n' "$n" | exec {sbatch} "$@"
"""


@dataclass
class Measured:
    """One run of a workflow of equal jobs."""

    jobs: int
    wall_s: float
    login_cpu_s: float
    """CPU seconds of Snakemake and all that it started on the login node."""
    job_cpu_s: float
    """CPU seconds of all jobs, from the accounting."""
    controller_cpu_s: float
    """CPU seconds of slurmctld."""
    messages: int
    """Messages that the controller got."""
    queries: int
    """Messages that ask for the state of jobs (squeue)."""
    intervals: int
    """Polling intervals."""


def run_jobs(cluster: Cluster, folder: Path, jobs: int, *, simulate: bool, seconds: int = 0) -> Measured:
    """Run a workflow of equal jobs through the profile.

    Args:
        cluster: the test cluster.
        folder: an empty one for the workflow.
        jobs: their number.
        simulate: whether the jobs start no Snakemake on their node.
        seconds: how long a simulated job sleeps.
    """
    folder.mkdir()
    (folder / "Snakefile").write_text(SNAKEFILE.format(jobs=jobs), encoding="utf-8")
    environment = cluster.environment | {"GUIDEGEN_SLURM": str(SITE)}
    if simulate:
        environment = _install_simulator(folder, environment, seconds)
    command = [sys.executable, "-m", "snakemake", "--workflow-profile", str(PROFILE), "--verbose"]
    before, start, counts = os.times(), time.monotonic(), count_messages(cluster)
    controller = read_cpu(cluster.get_pid("slurmctld"))
    with (folder / "snakemake.log").open("w", encoding="utf-8") as log:
        subprocess.run([*command, "--jobs", str(jobs)], cwd=folder, env=environment, stdout=log, stderr=log, check=True)
    wall, after, counts_after = time.monotonic() - start, os.times(), count_messages(cluster)
    text = (folder / "snakemake.log").read_text(encoding="utf-8")
    ids = re.findall(r"has been submitted with SLURM jobid (\d+)", text)
    return Measured(
        jobs=jobs,
        wall_s=wall,
        login_cpu_s=after.children_user + after.children_system - before.children_user - before.children_system,
        job_cpu_s=sum_cpu(cluster, ids),
        controller_cpu_s=read_cpu(cluster.get_pid("slurmctld")) - controller,
        messages=sum(counts_after.values()) - sum(counts.values()),
        queries=counts_after.get(JOB_QUERY, 0) - counts.get(JOB_QUERY, 0),
        intervals=text.count("Status query timing (cycle)"),
    )


def read_cpu(pid: int) -> float:
    """Return the CPU seconds that a process has used."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def _install_simulator(folder: Path, environment: Mapping[str, str], seconds: int) -> dict[str, str]:
    found = subprocess.run(["which", "sbatch"], capture_output=True, text=True, check=True, env=dict(environment))
    (folder / "bin").mkdir()
    script = folder / "bin" / "sbatch"
    script.write_text(SIMULATOR.format(sbatch=found.stdout.strip(), seconds=seconds), encoding="utf-8")
    script.chmod(0o755)
    return {**environment, "PATH": f"{folder / 'bin'}:{environment['PATH']}"}


def count_messages(cluster: Cluster) -> dict[str, int]:
    """Return how many messages of each type the controller has got since its start."""
    text = cluster.call("sdiag") or ""
    section = text.split("Remote Procedure Call statistics by message type")[-1].split("Remote Procedure Call")[0]
    return {name: int(count) for name, count in re.findall(r"(\w+) +\( *\d+\) count:(\d+)", section)}


def sum_cpu(cluster: Cluster, ids: list[str]) -> float:
    """Return the CPU seconds of jobs, all their steps included, once the accounting has them all."""
    for _ in range(60):
        text = cluster.call("sacct", "-n", "-P", "-o", "JobID,State,TotalCPU", "-j", ",".join(ids)) or ""
        rows = [line.split("|") for line in text.splitlines()]
        if len(ids) == sum("." not in row[0] and row[1] == "COMPLETED" for row in rows):
            return sum(read_clock(row[2]) for row in rows if "." not in row[0])
        time.sleep(1)
    raise RuntimeError(f"the accounting does not have all of {len(ids)} jobs after 60 s")


def read_clock(text: str) -> float:
    """Return the seconds of `[days-][hours:]minutes:seconds.milliseconds`."""
    days, _, clock = text.rpartition("-")
    parts = [float(part) for part in clock.split(":")]
    seconds = sum(value * unit for value, unit in zip(reversed(parts), (1, 60, 3600), strict=False))
    return 86400 * int(days or 0) + seconds


def rows() -> list[dict[str, Any]]:
    """Measure; raises RuntimeError where the cluster cannot be started."""
    if reason := find_missing():
        raise RuntimeError(reason)
    with tempfile.TemporaryDirectory(prefix="gg-slurm-") as place:
        root = Path(place)
        cluster = Cluster(root / "c", tied=True)
        try:
            cluster.start()
            real = run_jobs(cluster, root / "real", JOBS, simulate=False)
            print(real, flush=True)
            asleep = run_jobs(cluster, root / "asleep", ASLEEP, simulate=True, seconds=SLEEP_S)
            print(asleep, flush=True)
            simulated = []
            for jobs in SIMULATED:
                simulated.append(run_jobs(cluster, root / f"simulated{jobs}", jobs, simulate=True))
                print(simulated[-1], flush=True)
        finally:
            cluster.stop()
    return describe(real, asleep, simulated)


def describe(real: Measured, asleep: Measured, simulated: list[Measured]) -> list[dict[str, Any]]:
    """Return the benchmark rows of one real run, one of sleepers and some of trivial jobs on simulated nodes."""
    interval = 20
    beyond = real.job_cpu_s / real.jobs
    overhead = 100 * (beyond + interval / 2) / WORK_S
    few, many = simulated[0], simulated[-1]
    growth = (many.login_cpu_s / many.jobs) / (few.login_cpu_s / few.jobs)
    most = max(run.queries / max(1, run.intervals) for run in (real, asleep, *simulated))
    waves = math.ceil(asleep.jobs / CORES)
    late = asleep.wall_s - SLEEP_S * waves
    sleepers = f"a study of {asleep.jobs} jobs in {waves} waves, wall time beyond that of its work"
    share = 100 * late / (WORK_S * waves)
    figures: list[tuple[str, str, float, str, bool]] = [
        ("CPU of a job beyond its work", "CPU s", beyond, "under 20", beyond < 20),
        ("overhead of jobs of ten minutes", "%", overhead, "under 5", overhead < 5),
        (sleepers, "s", late, "under 120", late < 120),
        (f"{sleepers}, where each job takes ten minutes", "%", share, "under 5", share < 5),
        (f"login node's CPU per job, {many.jobs} against {few.jobs} jobs", "times", growth, "under 1.5", growth < 1.5),
        ("status queries per polling interval", "queries", most, "at most 1", most <= 1),
    ]
    for run in simulated:
        load = f"{run.jobs} jobs on simulated nodes"
        rate, messages = 60 * run.jobs / run.wall_s, run.messages / run.jobs
        login, controller = run.login_cpu_s / run.jobs, run.controller_cpu_s / run.jobs
        figures += [
            (f"{load}, throughput", "jobs/min", rate, "over 60", rate > 60),
            (f"{load}, messages to the controller per job", "messages", messages, "under 10", messages < 10),
            (f"{load}, controller's CPU per job", "CPU s", controller, "under 0.1", controller < 0.1),
            (f"{load}, login node's CPU per job", "CPU s", login, "under 0.5", login < 0.5),
        ]
    return [
        {"name": f"SLURM: {name}", "unit": unit, "ours": ours, "goal": goal, "holds": holds}
        | ({"better": "higher"} if unit == "jobs/min" else {})
        for name, unit, ours, goal, holds in figures
    ]


if __name__ == "__main__":
    for row in rows():
        print(row)
