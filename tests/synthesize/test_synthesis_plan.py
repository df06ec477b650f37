import json
import shutil
from pathlib import Path

import pytest

from guidegen.config import load_config
from guidegen.errors import GuideGenError
from guidegen.pair.parse import read_statements
from guidegen.prepare.cohort import read_cohort
from guidegen.statements import Statements
from guidegen.study import Study
from guidegen.synthesize.contradictions import find_contradictions
from guidegen.synthesize.design import count_cells, list_cells
from guidegen.synthesize.plan import plan_set, read_plan
from guidegen.synthesize.settings import DesignSettings
from guidegen.tables import read_tsv, write_tsv

DESIGN = """
    designed:
      cases: 48
      design:
        sex: [female, male]
        age: [[40, 59], [60, 80]]
        site: [kidney, liver, none]
        side: [left, right]
        size_mm: [[10, 30]]
        phase: [portal venous]
        coverage: [[chest, pelvis], [chest, upper abdomen]]
"""


def change_config(study: Study, old: str, new: str) -> Study:
    text = (study.root / "config/config.yaml").read_text()
    assert old in text
    path = study.root / "config" / "other.yaml"
    path.write_text(text.replace(old, new))
    return Study(study.root, load_config(path))


def add_set(study: Study, text: str) -> Study:
    return change_config(study, "  sets:\n", f"  sets:{text.rstrip()}\n")


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


def test_a_balanced_set_asks_for_a_tumour_in_half_of_its_cases(study: Study) -> None:
    """The rarer kind comes again, in another wording and from the same patients of the split."""
    own = change_config(study, "train, cases: 5", "train, cases: 16, balance_tumour: true")
    rows = plan_set(own, "train")
    assert [bool(json.loads(row["statements"])["tumour"]) for row in rows] == [True, False] * 8
    learned = {case.case for case in read_cohort(study) if case.split == "train"}
    known = read_tsv(study.root / "data/cohort/text/prompts.tsv")
    for asks in (True, False):
        prompts = {}
        for row in rows[not asks :: 2]:
            prompts.setdefault(row["source_case"], []).append(row["prompt"])
        stated = {row["case"] for row in known if json.loads(row["statements"])["tumour"] == asks}
        assert 1 < len(prompts) < 8
        assert set(prompts) == stated & learned
        used = [len(told) for told in prompts.values()]
        assert max(used) - min(used) <= 1
        assert all(len(set(told[:2])) == len(told[:2]) for told in prompts.values())
    large = change_config(study, "train, cases: 5", "train, cases: 40, balance_tumour: true")
    assert plan_set(large, "train")[:16] == rows


def test_a_set_that_cannot_be_balanced_says_which_prompts_are_missing(study: Study, tmp_path: Path) -> None:
    shutil.copytree(study.root, tmp_path / "study", ignore=shutil.ignore_patterns("models", "synthetic"))
    path = tmp_path / "study/data/cohort/text/prompts.tsv"
    rows = [row | {"statements": json.dumps({"tumour": True})} for row in read_tsv(path)]
    write_tsv(path, list(rows[0]), rows)
    own = change_config(Study.load(tmp_path / "study"), "test, cases: 3,", "test, cases: 3, balance_tumour: true,")
    with pytest.raises(GuideGenError, match=r"no prompt without a tumour in split 'test'; .*adherence\.balance_tumour"):
        plan_set(own, "adherence")


def test_unknown_set_and_shard_are_named_with_those_that_exist(study: Study, tmp_path: Path) -> None:
    plan_set(study, "train")
    with pytest.raises(GuideGenError, match="no set 'trian'; the config has train, adherence"):
        plan_set(study, "trian")
    with pytest.raises(GuideGenError, match="no shard 's009'; it has s000, s001"):
        read_plan(study, "train", "s009")
    elsewhere = Study(tmp_path, study.config)
    with pytest.raises(GuideGenError, match="guidegen synthesize --plan --set train"):
        read_plan(elsewhere, "train")


def test_a_design_asks_for_every_level_equally_often_and_says_so(study: Study) -> None:
    own = add_set(study, DESIGN)
    rows = plan_set(own, "designed")
    design = own.config.synthesize.sets["designed"].design
    assert design
    said = [Statements.model_validate_json(row["statements"]) for row in rows]
    assert [read_statements(row["prompt"]) for row in rows] == said
    found = count_cells(design, [(each, "ok" if place % 2 else "failed") for place, each in enumerate(said)])
    # Sides count for the kidney only; size does not count without a mass: 2 x 2 x (2 + 1 + 1) x 2 cells.
    assert found["cells"] == {"design": 32, "asked": 32, "ok": len({repr(s) for s in map(_cell, said[1::2])})}
    assert found["levels"]["sex"]["female"]["asked"] == found["levels"]["sex"]["male"]["asked"] == 24
    assert {level: counts["asked"] for level, counts in found["levels"]["site"].items()} == {
        "kidney": 16,
        "liver": 16,
        "none": 16,
    }
    assert found["levels"]["coverage"]["chest to pelvis"]["asked"] == 24
    assert sum(counts["ok"] for counts in found["levels"]["age"].values()) == 24


def _cell(said: Statements) -> tuple:
    age = said.age is not None and said.age < 60
    return said.sex, age, said.tumour, said.site, said.side, said.coverage_last


