"""Trainings on real daemons: several GPUs and nodes train one model, and a training outlives its time limit."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from slurm_cluster import Cluster

pytestmark = pytest.mark.slurm

STAGE = "semantic_synthesizer"
OPTIONS = ("--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "5", "--jobs", "1")
SITE = """
account: study
qos: ""
gpu_model: h200
partitions:
  cpu: {max_runtime: 2880}
  gpu: {max_runtime: 2880, max_gpu: 4, max_nodes: 1}
  gpus: {max_runtime: 2880, max_gpu: 8, max_nodes: 2}
"""
ON_CPU = ("gpu=0",)
ON_GPUS = ("gpu_model=h200",)
"""What the profile says, too; `--set-resources` of the command line comes in its place."""


@pytest.fixture
def login(site: dict[str, str], cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be a user on the login node of a site whose GPUs are bare device nodes: the trainings use gloo on CPUs.

    The nodes of the test cluster have names that no name server knows; elsewhere MASTER_ADDR is left to the library.
    """
    (tmp_path / "site.yaml").write_text(SITE)
    # Jobs have no SLURM_CONF (the jobstep plugin removes it), and this cluster's configuration is not in /etc/slurm.
    shim = cluster.root / "bin" / "scontrol"
    real = shutil.which("scontrol", path="/usr/bin:/usr/local/bin")
    shim.write_text(f'#!/bin/sh\nSLURM_CONF={cluster.root}/etc/slurm.conf exec {real} "$@"\n')
    shim.chmod(0o755)
    variables = {"GUIDEGEN_SLURM": str(tmp_path / "site.yaml"), "MASTER_ADDR": "127.0.0.1", "GLOO_SOCKET_IFNAME": "lo"}
    for key, value in {**site, **variables}.items():
        monkeypatch.setenv(key, value)


@pytest.fixture
def copy_untrained(smoke_study: Path, tmp_path: Path) -> Callable[[str, dict[str, Any], dict[str, Any]], Path]:
    """Return a function that copies the smoke study up to its cohort, with other training settings."""

    def copy(name: str, train: dict[str, Any], optimization: dict[str, Any]) -> Path:
        root = tmp_path / name
        ignored = shutil.ignore_patterns("results", "logs", ".snakemake", "locks")
        shutil.copytree(smoke_study, root, ignore=ignored, symlinks=True)
        shutil.rmtree(root / ".guidegen" / "state" / "results", ignore_errors=True)
        path, yaml = root / "config" / "config.yaml", YAML()
        config = yaml.load(path)
        config["train"].update(train)
        config["train"][STAGE]["optimization"].update(optimization)
        yaml.dump(config, path)
        return root

    return copy


def train(root: Path, *options: str) -> subprocess.Popen[str]:
    """Start the workflow for one stage; `options` go to Snakemake."""
    command = ["guidegen", "run", "--study", str(root), "--", f"results/models/{STAGE}.tsv", *options]
    with (root / "run.log").open("a", encoding="utf-8") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, text=True)


def train_on_cluster(root: Path, *resources: str) -> subprocess.Popen[str]:
    needs = [f"train:{resource}" for resource in ("mem_mb=4000", "runtime=30", *resources)]
    return train(root, "--workflow-profile", "workflow/profiles/slurm", *OPTIONS, "--set-resources", *needs)


def read_log(root: Path) -> str:
    """What the workflow and the training said."""
    log = root / "logs" / "train" / f"{STAGE}.log"
    return (root / "run.log").read_text() + (log.read_text() if log.is_file() else "")


def read_weights(root: Path) -> bytes:
    return (root / "results" / "models" / STAGE / "model.safetensors").read_bytes()


def read_losses(root: Path) -> list[float]:
    lines = (root / "results" / "models" / STAGE / "curves.csv").read_text().splitlines()[1:]
    return [float(line.split(",")[2]) for line in lines if line.split(",")[1] == "loss"]


def wait_for(what: str, found: Callable[[], Any], seconds: float = 900) -> Any:
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end, f"no {what} after {seconds:.0f} s"
        time.sleep(0.1)
    return value


def find_job(cluster: Cluster, root: Path) -> str:
    """Return the id of the training's job, "" before it has one."""
    jobs = cluster.call("squeue", "-h", "-o", "%i %k %Z") or ""
    found = [line.split()[0] for line in jobs.splitlines() if "rule_train" in line and str(root) in line]
    return found[0] if found else ""


