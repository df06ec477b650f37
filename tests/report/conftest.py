import importlib.util
import sys
from pathlib import Path

import pytest

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
def reported_study(tmp_path_factory: pytest.TempPathFactory):
    """An evaluated and reported study whose generated cases ignore their prompts; tests do not alter it."""
    from guidegen.evaluate.run import evaluate_study
    from guidegen.report.page import write_report

    study = fabricated.fabricate_results(tmp_path_factory.mktemp("results") / "study", patients=12, obey=False)
    evaluate_study(study)
    write_report(study)
    return study
