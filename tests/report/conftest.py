import importlib.util
import os
import shutil
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from guidegen.study import Study

sys.path.append(str(Path(__file__).parent))
SOURCE = Path(__file__).parents[1] / "evaluate" / "fabricated_results.py"
spec = importlib.util.spec_from_file_location("fabricated_results", SOURCE)
assert spec
assert spec.loader
fabricated = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fabricated)


@pytest.fixture(scope="session")
def results():
    """The module that fabricates a finished study."""
    return fabricated


@pytest.fixture(scope="session")
def small_results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small finished study without evaluation and report."""
    return fabricated.fabricate_results(tmp_path_factory.mktemp("small") / "study", patients=4, asked=4).root


@pytest.fixture
def small_study(small_results: Path, tmp_path: Path) -> Study:
    """A copy of it that a test may alter."""
    shutil.copytree(small_results, tmp_path / "study")
    return Study.load(tmp_path / "study")


@pytest.fixture(scope="session")
def reported_study(tmp_path_factory: pytest.TempPathFactory):
    """An evaluated and reported study whose generated cases ignore their prompts; tests do not alter it.

    Parallel test workers share one: the first makes it, the others wait.
    """
    from guidegen.evaluate.run import evaluate_study
    from guidegen.report.page import write_report

    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "reported"
    with FileLock(f"{folder}.lock"):
        if not (folder / "done").exists():
            study = fabricated.fabricate_results(folder / "study", patients=12, obey=False)
            evaluate_study(study)
            write_report(study)
            (folder / "done").touch()
    return Study.load(folder / "study")
