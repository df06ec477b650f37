"""Several processes train what one process would."""

import csv
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from train_process import start_together

from guidegen.errors import GuideGenError
from guidegen.study import Study
from guidegen.train.run import TRAINERS


def read_curves(root: Path, stage: str) -> dict[str, list[float]]:
    curves: dict[str, list[float]] = {}
    with (root / "results" / "models" / stage / "curves.csv").open() as stream:
        for row in csv.DictReader(stream):
            curves.setdefault(row["name"], []).append(float(row["value"]))
    return curves


def edit_config(root: Path, old: str, new: str) -> None:
    path = root / "config" / "config.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.fixture
def parallel_study(prepared_study: Path, copy_study: Callable[[Path], Study]) -> Path:
    root = copy_study(prepared_study).root
    edit_config(root, "train:\n", "train:\n  devices: 2\n")
    return root


@pytest.mark.parametrize(
    ("stage", "strategy"),
    [("semantic_synthesizer", "ddp"), ("contrast_autoencoder", "ddp"), ("semantic_synthesizer", "fsdp")],
)
def test_two_processes_have_the_curves_of_one(stage, strategy, parallel_study, trained_study):
    edit_config(parallel_study, "devices: 2\n", f"devices: 2\n  strategy: {strategy}\n")
    processes = start_together(parallel_study, stage, 2)
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    ours, theirs = read_curves(parallel_study, stage), read_curves(trained_study, stage)
    assert ours.keys() == theirs.keys()
    for name in theirs:
        assert np.allclose(ours[name], theirs[name], rtol=2e-3, atol=1e-5), name
    assert len(list((parallel_study / "results" / "models").glob("*.tsv"))) == 1


def test_processes_share_the_batches_of_a_step(parallel_study):
    edit_config(parallel_study, "devices: 2\n", "devices: 3\n")
    with pytest.raises(GuideGenError, match=r"accumulate is 2.*3 processes.*must be a multiple of 3"):
        TRAINERS["semantic_synthesizer"](Study.load(parallel_study))


def test_the_command_starts_its_processes_and_one_signal_stops_all(parallel_study):
    stage = "semantic_synthesizer"
    edit_config(parallel_study, "steps: 8", "steps: 2000")
    command = [sys.executable, "-m", "guidegen", "train", stage, "--study", str(parallel_study)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    state = parallel_study / ".guidegen" / "state" / "results" / "models" / stage
    while process.poll() is None and not list(state.glob("*/step-*")):
        time.sleep(0.05)
    process.send_signal(signal.SIGUSR1)
    _, message = process.communicate()
    assert process.returncode == 75, message
    assert "stopped by SIGUSR1 after step" in message
