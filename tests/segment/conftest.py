import sys
from pathlib import Path

import pytest

sys.path += [str(Path(__file__).parents[1] / "prepare"), str(Path(__file__).parent)]


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory):
    """A prepared study with two fabricated synthetic sets; tests add arms and copy it for all else."""
    from fabricated_set import CONFIG, fabricate_set
    from fabricated_study import fabricate_study

    from guidegen.prepare.run import prepare_cohort
    from guidegen.synthesize.plan import plan_set

    made = fabricate_study(tmp_path_factory.mktemp("segment") / "study", config=CONFIG)
    prepare_cohort(made)
    for name in ("train", "stolen"):
        plan_set(made, name)
        fabricate_set(made, name)
    return made
