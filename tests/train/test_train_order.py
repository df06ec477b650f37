"""The order in which cases are seen, and the share of each collection."""

from collections import Counter

import pytest
from fresh_stages import build_stage

from guidegen.stages import NETWORKS
from guidegen.study import Study
from guidegen.train.cohort import CohortCase
from guidegen.train.order import pick_cases, spread_cases


def test_order_is_seeded_and_shows_every_case_once_per_epoch():
    cases = list(range(10))
    seen = [case for index in range(10) for case in pick_cases(cases, 3, index, 5, "stage")]
    assert sorted(seen[:10]) == sorted(seen[10:20]) == cases
    assert seen[:10] != seen[10:20]
    assert pick_cases(cases, 3, 7, 5, "stage") == seen[21:24]
    assert seen != [case for index in range(10) for case in pick_cases(cases, 3, index, 6, "stage")]
    assert spread_cases(cases, 3) == [0, 4, 9]
    assert spread_cases(cases, 30) == cases


def test_collections_have_their_share_and_their_cases_take_turns():
    cases = [
        fabricate_case(f"{name}{i}", name) for name, count in (("a", 3), ("b", 30), ("c", 7)) for i in range(count)
    ]
    shares = {"a": 0.5, "missing": 0.2}
    seen = [case for index in range(1000) for case in pick_cases(cases, 2, index, 5, "stage", shares)]
    counts = Counter(case.collection for case in seen)
    # the share of a collection without cases goes to all by their own: 0.5 : 0.5 of what is not missing
    assert counts["a"] == 1000
    each = Counter(case.case for case in seen)
    assert {each[f"a{i}"] for i in range(3)} <= {333, 334}
    rest = [each[case.case] for case in cases if case.collection != "a"]
    assert max(rest) - min(rest) <= 1
    assert [case.case for case in pick_cases(cases, 2, 700, 5, "stage", shares)] == [c.case for c in seen[1400:1402]]
    assert len({case.collection for case in seen[:8]}) > 1


@pytest.mark.parametrize("name", NETWORKS)
def test_every_stage_draws_collections_by_their_shares(name, trained_study):
    study = Study.load(trained_study)
    train = study.config.train.model_copy(update={"collection_shares": {"tcga_lihc": 1.0}})
    stage = build_stage(name, Study(study.root, study.config.model_copy(update={"train": train})))
    collections = {case.case: case.collection for case in stage.cases}
    assert set(collections.values()) > {"tcga_lihc"}
    assert {collections[case] for index in range(6) for case in stage.draw_batch(index).cases} == {"tcga_lihc"}


def test_shares_that_leave_nothing_leave_the_others_out():
    cases = [fabricate_case("a0", "a"), fabricate_case("b0", "b")]
    assert {pick_cases(cases, 1, index, 0, "stage", {"a": 1.0})[0].case for index in range(20)} == {"a0"}


def fabricate_case(case: str, collection: str) -> CohortCase:
    return CohortCase(case, case, collection, "train", None, None, None, None, ())
