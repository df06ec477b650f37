import importlib.util
from pathlib import Path

import pytest

spec = importlib.util.spec_from_file_location("fabricated_results", Path(__file__).parent / "fabricated_results.py")
assert spec
assert spec.loader
fabricated = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fabricated)


@pytest.fixture(scope="session")
def results():
    """The module that fabricates a finished study."""
    return fabricated


@pytest.fixture(scope="session")
def obedient_study(tmp_path_factory: pytest.TempPathFactory):
    """A finished study whose generated cases are what their prompts ask for; tests do not alter it."""
    return fabricated.fabricate_results(tmp_path_factory.mktemp("results") / "study")
