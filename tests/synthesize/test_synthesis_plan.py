from pathlib import Path

import pytest

from guidegen.config import load_config
from guidegen.errors import GuideGenError
from guidegen.prepare.cohort import read_cohort
from guidegen.study import Study
from guidegen.synthesize.plan import plan_set, read_plan
from guidegen.tables import read_tsv


def change_config(study: Study, old: str, new: str) -> Study:
    text = (study.root / "config/config.yaml").read_text()
    assert old in text
    path = study.root / "config" / "other.yaml"
    path.write_text(text.replace(old, new))
    return Study(study.root, load_config(path))


def test_training_set_uses_no_prompt_of_a_held_out_patient(study: Study) -> None:
    split = {case.case: case.split for case in read_cohort(study)}
    rows = plan_set(study, "train")
    assert len(rows) == 5
    assert {split[row["source_case"]] for row in rows} == {"train"}
    told = {
        row["prompt"] for row in read_tsv(study.root / "data/cohort/text/prompts.tsv") if split[row["case"]] == "train"
    }
    assert {row["prompt"] for row in rows} <= told


def test_adherence_set_uses_test_prompts_and_nulls_the_numbers(study: Study) -> None:
    split = {case.case: case.split for case in read_cohort(study)}
    plan_set(study, "adherence")
    requests = read_plan(study, "adherence")
    assert {split[request.source_case] for request in requests} == {"test"}
    assert all(request.spacing is None and request.coverage is None for request in requests)
    rows = read_tsv(study.root / "results/synthetic/adherence/prompts.tsv")
    assert all(row["spacing_mm"] == row["coverage_top"] == row["coverage_bottom"] == "" for row in rows)


def test_numeric_conditions_are_those_of_the_source_case(study: Study) -> None:
    plan_set(study, "train")
    cohort = {case.case: case for case in read_cohort(study)}
    for request in read_plan(study, "train"):
        assert request.spacing == cohort[request.source_case].spacing
        assert request.coverage == cohort[request.source_case].coverage


def test_sources_are_dealt_before_any_is_used_again(study: Study) -> None:
    larger = change_config(study, "train, cases: 5", "train, cases: 20")
    rows = plan_set(larger, "train")
    sources = sorted(case.case for case in read_cohort(study) if case.split == "train")
    assert sorted(row["source_case"] for row in rows[: len(sources)]) == sources
    assert sorted({row["shard"] for row in rows}) == larger.config.synthesize.list_shards("train")


def test_a_larger_set_starts_with_the_smaller_one(study: Study) -> None:
    small = plan_set(study, "train")
    large = plan_set(change_config(study, "train, cases: 5", "train, cases: 40"), "train")
    assert large[:5] == small
    assert len({row["seed"] for row in large}) == 40


def test_unknown_set_and_shard_are_named_with_those_that_exist(study: Study, tmp_path: Path) -> None:
    plan_set(study, "train")
    with pytest.raises(GuideGenError, match="no set 'trian'; the config has train, adherence"):
        plan_set(study, "trian")
    with pytest.raises(GuideGenError, match="no shard 's009'; it has s000, s001"):
        read_plan(study, "train", "s009")
    elsewhere = Study(tmp_path, study.config)
    with pytest.raises(GuideGenError, match="guidegen synthesize --plan --set train"):
        read_plan(elsewhere, "train")