def test_a_design_borrows_numbers_from_a_case_of_the_split_that_covers_the_same(study: Study) -> None:
    own = add_set(study, DESIGN)
    plan_set(own, "designed")
    cohort = {case.case: case for case in read_cohort(study)}
    requests = read_plan(own, "designed")
    assert any(request.source_case for request in requests)
    for request in requests:
        stated = (request.statements["coverage_first"], request.statements["coverage_last"])
        if request.source_case:
            source = cohort[request.source_case]
            assert source.split == "train"
            assert (source.coverage_first, source.coverage_last) == stated
            assert request.spacing == source.spacing
        else:
            assert all((c.coverage_first, c.coverage_last) != stated for c in cohort.values() if c.split == "train")


def test_impossible_combinations_are_left_out_with_their_reason() -> None:
    design = DesignSettings.model_validate(
        {"sex": ["female", "male"], "site": ["ovary", "lung"], "coverage": [["chest", "chest"], ["pelvis", "pelvis"]]}
    )
    cells, left_out = list_cells(design)
    assert {cell.levels for cell in cells} == {
        (("sex", "female"), ("site", "ovary"), ("coverage", ("pelvis", "pelvis"))),
        (("sex", "female"), ("site", "lung"), ("coverage", ("chest", "chest"))),
        (("sex", "male"), ("site", "lung"), ("coverage", ("chest", "chest"))),
    }
    reasons = {reason for _, reason in left_out}
    assert "a male patient has no ovary" in reasons
    assert "a mass in the lung cannot be seen on a CT of the pelvis" in reasons


@pytest.mark.parametrize(
    ("design", "message"),
    [
        ("{}", "at least one factor"),
        ("{site: [kidny]}", "unknown organ 'kidny'"),
        ("{age: [[80, 40]]}", r"range \[80, 40\]"),
        ("{side: [left]}", "name at least one organ in site"),
        ("{coverage: [[pelvis, chest]]}", "'chest' does not lie below 'pelvis'"),
        ("{sex: [femal]}", "'female' or 'male'"),
    ],
)
def test_a_wrong_design_is_refused_with_its_place(study: Study, design: str, message: str) -> None:
    with pytest.raises(GuideGenError, match=message) as told:
        add_set(study, f"\n    wrong: {{cases: 4, design: {design}}}")
    assert "synthesize.sets.wrong" in str(told.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("own.txt", "68-year-old woman, chest to pelvis\nCT of the pelvis, no mass\n\n"),
        ("own.tsv", "id\tprompt\na\t68-year-old woman, chest to pelvis\nb\tCT of the pelvis, no mass\n"),
        ("own.csv", 'prompt,id\n"68-year-old woman, chest to pelvis",a\n"CT of the pelvis, no mass",b\n'),
    ],
)
def test_prompts_of_a_users_file_are_taken_in_turn(study: Study, name: str, text: str) -> None:
    (study.root / name).write_text(text, encoding="utf-8-sig")
    own = add_set(study, f"\n    own: {{cases: 5, table: {name}}}")
    rows = plan_set(own, "own")
    first, second = "68-year-old woman, chest to pelvis", "CT of the pelvis, no mass"
    assert [row["prompt"] for row in rows] == [first, second, first, second, first]
    assert json.loads(rows[0]["statements"]) == {
        "age": 68,
        "sex": "female",
        "coverage_first": "chest",
        "coverage_last": "pelvis",
    }
    assert len({row["seed"] for row in rows}) == 5


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "chest\n\nabdomen\n", r"a\.txt, prompt 2 is empty"),
        ("b.txt", "\n", r"b\.txt: no prompts"),
        ("c.tsv", "text\nchest\n", r"c\.tsv: column\(s\) prompt missing; found text"),
        ("d.csv", "text\nchest\n", r"d\.csv: column prompt missing; found text"),
        ("e.docx", "chest", r"read from \.txt, \.tsv or \.csv"),
        ("f.txt", "chest\nLeft kidney removed, mass in the left kidney\n", r"f\.txt, prompt 2 contradicts itself"),
        ("g.txt", "one\ntwo\nthree\nfour\n", r"has 4 prompts, synthesize\.sets\.own\.cases is 3"),
        ("", "", r"missing\.txt: no such file"),
    ],
)
def test_a_users_file_that_cannot_be_used_is_refused_with_its_place(
    study: Study, name: str, text: str, message: str
) -> None:
    if name:
        (study.root / name).write_text(text)
    own = add_set(study, f"\n    own: {{cases: 3, table: {name or 'missing.txt'}}}")
    with pytest.raises(GuideGenError, match=message):
        plan_set(own, "own")


def test_prompts_come_from_one_place(study: Study) -> None:
    with pytest.raises(GuideGenError, match="not from both"):
        add_set(study, "\n    own: {table: a.txt, design: {sex: [male]}}")
    with pytest.raises(GuideGenError, match="balance_tumour chooses among prompts of the cohort"):
        add_set(study, "\n    own: {table: a.txt, balance_tumour: true}")


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("Left kidney removed. 3 cm mass in the left kidney.", True),
        ("Left kidney removed. 3 cm mass in the right kidney.", False),
        ("Status post splenectomy, mass in the spleen", True),
        ("68-year-old man, mass in the left ovary", True),
        ("CT of the chest, 3 cm mass in the urinary bladder", True),
        ("CT of the chest, 3 cm mass in the liver", False),
        ("CT of the chest in a man with urinary bladder cancer", False),
    ],
)
def test_contradictions_are_found_and_nothing_else(text: str, wrong: bool) -> None:
    assert bool(find_contradictions(read_statements(text))) == wrong
