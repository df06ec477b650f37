"""Runs one stage in processes of its own that tests can kill, or that train it together."""

import multiprocessing
import os
import socket
from multiprocessing.process import BaseProcess
from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["guidegen.train.run"])


def train_stage(root: str, stage: str, variables: dict[str, str]) -> None:
    os.environ.update(variables)
    from guidegen.study import Study
    from guidegen.train.run import TRAINERS

    TRAINERS[stage](Study.load(Path(root)))


def start_training(root: Path, stage: str, variables: dict[str, str] | None = None) -> BaseProcess:
    process = CONTEXT.Process(target=train_stage, args=(str(root), stage, variables or {}))
    process.start()
    return process


def start_together(root: Path, stage: str, count: int) -> list[BaseProcess]:
    """Start `count` processes that train one model, told who they are as a launcher tells them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count), "NODE_RANK": "0"}
    return [start_training(root, stage, {**common, "LOCAL_RANK": str(rank)}) for rank in range(count)]
