"""A whole smoke study, run once per session by the real `guidegen` command and the real Snakemake."""

import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

GUIDEGEN = [sys.executable, "-m", "guidegen"]
LONGEST_FIRST = ("workflow/test_killed_run", "tests/train/", "tests/workflow/", "tests/version/", "tests/export/")
LONGEST_FIRST += ("slurm_smoke", "slurm_failures", "slurm_plugin_reports", "slurm_outage", "slurm_full")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that at the end no worker waits for another."""

    def place(item: pytest.Item) -> int:
        return next((i for i, part in enumerate(LONGEST_FIRST) if part in item.nodeid), len(LONGEST_FIRST))

    items.sort(key=place)


def call(*words: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run `guidegen WORDS`; with `check`, fail the test with its output where it fails."""
    environment = {key: value for key, value in os.environ.items() if key != "GUIDEGEN_RUN_ID"}
    done = subprocess.run([*GUIDEGEN, *map(str, words)], capture_output=True, text=True, env=environment, check=False)
    if check and done.returncode:
        pytest.fail(f"guidegen {' '.join(map(str, words))} -> {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


@pytest.fixture(scope="session", name="call")
def fixture_call() -> Callable[..., subprocess.CompletedProcess[str]]:
    return call


@pytest.fixture(scope="session")
def hash_study() -> Callable[[Path], dict[str, str]]:
    """The comparison that `benchmarks/killed_study.py` makes: sha256 of every file that a study made."""
    path = Path(__file__).parents[1] / "benchmarks" / "killed_study.py"
    return runpy.run_path(str(path))["hash_study"]


@pytest.fixture(scope="session")
def smoke_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished smoke study; tests do not alter it (they copy). The phantoms' truth table is deleted first.

    Parallel test workers share one study: the first makes it, the others wait.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    root = shared / "smoke" / "study"
    with FileLock(shared / "smoke.lock"):
        if not (shared / "smoke" / "done").exists():
            call("init", root, "--preset", "smoke")
            make_archive(root)
            call("run", "--study", root)
            (shared / "smoke" / "done").touch()
    return root


def make_archive(root: Path) -> None:
    """Make the study's archive and delete the truth table, which the study must never need."""
    from guidegen.study import Study

    study = Study.load(root)
    phantom = study.config.index.phantom
    assert phantom is not None
    wanted = ",".join(study.collections)
    call(
        "phantom",
        "--out",
        root / "archive",
        "--patients",
        phantom.patients,
        "--seed",
        phantom.seed,
        "--collections",
        wanted,
    )
    (root / "archive" / "truth.tsv").unlink()
