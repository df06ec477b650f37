"""The cohort page of the report: counts from index to cohort, reasons, people, and what is missing."""

import json
from collections.abc import Iterable

import pytest
from fabricated_study import fabricate_study

from guidegen.prepare.run import prepare_cohort
from guidegen.report.blocks import Charts, Part, Table
from guidegen.report.cohort_part import describe_cohort
from guidegen.report.study_tables import StudyTables
from guidegen.study import Study
from guidegen.tables import read_tsv, write_tsv

KINDS = {"0": "ct", "1": "labels", "2": "convert-failed", "3": "mask-failed"}
EXCLUDED = ("collection", "patient", "series_uid", "criterion", "detail")


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> Part:
    """Six patients each of two collections; of the first, two fail, and one's histology and stage are known."""
    study = fabricate_study(tmp_path_factory.mktemp("page") / "study", only=KINDS)
    write_tsv(
        study.root / "data/index/tcga_kirc.excluded.tsv",
        EXCLUDED,
        [{"criterion": "slice_thickness", "series_uid": str(n)} for n in range(3)],
    )
    path = study.root / "data/text/tcga_lihc.tsv"
    rows = read_tsv(path)
    for row in rows[:2]:
        row["statements"] = json.dumps(json.loads(row["statements"]) | {"histology": "HCC", "stage": "I"})
    for row in rows[2:4]:
        row["statements"] = json.dumps({k: v for k, v in json.loads(row["statements"]).items() if k != "sex"})
    write_tsv(path, list(rows[0]), rows)
    prepare_cohort(study)
    return describe_cohort(StudyTables(Study.load(study.root)))


def find_table(part: Part, title: str) -> dict[str, dict[str, str]]:
    (table,) = [block for block in part.blocks if isinstance(block, Table) and block.title.startswith(title)]
    return {row[0].text: dict(zip(table.columns, (cell.text for cell in row), strict=True)) for row in table.rows}


def pick(row: dict[str, str], names: Iterable[str]) -> list[str]:
    return [row[name] for name in names]


def test_the_funnel_counts_every_step_from_index_to_cohort(part: Part) -> None:
    rows = find_table(part, "From index to cohort")
    steps = ("Series left out", "Patients", "Cases indexed", "CT converted", "Label maps", "In cohort")
    assert pick(rows["TCGA-KIRC"], steps) == ["3", "6", "6", "4", "3", "4"]
    assert pick(rows["TCGA-LIHC"], steps) == ["0", "6", "6", "6", "6", "6"]
    assert pick(rows["all"], steps) == ["3", "12", "12", "10", "9", "10"]


def test_everything_that_was_left_out_has_its_reason(part: Part) -> None:
    (table,) = [b for b in part.blocks if isinstance(b, Table) and b.title.startswith("What was left out")]
    found = {(row[0].text, row[1].text): row[2].text for row in table.rows}
    assert found["index", "criterion: slice thickness"] == "3"
    assert found["convert", "failed: no slices"] == "1"
    assert found["mask", "failed: unreadable SEG"] == "1"
    assert found["prepare", "failed: mask: unreadable SEG"] == "1"


def test_what_is_missing_is_counted_by_statement(part: Part) -> None:
    rows = find_table(part, "Cases that lack")
    names = ("Cases", "Age", "Sex", "Histology", "Stage", "Contrast phase", "Covered range", "Smoking")
    assert pick(rows["TCGA-KIRC"], names) == ["4", "0", "0", "4", "4", "4", "0", "4"]
    assert pick(rows["TCGA-LIHC"], names) == ["6", "0", "1", "5", "5", "6", "0", "6"]
    assert pick(rows["all"], names) == ["10", "0", "1", "9", "9", "10", "0", "10"]


def test_people_and_covered_ranges_are_shown(part: Part) -> None:
    assert pick(find_table(part, "Who is in the cohort")["TCGA-LIHC"], ("Female", "Male", "Median age")) == [
        *("3", "3", "52.5")
    ]
    (charts,) = [block for block in part.blocks if isinstance(block, Charts)]
    assert {"Covered range by sex", "Age by sex", "Cases by split"} <= {chart.title for chart in charts.items}
