"""The controller goes away while jobs run, or Snakemake is told to end."""

import signal
import time
from pathlib import Path

import pytest
from sleepers import SLEEP, SLEEPERS, Run, read_attempts, wait_for, wait_for_attempts

from guidegen.cluster.queue import list_queued

pytestmark = pytest.mark.slurm


@pytest.fixture(autouse=True)
def _login_node(site: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in site.items():
        monkeypatch.setenv(key, value)


def test_terminated_snakemake_lets_its_job_finish_and_starts_no_other(start_workflow, tmp_path: Path) -> None:
    run = Run(tmp_path, start_workflow, SLEEP.format(seconds=20), "--jobs", "1")
    wait_for("first attempt", lambda: any(read_attempts(run.folder, SLEEPERS).values()))
    run.process.send_signal(signal.SIGTERM)
    assert run.process.wait() != 0
    assert list_queued(run.folder) == []
    (started,) = [name for name, ids in read_attempts(run.folder, SLEEPERS).items() if ids]
    assert [path.stem for path in run.folder.glob("*.txt")] == [started]


def test_controller_and_accounting_away_for_80_seconds(cluster, start_workflow, tmp_path: Path) -> None:
    run = Run(tmp_path, start_workflow, SLEEP.format(seconds=20))
    wait_for_attempts(tmp_path, SLEEPERS)
    cluster.stop_daemon("slurmctld")
    cluster.stop_daemon("slurmdbd")
    time.sleep(80)
    cluster.start_daemon("slurmdbd")
    cluster.start_daemon("slurmctld")
    run.wait()
    assert {len(ids) for ids in read_attempts(tmp_path, SLEEPERS).values()} == {1}
