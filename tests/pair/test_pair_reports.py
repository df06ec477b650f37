"""Pathology reports: sentences are chosen, never written, and nothing that identifies anybody comes with them."""

import json
import re
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guidegen.index.pseudonyms import PRIVATE_COLUMNS, write_private
from guidegen.pair.record import PatientRecord
from guidegen.pair.reports import build_record, hash_reports, merge_report, read_reports
from guidegen.pair.sentences import is_anonymous, select_sentences, split_sentences
from guidegen.statements import Source
from guidegen.study import Study
from guidegen.tables import read_tsv, write_tsv

REPORT = """\
Patient: Jane Q. Miller   MRN 00482913   DOB 03/12/1954   Accession S-10-04417
Surgical pathology, received 12 March 2011, Dr. R. Head, Long Beach General Hospital
DIAGNOSIS:
A. Lymph node, hepatic artery, excision: Negative for tumor.
B. Pancreas, neck margin, excision: Negative for carcinoma.
E. Head of pancreas and duodenum, Whipple resection: Invasive moderately differentiated ductal
adenocarcinoma is identified forming a solid mass (4.3 x 3.5 x
3.1 cm) located in the pancreatic head. The tumor extends beyond the
pancreas to involve the duodenal wall. Multiple (2 of 10) regional lymph nodes are
positive for metastatic adenocarcinoma.
Pathologic stage: pT3 N1 MX.
Reviewed by Dr. Head on 3-14-11; called to Dr. Young, tel. 562 555 0137.
"""


def test_a_report_is_reduced_to_sentences_of_its_own_that_state_something():
    chosen = select_sentences(REPORT)
    assert [sentence.text for sentence in chosen] == [
        "Head of pancreas and duodenum, Whipple resection: Invasive moderately differentiated ductal adenocarcinoma is "
        "identified forming a solid mass (4.3 x 3.5 x 3.1 cm) located in the pancreatic head.",
        "Pathologic stage: pT3 N1 MX.",
    ]
    assert chosen[0].statements == {
        "histology": "ductal adenocarcinoma", "site": "pancreas", "subsite": "head", "size_mm": 43.0,
    }  # fmt: skip
    assert chosen[1].statements == {"t": "pT3", "n": "N1"}


@pytest.mark.parametrize(
    "sentence",
    [
        "Negative for hepatocellular carcinoma.",
        "No evidence of renal cell carcinoma in the left kidney.",
        "Hepatocellular carcinoma is not identified.",
        "Differential diagnosis includes cholangiocarcinoma of the liver.",
        "Suspicious for adenocarcinoma of the colon.",
        "History of adenocarcinoma of the lung.",
        "Adenocarcinoma versus mesothelioma of the pleura.",
        "Probable squamous cell carcinoma of the lung?",
        "Metastatic adenocarcinoma in 3 lymph nodes.",
        "Tumor is 0.4 cm from the margin.",
        "The liver measures 25 x 18 x 10 cm.",
        "Specimen labeled right kidney with mass, 12 x 8 x 6 cm.",
        "Cirrhosis, fibrosis stage 4.",
        "Liver with incomplete cirrhosis (stage 5 out of 6).",
        "Hepatic adenoma, 3 cm.",
        "Gallbladder, cholecystectomy.",
    ],
)
def test_what_is_denied_doubted_or_another_thing_is_not_stated(sentence):
    assert select_sentences(sentence) == []


@pytest.mark.parametrize(
    ("sentence", "stated"),
    [
        ("Tumor size: 4.5 cm in greatest dimension.", {"size_mm": 45.0}),
        ("Right kidney, radical nephrectomy: Clear cell renal cell carcinoma, Fuhrman grade 2.",
         {"histology": "clear cell renal cell carcinoma", "site": "kidney", "side": "right"}),
        ("Hepatocellular carcinoma, moderately differentiated, stage IIIA.",
         {"histology": "hepatocellular carcinoma", "site": "liver", "stage": "IIIA"}),
        ("AJCC pT2N0M0.", {"t": "pT2", "n": "N0", "m": "M0"}),
        ("Squamous cell carcinoma of the left upper lobe of the lung, 32 mm.",
         {"histology": "squamous cell carcinoma", "site": "lung", "subsite": "upper lobe", "side": "left",
          "size_mm": 32.0}),
    ],
)  # fmt: skip
def test_what_sentences_state(sentence, stated):
    (chosen,) = select_sentences(sentence)
    assert chosen.text == sentence
    assert chosen.statements == stated


