"""A fabricated study with a prepared cohort and tiny models with random weights."""

import sys
from pathlib import Path

import pytest

from guidegen.study import Study

sys.path += [str(Path(__file__).parent), str(Path(__file__).parents[1] / "prepare")]
from fabricated_study import fabricate_study
from random_models import save_random_models

CONFIG = """
prepare: {grid: 16}
synthesize:
  cases_per_shard: 3
  max_attempts: 2
  sets:
    train: {split: train, cases: 5}
    adherence: {split: test, cases: 3, numeric_conditions: false, reject: false}
"""


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Tests that write use sets and folders of their own."""
    from guidegen.prepare.run import prepare_cohort

    made = fabricate_study(tmp_path_factory.mktemp("synthesize") / "study", config=CONFIG)
    prepare_cohort(made)
    save_random_models(made)
    return made
