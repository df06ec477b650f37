"""On phantoms every statement is known: prompts say what is true, and each of them has a source."""

import json
import shutil

import pytest

from guidegen.pair.parse import read_statements
from guidegen.statements import Statements
from guidegen.study import Study
from guidegen.tables import read_tsv


def read_rows(study: Study) -> list[dict[str, str]]:
    return [row for name in study.collections for row in read_tsv(study.root / "data" / "text" / f"{name}.tsv")]


@pytest.fixture(scope="module")
def rows(phantom_study: Study) -> list[dict[str, str]]:
    return read_rows(phantom_study)


def read_mask_rows(study: Study) -> dict[str, dict[str, str]]:
    found = {}
    for name in study.collections:
        for shard in study.list_shards(name):
            found |= {r["case"]: r for r in read_tsv(study.manifest("data", "mask", name, shard))}
    return found


def test_every_case_has_a_canonical_prompt_and_its_variants(rows, truth, phantom_study: Study):
    variants = phantom_study.config.pair.variants
    assert {row["case"].split("__")[1] for row in rows} == set(truth)
    assert {row["status"] for row in rows} == {"ok"}
    for case in {row["case"] for row in rows}:
        mine = [row for row in rows if row["case"] == case]
        assert [row["variant"] for row in mine] == [str(n) for n in range(variants + 1)]
        assert len({row["prompt"] for row in mine}) == variants + 1


def test_what_prompts_say_is_what_was_painted(rows, truth):
    for row in rows:
        true, said = truth[row["case"].split("__")[1]], read_statements(row["prompt"])
        assert said.sex == true["sex"]
        assert said.site == true["site"]
        assert (said.coverage_first, said.coverage_last) == (true["coverage_first"], true["coverage_last"])
        assert said.phase in (None, true["phase"])
        assert said.age is None or said.age == int(true["age"])
        assert (said.tumour is True) == (true["tumour"] == "true")
        measured = [organ for organ in said.absent if organ != "uterus"]
        if true["coverage_first"] == "upper abdomen" or true["coverage_last"] == "pelvis":
            assert measured == [organ for organ in true["absent"].split(",") if organ]
        else:
            assert set(measured) <= set(true["absent"].split(","))
        if said.tumour:
            assert said.tumour_size_mm == pytest.approx(float(true["tumour_diameter_mm"]), abs=0.51)
            assert (said.side or "") == true["tumour_side"]


def test_measurements_equal_the_truth(phantom_study: Study, truth):
    for case, row in read_mask_rows(phantom_study).items():
        true = truth[case.split("__")[1]]
        assert row["status"] == "ok"
        assert float(row["coverage_top"]) == pytest.approx(float(true["coverage_top"]), abs=0.05)
        assert float(row["coverage_bottom"]) == pytest.approx(float(true["coverage_bottom"]), abs=0.05)
        assert row["tumour_annotated"] == true["tumour"]
        if true["tumour"] == "true":
            assert float(row["tumour_size_mm"]) == pytest.approx(float(true["tumour_diameter_mm"]), abs=0.01)
            assert float(row["tumour_volume_ml"]) == pytest.approx(float(true["tumour_volume_ml"]), abs=0.01)
            assert row["tumour_site"] == {"rectum": "colon"}.get(true["site"], true["site"])


def test_every_statement_has_a_source_that_shows_its_value(rows):
    for row in rows:
        statements = json.loads(row["statements"])
        sources = json.loads(row["sources"])
        Statements.model_validate(statements)
        wanted = set(statements) - {"absent"} | {f"absent.{organ}" for organ in statements.get("absent", ())}
        assert wanted == set(sources)
        for source in sources.values():
            assert source["kind"] in ("table", "dicom", "measurement")
            assert source["name"]
            assert source["value"]
        if "age" in statements and sources["age"]["kind"] == "table" and "days" not in sources["age"]["field"]:
            assert sources["age"]["row"] == row["case"].split("__")[1]


def test_all_wordings_of_a_case_state_the_same(rows):
    for row in rows:
        assert read_statements(row["prompt"]) == Statements.model_validate(json.loads(row["statements"]))
        assert not [text for text in json.loads(row["conflicts"]) if "parser" in text]


def test_the_prompt_table_is_the_same_without_the_truth_and_from_the_same_seed(
    phantom_study: Study, tmp_path, run_here
):
    root = tmp_path / "again"
    shutil.copytree(phantom_study.root, root, ignore=shutil.ignore_patterns("archive"))
    table = root / "data" / "text" / "tcga_kirc.tsv"
    before = table.read_bytes()
    table.unlink()
    run_here("pair", "--collection", "tcga_kirc", "--study", root)
    assert table.read_bytes() == before


def test_show_prints_prompt_statements_and_sources(phantom_study: Study, rows, run_here):
    row = next(r for r in rows if json.loads(r["statements"]).get("tumour"))
    shown = run_here("pair", "--show", row["case"], "--study", phantom_study.root)
    assert row["prompt"] in " ".join(shown.split())
    assert "<- measurement: tumour_size_mm, dicom_seg = " in shown


def test_an_unknown_case_is_an_error(phantom_study: Study, call):
    done = call("pair", "--show", "tcga_kirc__nobody__00000000", "--study", phantom_study.root, check=False)
    assert done.returncode == 2
    assert "no such case in tcga_kirc" in done.stderr
