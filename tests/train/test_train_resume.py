"""A training that is killed, stopped or finds a damaged checkpoint ends at the same weights."""

import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from train_process import start_training

from guidegen.study import Study
from guidegen.train.checkpoints import CheckpointFolder, Curves
from guidegen.train.run import TRAINERS

FILES = ("model.safetensors", "model.json", "curves.csv", "held_out.json", "samples.png")


def read_results(root: Path, stage: str) -> dict[str, bytes]:
    return {name: (root / "results" / "models" / stage / name).read_bytes() for name in FILES}


def state_folder(root: Path, stage: str) -> Path:
    return root / ".guidegen" / "state" / "results" / "models" / stage


def forget_stage(root: Path, stage: str) -> None:
    shutil.rmtree(state_folder(root, stage))
    shutil.rmtree(root / "results" / "models" / stage)
    (root / "results" / "models" / f"{stage}.tsv").unlink()


def count_steps(root: Path, stage: str) -> int:
    return max((int(path.name.split("-")[1]) for path in list_checkpoints(root, stage)), default=0)


def list_checkpoints(root: Path, stage: str) -> list[Path]:
    return sorted(state_folder(root, stage).glob("*/step-*"))


@pytest.mark.parametrize(
    ("stage", "goals"),
    [
        ("semantic_synthesizer", (0, 0, 0, 2, 2, 2, 4, 4, 6, 6)),
        ("contrast_autoencoder", (1, 3, 5)),
        ("latent_generator", (1, 3, 5)),
    ],
)
def test_killed_training_ends_at_the_same_bytes(stage, goals, trained_study, copy_study):
    wanted = read_results(trained_study, stage)
    root = copy_study(trained_study).root
    forget_stage(root, stage)
    rng = random.Random(f"kill {stage}")
    kills = []
    for goal in goals:
        process = start_training(root, stage)
        while process.is_alive() and count_steps(root, stage) < goal:
            time.sleep(0.005)
        # a moment later, so that some kills hit a step and some the writing of a checkpoint
        time.sleep(rng.uniform(0, 0.3))
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        kills.append((process.exitcode, count_steps(root, stage)))
    assert kills[0][0] == -signal.SIGKILL, f"the first kill came too late: {kills}"
    assert not (root / "results" / "models" / f"{stage}.tsv").exists() or kills[-1][1] == 8
    process = start_training(root, stage)
    process.join()
    assert process.exitcode == 0
    assert read_results(root, stage) == wanted, f"(exit code, steps) of the kills: {kills}"


@pytest.mark.parametrize("told", [signal.SIGUSR1, signal.SIGTERM])
def test_told_to_stop_it_leaves_a_checkpoint_and_asks_for_requeue(told, trained_study, copy_study):
    stage = "semantic_synthesizer"
    root = copy_study(trained_study).root
    forget_stage(root, stage)
    command = [sys.executable, "-m", "guidegen", "train", stage, "--study", str(root)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and count_steps(root, stage) < 1:
        time.sleep(0.005)
    process.send_signal(told)
    _, message = process.communicate(timeout=30)
    assert process.returncode == 75, message
    assert f"stopped by {told.name} after step" in message
    assert not (root / "results" / "models" / f"{stage}.tsv").exists()
    assert 0 < count_steps(root, stage) < 8
    TRAINERS[stage](Study.load(root))
    assert read_results(root, stage) == read_results(trained_study, stage)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "no json"])
def test_damaged_checkpoint_is_passed_over(damage, trained_study, copy_study, caplog):
    stage = "semantic_synthesizer"
    root = copy_study(trained_study).root
    wanted = read_results(root, stage)
    last, before = list_checkpoints(root, stage)[::-1][:2]
    tensors = last / "tensors"
    content = bytearray(tensors.read_bytes())
    if damage == "truncated":
        tensors.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        content[-100] ^= 1
        tensors.write_bytes(content)
    else:
        (last / "checkpoint.json").unlink()
    with caplog.at_level(logging.WARNING):
        TRAINERS[stage](Study.load(root))
    assert f"{last}: damaged" in caplog.text
    assert f"going back to {before.name}" in caplog.text
    assert read_results(root, stage) == wanted


def test_the_last_checkpoints_and_the_best_are_kept(trained_study):
    for stage in ("semantic_synthesizer", "contrast_autoencoder", "latent_generator"):
        # held-out losses are measured after step 4 and at the end, when there is nothing left to keep
        names = [path.name for path in list_checkpoints(trained_study, stage)]
        assert names == ["step-00000004", "step-00000006", "step-00000008"]


def test_the_best_checkpoint_is_that_of_the_lowest_held_out_loss(tmp_path):
    folder, curves = CheckpointFolder(tmp_path, "f", 1), Curves()
    for step, loss in ((1, 0.5), (2, 0.3), (3, 0.4), (4, 0.6)):
        folder.save(step, {"x": torch.zeros(1)}, curves, {})
        curves.rows.append((step, "held_out", loss))
    folder.save(5, {"x": torch.zeros(1)}, curves, {})
    assert [path.name for path in folder.list()] == ["step-00000002", "step-00000005"]


def test_other_settings_start_afresh(trained_study, copy_study, caplog):
    root = copy_study(trained_study).root
    path = root / "config" / "config.yaml"
    path.write_text(path.read_text().replace("learning_rate: 0.003", "learning_rate: 0.001"))
    before = read_results(root, "semantic_synthesizer")
    with caplog.at_level(logging.WARNING):
        TRAINERS["semantic_synthesizer"](Study.load(root))
    assert "checkpoints of other settings, code or data are not used" in caplog.text
    assert read_results(root, "semantic_synthesizer")["model.safetensors"] != before["model.safetensors"]


def test_while_it_runs_curves_and_pictures_lie_in_the_state_folder(trained_study):
    for stage in ("semantic_synthesizer", "contrast_autoencoder", "latent_generator"):
        (folder,) = state_folder(trained_study, stage).iterdir()
        lines = (folder / "curves.csv").read_text().splitlines()
        names = {line.split(",")[1] for line in lines[1:]}
        assert {"loss", "held_out", "steps_per_second", "memory_gib", "loader_wait_share"} <= names
        assert (folder / "samples-00000004.png").is_file()
        assert list((folder / "tensorboard").glob("events.*"))


def test_curves_that_are_watched_have_no_step_twice_after_a_kill(trained_study, copy_study):
    stage = "semantic_synthesizer"
    root = copy_study(trained_study).root
    (folder,) = state_folder(root, stage).iterdir()
    shutil.rmtree(folder / "step-00000008")
    shutil.rmtree(folder / "step-00000006")
    TRAINERS[stage](Study.load(root))
    lines = (folder / "curves.csv").read_text().splitlines()
    keys = [tuple(line.split(",")[:2]) for line in lines]
    assert len(keys) == len(set(keys))
    assert ("8", "loss") in keys
