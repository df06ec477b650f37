"""Trained models for the tests of this folder."""

import os
import sys
from pathlib import Path

import pytest

from guidegen.study import Study

sys.path.append(str(Path(__file__).parent))
from trained_models import TrainedModels

CLONE = Path(__file__).parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("demo")


@pytest.fixture(scope="session")
def trained() -> TrainedModels:
    """The models of the finished study in GUIDEGEN_DEMO, by default the demo of this clone."""
    root = Path(os.environ.get("GUIDEGEN_DEMO") or CLONE / "studies" / "demo")
    if not (root / "results" / "models" / "latent_generator" / "model.json").is_file():
        pytest.skip(f"{root} has no trained models: run `make demo`, or set GUIDEGEN_DEMO to a finished study")
    return TrainedModels(Study.load(root.resolve()))
