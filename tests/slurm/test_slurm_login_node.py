"""What a user does on the login node: `guidegen doctor --slurm`, `guidegen status`, and a run after a killed one."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from guidegen.assets import ASSETS
from guidegen.cluster.queue import list_queued

pytestmark = pytest.mark.slurm
TARGET = "data/raw/tcga_luad/s000.tsv"


@pytest.fixture
def study(site: dict[str, str], smoke_study: Path, call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study with an index and nothing else, on a login node."""
    for key, value in site.items():
        monkeypatch.setenv(key, value)
    root = tmp_path / "study"
    call("init", root, "--preset", "smoke")
    (root / "archive").symlink_to(smoke_study / "archive")
    call("index", "--study", root)
    return root


def submit(root: Path, seconds: int, *options: str) -> str:
    """Submit a job that looks like one of a study's run; return its id."""
    (root / ".snakemake" / "slurm_logs").mkdir(parents=True, exist_ok=True)
    command = ["sbatch", "--parsable", "--job-name=guidegen_0123", f"--wrap=sleep {seconds}", "--output=/dev/null"]
    return subprocess.run([*command, *options], cwd=root, capture_output=True, text=True, check=True).stdout.strip()


def test_doctor_checks_the_cluster_and_both_jobs_run(
    study: Path, site: dict[str, str], call, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = study / "config" / "slurm.yaml"
    path.write_text(Path(site["GUIDEGEN_SLURM"]).read_text().replace('scratch: ""', f"scratch: {study}/scratch-$USER"))
    monkeypatch.setenv("GUIDEGEN_SLURM", str(path))
    monkeypatch.setenv("USER", "root")
    done = call("doctor", "--study", study, "--slurm", "--json", check=False)
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    assert done.returncode == 0, done.stdout
    assert "ran on c" in checks["CPU job"]["found"]
    assert f"temporary files in {study}/scratch-root (" in checks["CPU job"]["found"]
    assert "ran on g1 in partition gpu" in checks["GPU job"]["found"]
    # The test cluster's GPUs are bare device nodes.
    assert checks["GPU job"]["level"] == "warning"
    assert checks["rules"]["found"] == "7 rules fit a partition at each of 3 attempts"
    assert not list((study / ".guidegen").glob("doctor-*"))


def test_doctor_sends_nothing_while_the_site_file_is_wrong(study: Path, call, monkeypatch: pytest.MonkeyPatch) -> None:
    path = study / "config" / "slurm.yaml"
    path.write_text("account: nobody\ngpu_model: a100\npartitions:\n  cpu: {}\n  gpu: {max_gpu: 4}\n  long: {}\n")
    monkeypatch.setenv("GUIDEGEN_SLURM", str(path))
    done = call("doctor", "--study", study, "--slurm", check=False)
    assert done.returncode == 1
    account = ("'nobody' is not yours", "one of: root, study")
    for told in (*account, "no such partition", "cpu, gpu", "4 x h200", "not sent"):
        assert told in done.stdout, told


def test_plain_snakemake_cancels_what_a_killed_run_left(study: Path, cluster) -> None:
    orphan = submit(study, 600)
    stranger = submit(study.parent, 600)
    assert [job.id for job in list_queued(study)] == [orphan]
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ASSETS / "Snakefile"), "--cores", "1", TARGET]
    dry = subprocess.run([*command, "--dry-run"], cwd=study, capture_output=True, text=True, check=True)
    assert "Cancelled" not in dry.stdout + dry.stderr
    assert [job.id for job in list_queued(study)] == [orphan]
    done = subprocess.run(command, cwd=study, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Cancelled 1 jobs of an earlier run: {orphan}" in done.stderr
    assert list_queued(study) == []
    assert cluster.call("squeue", "-h", "-j", stranger, "-o", "%i") == stranger
    cluster.call("scancel", stranger)


def test_status_shows_queue_node_and_age(study: Path, cluster, call) -> None:
    running, pending = submit(study, 600), submit(study, 600, "--hold")
    log = study / ".snakemake" / "log" / "9999-01-01T000000.000000.snakemake.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    text = "Job stats:\n"
    for jobid, (shard, job) in enumerate((("tcga_luad", running), ("tcga_kirc", pending))):
        text += f"{time.strftime('[%a %b %d %H:%M:%S %Y]')}\nrule convert:\n    log: logs/convert/{shard}-s000.log\n"
        text += f"    jobid: {jobid}\nJob {jobid} has been submitted with SLURM jobid {job} (log: x).\n"
    log.write_text(text)
    end = time.monotonic() + 300
    while not any(job.node for job in list_queued(study)) and time.monotonic() < end:
        time.sleep(0.5)
    told = {job["name"]: job for job in json.loads(call("status", "--study", study, "--json").stdout)["jobs"]}
    assert told["tcga_luad/s000"]["state"] == "running"
    assert told["tcga_luad/s000"]["node"] in ("c1", "c2")
    assert told["tcga_luad/s000"]["scheduler_job"] == running
    assert told["tcga_kirc/s000"]["state"] == "queued"
    assert told["tcga_kirc/s000"]["reason"] == "JobHeldUser"
    cluster.call("scancel", running, pending)
    shutil.rmtree(study / ".snakemake")