@pytest.mark.parametrize(
    "sentence",
    [
        "Tumor seen by Dr. Head.",
        "Smith: adenocarcinoma, 3 cm.",
        "Adenocarcinoma of the colon, 3 cm, 12/03/2011.",
        "Adenocarcinoma of the colon, 3 cm, 3 12 11.",
        "Adenocarcinoma of the colon, March 2011.",
        "AJCC pT3 N0 (7th edition, 2010).",
        "S-10-4417: adenocarcinoma.",
        "TCGA-34-2605: squamous cell carcinoma of the lung.",
        "Adenocarcinoma in a 67-year-old woman.",
        "Adenocarcinoma, mailto a.b@c.org.",
        "Adenocarcinoma 20110312 cm.",
        "Adenocarcinoma, Memorial Hospital.",
    ],
)
def test_a_sentence_that_may_identify_somebody_is_not_chosen(sentence):
    assert not is_anonymous(sentence)
    assert select_sentences(sentence) == []


CLINICAL = st.sampled_from(
    [
        "Invasive ductal adenocarcinoma of the pancreas, 3.1 cm.", "Pathologic stage: pT3 N1 M0.",
        "Tumor size: 4.5 cm.", "Clear cell renal cell carcinoma of the left kidney", "Margins are free of tumor.",
        "tumor confined to the kidney", "A. Liver, segment 6: Hepatocellular carcinoma,", "Stage IIB.",
    ]
)  # fmt: skip
NAMES = st.from_regex(r"[A-Z][a-z]{3,9}q[a-z]{1,3}", fullmatch=True)  # no clinical word has a q followed by this
DATES = st.dates().flatmap(
    lambda day: st.sampled_from([day.strftime(f) for f in ("%m/%d/%Y", "%d.%m.%y", "%Y-%m-%d", "%d %B %Y", "%m-%d-%y")])
)
NUMBERS = st.from_regex(r"(?:S|SP|MRN|#)?[- ]?[0-9]{2}-?[0-9]{4,7}", fullmatch=True)
PHONES = st.from_regex(r"\([0-9]{3}\) [0-9]{3}-[0-9]{4}", fullmatch=True)
IDENTIFIERS = NAMES | DATES | NUMBERS | PHONES | st.uuids().map(str)
JOINTS = st.sampled_from([" ", ", ", "; ", ": ", " (", ") ", ". ", "\n", "\n\n", " by ", " of ", "-", "/", ""])


@given(st.lists(st.tuples(CLINICAL | IDENTIFIERS, JOINTS), min_size=1, max_size=12), st.data())
@settings(deadline=None, max_examples=300)
def test_no_identifier_survives_and_each_sentence_is_one_of_the_reports(parts, data):
    planted = data.draw(st.lists(IDENTIFIERS, min_size=1, max_size=3))
    for identifier in planted:
        parts.insert(data.draw(st.integers(0, len(parts))), (identifier, data.draw(JOINTS)))
    report = "".join(text + joint for text, joint in parts)
    sentences = split_sentences(report)
    for chosen in select_sentences(report):
        assert chosen.text == sentences[chosen.number - 1]
        assert chosen.text in " ".join(report.split())
        for identifier in planted:
            assert identifier not in chosen.text
        assert not re.search(r"\d{4}|\d+[/.-]\d+[/.-]\d+|@|[0-9a-f]{8}-", chosen.text)


@given(st.text(max_size=300))
@settings(deadline=None, max_examples=200)
def test_any_text_can_be_split_and_loses_nothing_but_white_space(text):
    assert "".join("".join(split_sentences(text)).split()) == "".join(text.split())


def test_sentences_that_disagree_state_nothing_and_are_reported():
    record = build_record("Adenocarcinoma of the colon, 3 cm.\nTumor size: 5 cm.", "p", "reports.tsv", "text")
    assert record.values == {"histology": "adenocarcinoma", "site": "colon"}
    assert record.conflicts == [
        "size_mm: reports.tsv says different things of p: “Adenocarcinoma of the colon, 3 cm.” / “Tumor size: 5 cm.”"
    ]
    assert record.sources["site"] == Source(
        kind="report", name="reports.tsv", field="text", row="p", value="Adenocarcinoma of the colon, 3 cm."
    )


def test_the_table_goes_before_the_report_and_what_contradicts_is_said():
    table = Source(kind="table", name="c.tsv", field="t", row="p", value="T2")
    record = PatientRecord({"t": "T2", "stage": "I"}, {"t": table, "stage": table.model_copy(update={"field": "s"})},
                           ["histology: c.tsv has different rows for p: …"])  # fmt: skip
    report = build_record("Adenocarcinoma of the colon, pT2 N0, stage IIA.", "p", "r.tsv", "text")
    merge_report(record, report)
    assert record.values == {"t": "T2", "stage": "I", "n": "N0", "site": "colon"}
    assert record.sources["n"].kind == "report"
    assert record.conflicts[1:] == ["stage: c.tsv s says T2, r.tsv says IIA"]


