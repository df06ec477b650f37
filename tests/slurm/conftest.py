"""One test cluster per session; without packages or root the tests are skipped, and say why."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from slurm_cluster import Cluster, find_missing

REPOSITORY = Path(__file__).parents[2]
PROFILE = REPOSITORY / "workflow" / "profiles" / "slurm"


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    if reason := find_missing():
        pytest.skip(reason)
    # A time limit's SIGTERM must not leave daemons behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Unix sockets allow about 100 characters, so not below pytest's own folder.
    folder = Path(tempfile.mkdtemp(prefix="gg-slurm-"))
    cluster = Cluster(folder / "c", tied=True)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def site(cluster: Cluster) -> dict[str, str]:
    """Environment of a login node of the test cluster."""
    return {**cluster.environment, "GUIDEGEN_SLURM": str(Path(__file__).parent / "site.yaml")}


@pytest.fixture(scope="session")
def start_workflow(site: dict[str, str]) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Start a small workflow with our profile, only polling faster; what still runs at the end is killed."""
    processes: list[subprocess.Popen[str]] = []

    def start(folder: Path, snakefile: str, *options: str) -> "subprocess.Popen[str]":
        (folder / "Snakefile").write_text(snakefile, encoding="utf-8")
        command = [sys.executable, "-m", "snakemake", "--workflow-profile", str(PROFILE)]
        command += ["--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "5", "--verbose", *options]
        with (folder / "snakemake.log").open("a", encoding="utf-8") as log:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=site,
                stdout=log,
                stderr=log,
                text=True,
                start_new_session=True,
                # a test run in the background of a shell would hand down an ignored SIGINT
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
