"""One trivial CPU job and one GPU job, sent the way a study's jobs go: Snakemake, profile, plugin, step."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from guidegen.cluster.queue import list_queued
from guidegen.doctor.check import Check, fail, ok, warn

LONGEST_WAIT_S = 900
FIRST_QUERY_S = 5
# The GPU job has the name of a rule that the profile gives the site's GPU model to.
SNAKEFILE = """
rule all:
    input: {targets}
rule convert:
    output: "cpu.json"
    resources: mem_mb=1000, runtime=5
    shell: "'{python}' report.py {{output}}"
rule train:
    output: "gpu.json"
    resources: mem_mb=2000, runtime=5, gpu=1
    shell: "'{python}' report.py {{output}}"
"""
REPORT = """
import json, os, shutil, socket, sys, tempfile
import guidegen, torch
facts = {"host": os.environ.get("SLURMD_NODENAME") or socket.gethostname(), "guidegen": guidegen.__version__}
facts |= {"partition": os.environ.get("SLURM_JOB_PARTITION", ""), "devices": os.environ.get("CUDA_VISIBLE_DEVICES", "")}
scratch = tempfile.gettempdir()
facts |= {"seen": torch.cuda.device_count()}
facts |= {"scratch": f"{scratch} ({shutil.disk_usage(scratch).free / 1e9:.0f} GB free)"}
json.dump(facts, open(sys.argv[1], "w"))
"""


def try_jobs(folder: Path, profile: Path, site_file: Path, *, gpu: bool) -> list[Check]:
    """Send the jobs and wait for them.

    Args:
        folder: where the trial runs; must lie on the file system that login and compute nodes share.
        profile: folder of the profile.
        site_file: the site file that the profile reads.
        gpu: whether there is a partition with GPUs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    root = Path(tempfile.mkdtemp(prefix="doctor-", dir=folder)).resolve()
    targets = ["cpu.json", "gpu.json"] if gpu else ["cpu.json"]
    (root / "Snakefile").write_text(SNAKEFILE.format(targets=targets, python=sys.executable), encoding="utf-8")
    (root / "report.py").write_text(REPORT, encoding="utf-8")
    start = time.monotonic()
    code, waiting = _run(root, profile, site_file)
    seconds = time.monotonic() - start
    checks = [_judge(root, name, waiting, seconds) for name in targets]
    if code == 0:
        shutil.rmtree(root)
    return checks


def _run(root: Path, profile: Path, site_file: Path) -> tuple[int, list[str]]:
    """Run the trial's workflow; return Snakemake's exit code and why jobs were still pending at the end."""
    command = [sys.executable, "-m", "snakemake", "--workflow-profile", str(profile), "--keep-going"]
    command += ["--slurm-init-seconds-before-status-checks", str(FIRST_QUERY_S), "--retries", "0"]
    environment = os.environ | {"GUIDEGEN_SLURM": str(site_file)}
    with (root / "snakemake.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(command, cwd=root, env=environment, stdout=log, stderr=log)
        try:
            return process.wait(LONGEST_WAIT_S), []
        except subprocess.TimeoutExpired:
            waiting = [f"job {job.id} {job.state} {job.reason}".strip() for job in list_queued(root)]
            return 1, waiting
        finally:
            if process.poll() is None:
                # Snakemake cancels its jobs on SIGINT.
                process.send_signal(signal.SIGINT)
                process.wait()


def _judge(root: Path, output: str, waiting: list[str], seconds: float) -> Check:
    kind = output.split(".")[0].upper()
    name = f"{kind} job"
    path = root / output
    if not path.is_file():
        found = f"no result after {seconds:.0f} s" + (f": {'; '.join(waiting)}" if waiting else "")
        return fail(name, found, f"{root}/snakemake.log and {root}/.snakemake/slurm_logs say why")
    facts = json.loads(path.read_text(encoding="utf-8"))
    found = f"ran on {facts['host']} in partition {facts['partition']} with guidegen {facts['guidegen']}"
    if kind == "CPU":
        return ok(name, f"{found}, {seconds:.0f} s with the queue; temporary files in {facts['scratch']}")
    if not facts["devices"]:
        return fail(name, f"{found}, without CUDA_VISIBLE_DEVICES", "the site must set Gres=gpu for its GPU nodes")
    if not facts["seen"]:
        advice = "the node's driver or the environment's torch does not fit: try `srun --gpus=1 nvidia-smi`"
        return warn(name, f"{found}, device {facts['devices']}, which torch does not see", advice)
    return ok(name, f"{found}, device {facts['devices']}")