@pytest.fixture
def reported(phantom_study: Study, tmp_path: Path) -> Path:
    """The phantom study with a table of reports for one collection; one of them is of somebody else."""
    root = tmp_path / "study"
    shutil.copytree(phantom_study.root, root, ignore=shutil.ignore_patterns("archive"))
    cases = [row for row in read_tsv(root / "data" / "text" / "tcga_kirc.tsv") if row["variant"] == "0"]
    patient = cases[0]["case"].split("__")[1]
    rows = [
        {"patient_id": patient, "text": "Mrs. Miller, 12/03/1999.\nChromophobe renal cell carcinoma, stage IV."},
        {"patient_id": "TCGA-ZZ-0000", "text": "Oncocytoma."},
    ]
    write_tsv(root / "reports.tsv", ["patient_id", "text"], rows)
    clinical = root / "data" / "raw" / "tcga_kirc" / "clinical" / "clinical.tsv"
    known = read_tsv(clinical)
    blank = {"ajcc_pathologic_stage": "'--"}
    write_tsv(clinical, list(known[0]), [row | blank if patient in row.values() else row for row in known])
    return root


def set_reports(root: Path, setting: str) -> None:
    path = root / "config" / "config.yaml"
    text = path.read_text()
    assert "  reports: {}\n" in text
    path.write_text(text.replace("  reports: {}\n", f"  reports: {{tcga_kirc: {setting}}}\n"))


def test_a_study_states_what_its_reports_say_with_the_sentence_as_source(reported: Path, run_here):
    assert hash_reports(Study.load(reported), "tcga_kirc") == ""
    set_reports(reported, "{path: reports.tsv, column: text}")
    assert hash_reports(Study.load(reported), "tcga_kirc")
    run_here("pair", "--collection", "tcga_kirc", "--study", reported)
    row = read_tsv(reported / "data" / "text" / "tcga_kirc.tsv")[0]
    sources = json.loads(row["sources"])
    assert json.loads(row["statements"])["stage"] == "IV"
    assert sources["stage"] == {
        "kind": "report", "name": "reports.tsv", "field": "text", "row": row["case"].split("__")[1],
        "value": "Chromophobe renal cell carcinoma, stage IV.",
    }  # fmt: skip
    assert "Miller" not in (reported / "data" / "text" / "tcga_kirc.tsv").read_text()
    shown = run_here("pair", "--show", row["case"], "--study", reported)
    assert "<- report: reports.tsv, text, " in shown


def test_reports_may_be_text_files_named_after_the_patients(reported: Path, run_here):
    table = read_tsv(reported / "reports.tsv")
    (reported / "reports").mkdir()
    for row in table:
        (reported / "reports" / f"{row['patient_id']}.txt").write_text(row["text"])
    set_reports(reported, "{path: reports}")
    before = hash_reports(Study.load(reported), "tcga_kirc")
    run_here("pair", "--collection", "tcga_kirc", "--study", reported)
    row = read_tsv(reported / "data" / "text" / "tcga_kirc.tsv")[0]
    assert json.loads(row["sources"])["stage"]["kind"] == "report"
    (reported / "reports" / "TCGA-ZZ-0000.txt").write_text("Oncocytoma, 2 cm.")
    assert hash_reports(Study.load(reported), "tcga_kirc") != before


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("{path: nowhere.tsv, column: text}", "no such folder or table"),
        ("{path: reports.tsv}", "is a table; `column` names the text column"),
        ("{path: reports.tsv, column: ocr}", "no column 'ocr'; found patient_id, text"),
        ("{path: data, column: text}", "is a folder, which has no columns"),
        ("{path: data}", "has no report of any of 3 patients"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason(reported: Path, setting: str, message: str, call):
    set_reports(reported, setting)
    done = call("pair", "--collection", "tcga_kirc", "--study", reported, check=False)
    assert done.returncode == 2
    assert re.search(message, " ".join(done.stderr.split()))


def test_reports_of_a_private_collection_are_found_by_the_real_id_and_cited_by_the_pseudonym(tmp_path: Path):
    shutil.copytree(Path(__file__).parents[2] / "config", tmp_path / "config", ignore=shutil.ignore_patterns("presets"))
    (tmp_path / "config" / "config.yaml").write_text(
        "study: {name: lab, collections: []}\n"
        "index: {local: {hospital: {folder: ct, site: liver}}}\n"
        "pair: {reports: {hospital: {path: reports}}}\n"
    )
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "Miller-1954.txt").write_text("Miller, Jane.\nHepatocellular carcinoma, 3 cm.")
    study = Study.load(tmp_path)
    row = dict.fromkeys(PRIVATE_COLUMNS, "") | {"patient_id": "0a1b2c3d4e5f", "source_patient_id": "Miller-1954"}
    write_private(study, "hospital", [row])
    found = read_reports(study, "hospital", ["0a1b2c3d4e5f"])
    assert list(found) == ["0a1b2c3d4e5f"]
    assert found["0a1b2c3d4e5f"].values == {"histology": "hepatocellular carcinoma", "site": "liver", "size_mm": 30.0}
    assert "Miller" not in repr(found)