def list_checkpoints(root: Path) -> list[Path]:
    return sorted((root / ".guidegen" / "state" / "results" / "models" / STAGE).glob("*/step-*"))


def test_gpus_of_one_node_and_of_two_train_what_one_process_trains(cluster, login, copy_untrained) -> None:
    settings = {"steps": 10, "accumulate": 4}
    alone = copy_untrained("alone", {}, settings)
    shapes = {"four": {"devices": 4}, "twice_two": {"devices": 2, "nodes": 2}}
    together = {name: copy_untrained(name, hardware, settings) for name, hardware in shapes.items()}
    started = {name: train_on_cluster(root, *ON_GPUS) for name, root in together.items()}
    assert train(alone, "--cores", "1").wait() == 0, read_log(alone)
    for name, process in started.items():
        assert process.wait() == 0, read_log(together[name])
        assert read_losses(together[name]) == pytest.approx(read_losses(alone), rel=2e-3), name
    assert get_allocation(cluster, together["four"]) == "gpu|1|g1|gres/gpu=4"
    assert get_allocation(cluster, together["twice_two"]) == "gpus|2|g[1-2]|gres/gpu=4"


def test_training_goes_on_after_its_time_limit(cluster, login, copy_untrained) -> None:
    settings = {"steps": 60, "validate_every": 30, "checkpoint_every": 5}
    whole, limited = copy_untrained("whole", {}, settings), copy_untrained("limited", {}, settings)
    process = train_on_cluster(limited, *ON_CPU)
    job = wait_for("job", lambda: find_job(cluster, limited))
    wait_for("checkpoint", lambda: list_checkpoints(limited))
    # The training stands still until SLURM has something to say, so that it is not done before on a fast machine.
    cluster.call("scancel", "--signal=STOP", job)
    run_out_of_time(cluster, job)
    wait_for("requeued job", lambda: get_state(cluster, job) == "PENDING")
    assert "stopped by SIGUSR1 after step" in read_log(limited)
    said = (limited / "logs" / "train" / f"{STAGE}.log").read_text()
    assert not (limited / "results" / "models" / f"{STAGE}.tsv").exists()
    # A job that is put back waits until its old credential is void (two minutes).
    cluster.call("scontrol", "update", f"JobId={job}", "TimeLimit=30", "StartTime=now")
    assert process.wait() == 0, read_log(limited)
    assert "Restarts=1 " in (cluster.call("scontrol", "show", "job", job) or "")
    assert read_log(limited).count(said) == 1, "the log of the first part is gone"
    assert train(whole, "--cores", "1").wait() == 0, read_log(whole)
    assert read_weights(limited) == read_weights(whole)


def get_allocation(cluster: Cluster, root: Path) -> str | None:
    """Return partition, nodes and GPUs of the job that trained a study's model."""
    (row,) = [json.loads(path.read_text()) for path in root.glob(f"results/provenance/*/train-{STAGE}.json")]
    columns = ("sacct", "-X", "-n", "-P", "-o", "Partition,NNodes,NodeList,AllocTRES%200", "-j")
    *job, resources = (cluster.call(*columns, row["scheduler_job"]) or "|").split("|")
    return "|".join([*job, *(part for part in resources.split(",") if part.startswith("gres/gpu="))])


def get_state(cluster: Cluster, job: str) -> str | None:
    return cluster.call("squeue", "-h", "-o", "%T", "-j", job)


def run_out_of_time(cluster: Cluster, job: str) -> None:
    """Shorten a job's time limit so that the two minutes before its end have begun; SLURM looks every 30 s."""
    used = (cluster.call("squeue", "-h", "-o", "%M", "-j", job) or "").split(":")
    minutes = int(used[-2]) + 60 * (int(used[-3]) if len(used) > 2 else 0)
    cluster.call("scontrol", "update", f"JobId={job}", f"TimeLimit={minutes + 2}")
    end = time.monotonic() + 45
    while get_state(cluster, job) != "PENDING" and time.monotonic() < end:
        time.sleep(0.5)
    if get_state(cluster, job) != "PENDING":
        # the signal waits behind SIGSTOP; a slow machine gets the time to write its checkpoint
        cluster.call("scontrol", "update", f"JobId={job}", "TimeLimit=30")
        cluster.call("scancel", "--signal=CONT", job, check=False)
