"""Two real patients: the statements are exactly what the clinical rows say."""

import os
import re
from pathlib import Path

import pytest

from guidegen.pair.clinical import read_clinical, read_rows
from guidegen.pair.join import join_case
from guidegen.pair.parse import read_statements
from guidegen.pair.record import build_record
from guidegen.pair.reports import build_record as build_report_record
from guidegen.pair.sentences import select_sentences, split_sentences
from guidegen.pair.settings import PairSettings
from guidegen.pair.write import write_prompt
from guidegen.statements import Statements
from guidegen.study import Collection

pytestmark = pytest.mark.real
REALDATA = Path(os.environ.get("GUIDEGEN_REALDATA", Path(__file__).parents[2].parent / "shared" / "realdata"))
CLINICAL = REALDATA / "clinical"
IDENTIFYING = re.compile(r"TCGA|UUID|\d{4}|\d+[/-]\d+[/-]\d+|\b(?:Dr|Mrs?|MD|M\.D|Hospital|Name)\b|@", re.I)
NEIGHBOURS = {
    "pancreas": {"pancreas", "duodenum", "stomach", "spleen", "small bowel", "colon", "liver"},
    "liver": {"liver"},
}
"""Organs that a report on a cancer of the key may call the site: ampullary tumours are among the pancreatic ones."""
HEADER = {"sex": "", "age": "", "phase": "", "phase_source": "", "description": ""}


@pytest.fixture(autouse=True)
def need_data() -> None:
    if not CLINICAL.is_dir():
        pytest.skip(f"no clinical tables at {CLINICAL}; set GUIDEGEN_REALDATA to the folder that holds them")


def join(table: str, patient: str, site: str, header: dict[str, str] | None = None, **settings):
    record = build_record(read_clinical(CLINICAL / table, [patient]), patient, {})
    collection = Collection("real", "real", site, "", "", "gdc", "local")
    return join_case(record, HEADER | (header or {}), None, collection, PairSettings(**settings))


def test_tcga_34_2605():
    case = join("gdc_tcga_lusc_clinical_subset.tsv", "TCGA-34-2605", "lung", {"sex": "male", "age": "76"})
    assert case.build() == Statements.model_validate(
        {
            "age": 76,
            "sex": "male",
            "site": "lung",
            "subsite": "upper lobe",
            "histology": "squamous cell carcinoma",
            "stage": "IIIB",
            "t": "T4",
            "n": "N1",
            "m": "M0",
        }
    )
    assert case.conflicts == []
    sources = {name: (source.field, source.value) for name, source in case.sources.items()}
    assert sources == {
        "age": ("age_at_index", "76"),
        "sex": ("gender", "male"),
        "site": ("tissue_or_organ_of_origin", "Upper lobe, lung"),
        "subsite": ("tissue_or_organ_of_origin", "Upper lobe, lung"),
        "histology": ("primary_diagnosis", "Squamous cell carcinoma, NOS"),
        "stage": ("ajcc_pathologic_stage", "Stage IIIB"),
        "t": ("ajcc_pathologic_t", "T4"),
        "n": ("ajcc_pathologic_n", "N1"),
        "m": ("ajcc_pathologic_m", "M0"),
    }
    assert write_prompt(case.build()) == (
        "76-year-old man with squamous cell carcinoma of the upper lobe of the lung, stage IIIB, T4 N1 M0."
    )


C3L_00189 = {
    "age": 68,
    "sex": "female",
    "site": "pancreas",
    "subsite": "head",
    "histology": "ductal adenocarcinoma",
    "stage": "IIB",
    "t": "pT2",
    "n": "pN1",
    "m": "pM0",
    "absent": ("gallbladder", "uterus"),
    "smoking": "former",
}


def test_c3l_00189():
    case = join("cptac_pdac_clinical_140.tsv", "C3L-00189", "pancreas")
    assert case.build() == Statements.model_validate(C3L_00189)
    stated = join("cptac_pdac_clinical_140.tsv", "C3L-00189", "pancreas", pathology_size="state")
    assert stated.build() == Statements.model_validate(C3L_00189 | {"tumour_size_mm": 27.0})
    assert (stated.sources["tumour_size_mm"].field, stated.sources["tumour_size_mm"].value) == ("tumor_size_cm", "2.7")
    prompt = write_prompt(stated.build())
    assert "ductal adenocarcinoma of the head of the pancreas, stage IIB, pT2 pN1 pM0, 2.7 cm at pathology" in prompt


def test_the_pan_cancer_table_says_the_same_of_the_same_patient():
    found = join("tcga_cdr_subset.tsv", "TCGA-34-2605", "lung").build()
    assert (found.age, found.sex, found.histology, found.stage) == (76, "male", "squamous cell carcinoma", "IIIB")


@pytest.mark.parametrize(
    ("table", "site"),
    [
        ("gdc_tcga_lusc_clinical_subset.tsv", "lung"),
        ("cptac_pdac_clinical_140.tsv", "pancreas"),
        ("tcga_cdr_subset.tsv", "lung"),
    ],
)
def test_every_patient_of_the_real_tables_can_be_worded_and_read_back(table, site):
    patients = list(read_clinical(CLINICAL / table, ["TCGA-34-2605", "C3L-00189"]).rows)
    assert len(patients) >= 23
    for patient in patients:
        case = join(table, patient, site, pathology_size="state")
        statements = case.build()
        assert statements.age is not None
        assert statements.sex is not None
        assert statements.histology
        for variant in range(6):
            assert read_statements(write_prompt(statements, 3, variant)) == statements


@pytest.mark.parametrize(
    ("table", "site", "share"),
    [("tcga_path_reports_pancreas.tsv", "pancreas", 0.6), ("tcga_path_reports_liver.tsv", "liver", 0.4)],
)
def test_real_pathology_reports_give_statements_and_no_identifier(table, site, share):
    """Scanned reports with all the faults of character recognition: the pathologists' own words or nothing."""
    rows, _ = read_rows(CLINICAL / table)
    read = elsewhere = 0
    for row in rows:
        sentences = split_sentences(row["ocr_text"])
        for chosen in select_sentences(row["ocr_text"]):
            assert chosen.text == sentences[chosen.number - 1]
            assert not IDENTIFYING.search(chosen.text), chosen.text
            assert row["patient_id"] not in chosen.text
        record = build_report_record(row["ocr_text"], row["patient_id"], table, "ocr_text")
        read += "histology" in record.values
        elsewhere += record.values.get("site", site) not in NEIGHBOURS[site]
        assert 1 <= record.values.get("size_mm", 30) <= 300
    assert read > share * len(rows)
    assert elsewhere <= 0.02 * len(rows)
