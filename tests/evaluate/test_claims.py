import numpy as np
import pytest

from guidegen.evaluate.bootstrap import draw_weights
from guidegen.evaluate.claims import judge_claims
from guidegen.evaluate.published import describe_data, read_published
from guidegen.prepare.cohort import read_cohort
from guidegen.seeds import derive_rng
from guidegen.study import Study

PATIENTS = 12


def claim(study: Study, **dice: float) -> dict[str, dict]:
    """Judge arms whose Dice is the given one for all organs and nearly all patients."""
    scatter = np.random.default_rng(4).normal(0, 0.01, (PATIENTS, len(study.labels)))
    scores = {name: np.clip(scatter + value, 0, 1) for name, value in dice.items()}
    for values in scores.values():
        values[:, study.labels.ids["tumour"]] = 0
    weights = draw_weights(derive_rng(1), [str(i) for i in range(PATIENTS)], 300)
    return {row["variant"]: row for row in judge_claims(study, scores, weights)}


def test_claims_are_judged_by_the_thresholds_of_the_config(obedient_study: Study) -> None:
    found = claim(obedient_study, real=0.8, synthetic=0.78, both=0.81, finetuned=0.7)
    assert {name: row["verdict"] for name, row in found.items()} == {
        **{"synthetic": "shown", "both": "shown", "finetuned": "missed"}
    }
    assert found["synthetic"]["claim"] == "share"
    assert found["synthetic"]["threshold"] == obedient_study.config.evaluate.synthetic_share
    assert found["synthetic"]["figure"]["value"] == pytest.approx(0.78 / 0.8, abs=0.01)
    assert found["both"]["claim"] == "non-inferiority"
    assert found["both"]["threshold"] == -obedient_study.config.evaluate.inferiority_margin


def test_figure_on_the_right_side_with_an_interval_that_is_not_is_no_proof(obedient_study: Study) -> None:
    rng = np.random.default_rng(0)
    real = np.full((PATIENTS, len(obedient_study.labels)), 0.8)
    both = real + rng.choice([-0.2, 0.2], (PATIENTS, 1))
    weights = draw_weights(derive_rng(1), [str(i) for i in range(PATIENTS)], 300)
    (row,) = judge_claims(obedient_study, {"real": real, "both": both - both.mean() + 0.8}, weights)
    assert row["figure"]["low"] < row["threshold"] < row["figure"]["value"]
    assert row["verdict"] == "not shown"


def test_without_an_arm_on_real_cases_nothing_is_claimed(obedient_study: Study) -> None:
    assert claim(obedient_study, synthetic=0.9) == {}


def test_published_figures_and_the_line_on_our_data(obedient_study: Study) -> None:
    for part, first in (("fidelity", {"what": "CT", "measure": "FVD", "system": "GuideGen", "value": 791.0}),):
        figures = read_published(part)["figures"]
        assert any(first.items() <= row.items() for row in figures)
    organs = [row for row in read_published("segmentation")["figures"] if row["data"] == "BTCV"]
    assert [row["value"] for row in organs] == [0.79, 0.74, 0.69]
    found = describe_data(obedient_study, read_cohort(obedient_study))
    assert found["phantoms"] is True
    assert "phantoms, not of patients: 2 collections, 24 training and 10 test patients" in found["line"]
