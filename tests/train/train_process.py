"""Runs one stage in a process of its own that tests can kill."""

import multiprocessing
from multiprocessing.process import BaseProcess
from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["guidegen.train.run"])


def train_stage(root: str, stage: str) -> None:
    from guidegen.study import Study
    from guidegen.train.run import STAGES

    STAGES[stage](Study.load(Path(root)))


def start_training(root: Path, stage: str) -> BaseProcess:
    process = CONTEXT.Process(target=train_stage, args=(str(root), stage))
    process.start()
    return process
