import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from guidegen.atomic import hash_file
from guidegen.errors import GuideGenError
from guidegen.evaluate.run import evaluate_study
from guidegen.manifest import read_manifest
from guidegen.report.page import PARTS, output_file, write_report
from guidegen.study import Study
from guidegen.tables import read_tsv, write_tsv

SECTIONS = (
    *("summary", "cohort", "quality", "prompts", "training", "synthetic", "adherence", "fidelity"),
    *("intensity", "segmentation", "sources"),
)


class PageReader(HTMLParser):
    """Collects ids, links and addresses that a browser would load."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if "id" in values:
            self.ids.append(values["id"])
        if tag == "a":
            self.links.append(values.get("href", ""))
        else:
            self.loaded += [values[name] for name in ("src", "href", "srcset", "data", "poster") if name in values]


@pytest.fixture(scope="module")
def page(reported_study: Study) -> str:
    return output_file(reported_study).read_text()


@pytest.fixture(scope="module")
def parsed(page: str) -> PageReader:
    reader = PageReader()
    reader.feed(page)
    return reader


def test_every_section_is_there_and_in_the_navigation(parsed: PageReader) -> None:
    assert len(SECTIONS) == len(PARTS)
    assert [name for name in parsed.ids if name in SECTIONS] == list(SECTIONS)
    assert {f"#{name}" for name in SECTIONS} <= set(parsed.links)


def test_nothing_is_loaded_from_outside(page: str, parsed: PageReader) -> None:
    assert {address for address in parsed.loaded if not address.startswith("data:")} == {"run.js"}
    outside = [link for link in parsed.links if re.match(r"[a-z]+:", link)]
    assert outside
    assert all(link.startswith("https://doi.org/") for link in outside)
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_every_file_that_the_page_names_exists(reported_study: Study, parsed: PageReader) -> None:
    folder = output_file(reported_study).parent
    named = {link for link in parsed.links if not link.startswith(("#", "https:"))}
    assert len(named) > 20
    missing = {link for link in named if not (folder / link).exists()}
    assert missing <= {"../../results/provenance/"}


def test_phantoms_are_called_phantoms_and_others_are_not(results, page: str, tmp_path: Path) -> None:
    assert "Phantom data: these are parametric torsos, not patients" in page
    study = results.fabricate_results(tmp_path / "study", patients=4, asked=4, phantom=False)
    assert "Phantom data" not in write_report(study).read_text()


def test_ignored_text_is_said_in_red(page: str) -> None:
    alarms = re.findall(r'<p class="notice alarm" role="alert">(.*?)</p>', page)
    assert any("The text is ignored for" in text for text in alarms)
    assert "text is ignored" in page


def test_set_in_which_not_only_the_text_could_act_is_called_out(small_study: Study) -> None:
    folder = small_study.root / "results/synthetic/adherence"
    for name, column, value in (("prompts.tsv", "spacing_mm", "3,3,5"), ("s000.tsv", "attempts", "2")):
        rows = read_tsv(folder / name)
        write_tsv(folder / name, list(rows[0]), [row | {column: value} for row in rows])
    evaluate_study(small_study)
    page = write_report(small_study).read_text()
    assert '<p class="notice alarm" role="alert">Numeric conditions were given' in page
    assert "2 cases were drawn again after a failed gate" in page


def test_numbers_link_to_the_file_they_came_from(page: str) -> None:
    cells = re.findall(r'<td class="number[^>]*>(.*?)</td>', page)
    assert len(cells) > 200
    assert [cell for cell in cells if cell != "–" and not cell.startswith("<a ")] == []
    assert re.search(r'data/index/tcga_luad\.tsv">12</a>', page)


def test_page_and_volumes_are_the_same_bytes_again_and_small(reported_study: Study) -> None:
    folder = output_file(reported_study).parent
    before = {path: hash_file(path) for path in folder.rglob("*") if path.is_file()}
    write_report(reported_study)
    assert {path: hash_file(path) for path in folder.rglob("*") if path.is_file()} == before
    assert output_file(reported_study).stat().st_size < 10e6
    assert sum(path.stat().st_size for path in before) < 25e6


def test_times_and_machines_are_beside_the_page_and_not_in_it(small_study: Study) -> None:
    study = small_study
    page = write_report(study).read_bytes()
    row = {"phase": "prepare", "job": {}, "start": "2026-01-02T03:04:05Z", "end": "2026-01-02T04:05:07Z", "inputs": {}}
    row |= {"outputs": {"data/cohort/cohort.tsv": "0"}, "code_commit": "0123456789abcdef-dirty", "guidegen": "9.9.9"}
    row |= {"host": "<node-7>", "threads": 2, "scheduler_job": "17"}
    path = study.root / "results" / "provenance" / "run-1" / "prepare.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(row))
    assert write_report(study).read_bytes() == page
    told = (output_file(study).parent / "run.js").read_text()
    for part in ("1 h 01 min 02 s", "2026-01-02 03:04:05", "&lt;node-7&gt; (2 threads, SLURM)", "9.9.9", "run-1"):
        assert part in told
    assert "0123456789ab-dirty" in told
    assert "<node" not in told
    path.write_text("{")
    with pytest.raises(GuideGenError, match=r"prepare\.json: not JSON"):
        write_report(study)


def test_without_a_network_the_page_is_written_and_says_how_to_get_the_viewer(
    small_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9")
    page = write_report(small_study).read_text()
    assert "data-open=" not in page
    assert "run <code>guidegen report --study DIR</code>" in page
    rows = {row["case"]: row for row in read_manifest(small_study.root / "results/report/viewer.tsv")}
    assert rows["niivue"]["status"] == "excluded"
    assert "127.0.0.1:9" in rows["niivue"]["reason"]
    assert rows["train-0000"]["status"] == "ok"


def test_failed_and_flagged_cases_are_named(page: str) -> None:
    assert "failed: slices missing: 3 of 40" in page
    assert "order: lung below liver" in page


def test_study_that_has_only_a_config_says_what_is_missing(reported_study: Study, tmp_path: Path) -> None:
    shutil.copytree(reported_study.root / "config", tmp_path / "study" / "config")
    text = write_report(Study.load(tmp_path / "study")).read_text()
    assert text.count("This phase has not been run yet") == len(SECTIONS) - 2


def test_page_of_a_prompt_with_markup_shows_it_as_text(small_study: Study) -> None:
    path = small_study.root / "data/text/tcga_luad.tsv"
    path.write_text(path.read_text().replace("lung cancer", "<script>alert(1)</script>"))
    text = write_report(small_study).read_text()
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text
