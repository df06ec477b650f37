"""What SLURM and Snakemake cost per job, on the test cluster of real daemons (root and the packages are needed).

1. A study of 20 jobs that each do nothing, through the profile: CPU seconds of a job beyond its work (the Snakemake
   processes that the plugin starts in it) and of the login node, messages to the controller, status queries.
2. 100 and 1,000 jobs on simulated nodes: a script in the place of `sbatch` sends a job that only makes the output, so
   that Snakemake, plugin and controller work as ever while the nodes cost nothing.

Costs are CPU seconds, because on a machine that is both login node and all nodes wall time says little. The overhead of
a job of ten minutes is its CPU seconds beyond its work, plus half a polling interval, over 600 s.
"""

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

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent / "tests" / "slurm"))

from slurm_cluster import Cluster, find_missing  # noqa: E402

PROFILE = FOLDER.parent / "workflow" / "profiles" / "slurm"
SITE = FOLDER.parent / "tests" / "slurm" / "site.yaml"
JOBS = 20
SIMULATED = (100, 1000)
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
printf '#!/bin/sh\\necho done > %s.txt\\n' "$n" | exec {sbatch} "$@"
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
    messages: int
    """Messages that the controller got."""
    queries: int
    """Messages that ask for the state of jobs (squeue)."""
    intervals: int
    """Polling intervals."""


def run_jobs(cluster: Cluster, folder: Path, jobs: int, *, simulate: bool) -> Measured:
    """Run a workflow of equal jobs through the profile."""
    (folder / "Snakefile").write_text(SNAKEFILE.format(jobs=jobs), encoding="utf-8")
    environment = cluster.environment | {"GUIDEGEN_SLURM": str(SITE)}
    if simulate:
        environment = _install_simulator(folder, environment)
    command = [sys.executable, "-m", "snakemake", "--workflow-profile", str(PROFILE), "--verbose"]
    before, start, counts = os.times(), time.monotonic(), count_messages(cluster)
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
        messages=sum(counts_after.values()) - sum(counts.values()),
        queries=counts_after.get(JOB_QUERY, 0) - counts.get(JOB_QUERY, 0),
        intervals=text.count("Status query timing (cycle)"),
    )


def _install_simulator(folder: Path, environment: Mapping[str, str]) -> dict[str, str]:
    found = subprocess.run(["which", "sbatch"], capture_output=True, text=True, check=True, env=dict(environment))
    (folder / "bin").mkdir()
    script = folder / "bin" / "sbatch"
    script.write_text(SIMULATOR.format(sbatch=found.stdout.strip()), encoding="utf-8")
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
        cluster = Cluster(root / "c")
        try:
            cluster.start()
            runs = []
            for name, jobs, simulate in (("real", JOBS, False), *((f"simulated{n}", n, True) for n in SIMULATED)):
                (root / name).mkdir()
                runs.append(run_jobs(cluster, root / name, jobs, simulate=simulate))
                print(runs[-1], flush=True)
        finally:
            cluster.stop()
    return describe(runs[0], runs[1], runs[2])


def describe(real: Measured, few: Measured, many: Measured) -> list[dict[str, Any]]:
    """Return the benchmark rows of one real run and two on simulated nodes."""
    interval = 20
    beyond = real.job_cpu_s / real.jobs
    overhead = 100 * (beyond + interval / 2) / WORK_S
    growth = (many.login_cpu_s / many.jobs) / (few.login_cpu_s / few.jobs)
    most = max(run.queries / max(1, run.intervals) for run in (real, few, many))
    per_job = many.messages / many.jobs
    rate = 60 * many.jobs / many.wall_s
    load = f"{many.jobs} jobs on simulated nodes"
    figures = (
        ("CPU of a job beyond its work", "CPU s", beyond, "under 20", beyond < 20),
        ("overhead of jobs of ten minutes", "%", overhead, "under 5", overhead < 5),
        (f"{load}, throughput", "jobs/min", rate, "over 60", rate > 60),
        (f"login node's CPU per job, {many.jobs} against {few.jobs} jobs", "times", growth, "under 1.5", growth < 1.5),
        (f"{load}, messages to the controller per job", "messages", per_job, "under 10", per_job < 10),
        ("status queries per polling interval", "queries", most, "at most 1", most <= 1),
    )
    return [
        {"name": f"SLURM: {name}", "unit": unit, "ours": ours, "goal": goal, "holds": holds}
        | ({"better": "higher"} if unit == "jobs/min" else {})
        for name, unit, ours, goal, holds in figures
    ]


if __name__ == "__main__":
    for row in rows():
        print(row)
