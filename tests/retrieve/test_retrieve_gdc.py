"""Clinical data from a service that answers as the GDC: every page, every diagnosis, or an error that says why."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faulty_proxy import Fault, FaultyProxy
from gdc_server import Gdc
from small_study import make_study

from guidegen import services
from guidegen.errors import GuideGenError, ItemError, ShardFailed
from guidegen.index.build import INDEX_COLUMNS
from guidegen.pair.clinical import read_clinical
from guidegen.pair.record import build_record
from guidegen.retrieve import gdc as client
from guidegen.retrieve.clinical import retrieve_clinical
from guidegen.retrieve.gdc import FIELDS, fetch_cases
from guidegen.retrieve.shards import find_collection
from guidegen.tables import read_tsv, write_tsv


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "FIRST_PAUSE_S", 0.01)


@pytest.fixture
def gdc() -> Iterator[Gdc]:
    gdc = Gdc([make_case(f"P-{number}") for number in range(8)])
    server = gdc.serve()
    yield gdc
    server.shutdown()


def make_case(name: str, **changes: Any) -> dict[str, Any]:
    diagnosis = {"age_at_diagnosis": 24000, "ajcc_pathologic_stage": "Stage IIB", "laterality": "Left"}
    diagnosis |= {"pathology_details": [{"greatest_tumor_dimension": 4.2}], "diagnosis_id": "not asked for"}
    diagnosis["treatments"] = [{"treatment_type": "Surgery"}, {"treatment_type": "Chemotherapy"}]
    case = {"id": f"id-{name}", "submitter_id": name, "primary_site": "Kidney", "disease_type": "Adenomas"}
    case |= {"project": {"project_id": "TCGA-KIRC", "name": "x"}, "demographic": {"gender": "female"}}
    return case | {"diagnoses": [diagnosis]} | changes


def names(*numbers: int) -> tuple[str, ...]:
    return tuple(f"P-{number}" for number in numbers)


def test_all_pages_arrive(gdc: Gdc) -> None:
    header, rows = fetch_cases(gdc.url, names(*range(8)), 1)
    assert [row["submitter_id"] for row in rows] == list(names(*range(8)))
    assert header == list(FIELDS)
    assert [query["from"] for query in gdc.asked] == [0, 3, 6]


def test_many_patients_are_asked_for_in_parts(gdc: Gdc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PAGE", 5)
    _, rows = fetch_cases(gdc.url, names(*range(8)), 1)
    assert len(rows) == 8
    assert max(len(query["filters"]["content"]["value"]) for query in gdc.asked) == 5


def test_row_holds_the_fields_by_their_names(gdc: Gdc) -> None:
    _, (row,) = fetch_cases(gdc.url, names(3), 1)
    assert row["diagnoses.age_at_diagnosis"] == "24000"
    assert row["diagnoses.pathology_details.greatest_tumor_dimension"] == "4.2"
    assert row["diagnoses.treatments.treatment_type"] == "Chemotherapy"
    assert row["demographic.gender"] == "female"
    assert row["diagnoses.tumor_grade"] == "'--"
    assert "not asked for" not in row.values()


def test_one_row_per_diagnosis_in_an_order_that_does_not_depend_on_the_service(gdc: Gdc) -> None:
    diagnoses = [{"ajcc_pathologic_stage": "Stage IV"}, {"ajcc_pathologic_stage": "Stage I"}]
    gdc.cases = [make_case("P-1", diagnoses=diagnoses)]
    first = fetch_cases(gdc.url, names(1), 1)
    gdc.cases = [make_case("P-1", diagnoses=diagnoses[::-1])]
    assert fetch_cases(gdc.url, names(1), 1) == first
    assert [row["diagnoses.ajcc_pathologic_stage"] for row in first[1]] == ["Stage I", "Stage IV"]


def test_fields_are_known_to_the_service(gdc: Gdc, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        fetch_cases(gdc.url, names(1), 1)
    assert not caplog.records


def test_unknown_patients_are_named(gdc: Gdc, caplog: pytest.LogCaptureFixture) -> None:
    _, rows = fetch_cases(gdc.url, ("P-1", "X-1"), 1)
    assert len(rows) == 1
    assert "1 of 2 patients unknown, e.g. X-1" in caplog.text


@pytest.mark.parametrize("fault", [{"status": 503}, {"status": 429}, {"cut": 0.5}, {"short": 0.5}], ids=str)
def test_fault_that_passes_is_survived(gdc: Gdc, fault: dict) -> None:
    proxy = FaultyProxy(gdc.url, [Fault(times=2, **fault)])
    server = proxy.serve()
    _, rows = fetch_cases(proxy.url, names(*range(8)), 3)
    server.shutdown()
    assert len(rows) == 8


def test_refusal_is_not_repeated(gdc: Gdc) -> None:
    proxy = FaultyProxy(gdc.url, [Fault(times=99, status=403)])
    server = proxy.serve()
    with pytest.raises(ItemError, match="status 403"):
        fetch_cases(proxy.url, names(1), 3)
    server.shutdown()
    assert len(proxy.asked) == 1


def test_answer_of_another_shape(gdc: Gdc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gdc, "answer", lambda query: {"message": "maintenance"})
    with pytest.raises(ItemError, match=r"expected data\.hits .* found .*maintenance.*\(2 attempts\)"):
        fetch_cases(gdc.url, names(1), 2)


def test_case_of_somebody_else(gdc: Gdc, monkeypatch: pytest.MonkeyPatch) -> None:
    other = {"data": {"hits": [{"submitter_id": "X-9"}], "pagination": {"total": 1}}}
    monkeypatch.setattr(gdc, "answer", lambda query: other)
    with pytest.raises(ItemError, match="case X-9 was not asked for"):
        fetch_cases(gdc.url, names(1), 1)


def test_pages_that_end_too_early(gdc: Gdc, monkeypatch: pytest.MonkeyPatch) -> None:
    short = {"data": {"hits": [], "pagination": {"total": 2}}}
    monkeypatch.setattr(gdc, "answer", lambda query: short)
    with pytest.raises(ItemError, match="0 of 2 cases, then an empty page"):
        fetch_cases(gdc.url, names(1, 2), 1)


def test_clinical_table_of_a_study(gdc: Gdc, tmp_path: Path) -> None:
    config = "study: {name: idc, collections: [tcga_kirc]}\n"
    study = make_study(tmp_path, config + f"retrieve: {{gdc_url: '{gdc.url}', min_free_gb: 0, attempts: 1}}\n")
    source = {"doi": "10.7937/k9/tcia.2016.v6pbvtdr", "licence": "CC BY 3.0", "shard": "s000"}
    rows = [
        dict.fromkeys(INDEX_COLUMNS, "") | source | {"case": name, "patient": name, "patient_id": name}
        for name in names(2, 5)
    ]
    write_tsv(study.index_table("tcga_kirc"), INDEX_COLUMNS, rows)
    collection = find_collection(study, "tcga_kirc")
    (row,) = retrieve_clinical(study, collection)
    assert (row["status"], row["rows"], row["key_column"]) == ("ok", "2", "submitter_id")
    assert [line["submitter_id"] for line in read_tsv(study.root / row["path"])] == list(names(2, 5))
    terms = (tmp_path / "data" / "raw" / "tcga_kirc" / "LICENCE.txt").read_text()
    assert "Licence: CC BY 3.0\n  https://creativecommons.org/licenses/by/3.0/\n" in terms
    assert "Akin, O., Elnajjar, P." in terms
    assert "The Cancer Genome Atlas Kidney Renal Clear Cell Carcinoma Collection (TCGA-KIRC) (Version 3)" in terms
    nobody = make_study(tmp_path, config + "retrieve: {gdc_url: 'http://127.0.0.1:9', attempts: 1}\n")
    with pytest.raises(ShardFailed, match=r"http://127\.0\.0\.1:9/cases: no connection"):
        retrieve_clinical(nobody, collection)


def test_an_export_of_the_idc_serves_a_collection_that_the_gdc_does_not_know(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With the columns of the IDC's clinical tables: `dicom_patient_id` holds the patient."""
    config = "study: {name: idc, collections: [c4kc_kits]}\n"
    study = make_study(tmp_path, config)
    row = dict.fromkeys(INDEX_COLUMNS, "") | {"case": "KiTS-00001", "patient": "KiTS-00001", "patient_id": "KiTS-00001"}
    write_tsv(study.index_table("c4kc_kits"), INDEX_COLUMNS, [row | {"licence": "CC BY 3.0", "shard": "s000"}])
    collection = find_collection(study, "c4kc_kits")
    assert retrieve_clinical(study, collection) == []
    assert "retrieve.clinical.c4kc_kits" in caplog.text

    study = make_study(tmp_path, config + "retrieve: {clinical: {c4kc_kits: exports/kits.csv}}\n")
    with pytest.raises(GuideGenError, match=r"retrieve\.clinical\.c4kc_kits: no file"):
        retrieve_clinical(study, collection)
    (tmp_path / "exports").mkdir()
    (tmp_path / "exports" / "kits.csv").write_text(
        "dicom_patient_id,source_batch,gender,age_at_nephrectomy,comorbidities\n"
        "KiTS-00001,0,female,61,none\nKiTS-00002,0,male,70,none\n"
    )
    (found,) = retrieve_clinical(study, collection)
    assert (found["status"], found["key_column"]) == ("ok", "dicom_patient_id")
    table = read_clinical(study.root / found["path"], ["KiTS-00001"])
    record = build_record(table, "KiTS-00001", {"age": ["age_at_nephrectomy"]})
    assert record.values == {"age": 61, "sex": "female"}
