import sys
from pathlib import Path

import pytest

from guidegen.study import Study

sys.path += [str(Path(__file__).parents[1] / name) for name in ("prepare", "synthesize", "report")]
from fabricated_study import fabricate_study
from random_models import save_random_models


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A prepared study with tiny models of random weights."""
    from guidegen.prepare.run import prepare_cohort

    made = fabricate_study(tmp_path_factory.mktemp("explore") / "study", config="\nprepare: {grid: 16}\n")
    prepare_cohort(made)
    save_random_models(made)
    return made
