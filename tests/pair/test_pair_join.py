"""What of table, header and label map enters a prompt, and what is held back."""

import json

import pytest

from guidegen.pair.join import join_case
from guidegen.pair.record import PatientRecord
from guidegen.pair.settings import PairSettings
from guidegen.statements import Sex, Side, Source
from guidegen.study import Collection

KIDNEY = Collection("tcga_kirc", "TCGA-KIRC", "kidney", "CC BY 3.0", "", "gdc", "idc")
CT = {"sex": "", "age": "", "phase": "", "phase_source": "", "description": ""}
MASK = {
    "status": "ok",
    "backend": "dicom_seg",
    "tumour_annotated": "true",
    "tumour_kind": "expert",
    "tumour_size_mm": "41.27",
    "tumour_side": "left",
    "coverage_first": "upper abdomen",
    "coverage_last": "pelvis",
    "absent": "",
    "organs": json.dumps({"gallbladder": {"ml": 31.0}}),
}


def make_record(**values: object) -> PatientRecord:
    def cite(name: str) -> Source:
        return Source(kind="table", name="c.tsv", field=name, row="p", value=str(values[name.split(".")[0]]))

    sources = {name: cite(name) for name in values if name != "absent"}
    for organ in values.get("absent", ()):  # type: ignore[attr-defined]
        sources[f"absent.{organ}"] = cite("absent")
    return PatientRecord(dict(values), sources)


def join(record=None, ct=None, mask=None, **settings):
    return join_case(record or make_record(), CT | (ct or {}), mask, KIDNEY, PairSettings(**settings))


def test_a_tumour_is_stated_only_where_it_is_annotated():
    record = make_record(histology="renal cell carcinoma", size_mm=52.0)
    said = join(record, mask=MASK).build()
    assert (said.tumour, said.tumour_size_mm, said.side) == (True, 41.0, Side.LEFT)
    for mask in (None, MASK | {"tumour_annotated": "false", "tumour_size_mm": ""}, MASK | {"status": "excluded"}):
        said = join(record, mask=mask).build()
        assert (said.tumour, said.tumour_size_mm, said.side) == (None, None, None)
        assert said.histology == "renal cell carcinoma"


def test_the_pathologists_size_is_stated_only_when_asked_for():
    record = make_record(size_mm=27.0)
    assert join(record).build().tumour_size_mm is None
    case = join(record, pathology_size="state")
    assert case.build().tumour_size_mm == 27
    assert case.build().tumour is None
    assert case.sources["tumour_size_mm"].field == "size_mm"


def test_contradictions_between_table_and_header_are_reported():
    case = join(make_record(age=60, sex=Sex.MALE), {"sex": "female", "age": "66"})
    assert (case.values["age"], case.values["sex"]) == (60, Sex.MALE)
    assert case.conflicts == [
        "sex: c.tsv sex says male, DICOM PatientSex says female",
        "age: c.tsv age says 60, DICOM PatientAge says 66",
    ]
    assert join(make_record(age=60), {"age": "61.4"}).conflicts == []


def test_the_header_speaks_where_the_table_is_silent():
    case = join(None, {"sex": "female", "age": "71", "phase": "arterial", "phase_source": "SeriesDescription"})
    assert (case.values["age"], case.values["sex"], case.values["phase"]) == (71, "female", "arterial")
    assert case.sources["age"].name == "PatientAge"
    assert case.sources["phase"].name == "SeriesDescription"


def test_the_tables_side_gives_way_to_the_measured_one_and_is_reported():
    case = join(make_record(side=Side.RIGHT), mask=MASK)
    assert case.values["side"] == "left"
    assert case.conflicts == ["side: the table says right, the annotated tumour lies left"]
    assert join(make_record(side=Side.RIGHT)).values["side"] == "right"


@pytest.mark.parametrize(
    ("site", "measured", "stated"),
    [
        ("kidney", "kidney", True),
        ("kidney", "", True),
        ("rectum", "colon", True),
        ("ovary", "urinary_bladder", True),  # the ovary has no class, so nothing is known against it
        ("urinary bladder", "urinary_bladder", True),
        ("kidney", "liver", False),
        ("rectum", "liver", False),
    ],
)
def test_a_tumour_in_another_organ_than_the_cancers_is_reported_and_not_stated(site, measured, stated):
    case = join(make_record(site=site), mask=MASK | {"tumour_site": measured})
    said = case.build()
    assert said.site == site
    assert (said.tumour, said.tumour_size_mm) == ((True, 41.0) if stated else (None, None))
    told = f"site: the cancer is of the {site}, the annotated tumour lies in {measured}"
    assert case.conflicts == ([] if stated else [told])


def test_an_organ_that_is_there_was_not_removed():
    case = join(make_record(absent=("gallbladder", "uterus")), mask=MASK)
    assert case.values["absent"] == ("uterus",)
    assert case.conflicts == ["absent: the history says gallbladder removed, the label map shows 31.0 ml of it"]
    gone = MASK | {"absent": "gallbladder", "organs": "{}"}
    case = join(make_record(absent=("gallbladder",)), mask=gone)
    assert case.values["absent"] == ("gallbladder",)
    assert case.sources["absent.gallbladder"].kind == "measurement"


def test_the_collection_gives_the_site_with_its_source():
    case = join()
    assert case.values["site"] == "kidney"
    assert (case.sources["site"].name, case.sources["site"].row) == ("collections.tsv", "tcga_kirc")
    unknown = Collection("mine", "mine", "unknown", "private", "", "local", "local")
    assert "site" not in join_case(make_record(), CT, None, unknown, PairSettings()).values


@pytest.mark.parametrize("key", ["variant", "pathology"])
def test_wrong_settings_are_refused(key):
    with pytest.raises(ValueError, match="Extra inputs"):
        PairSettings.model_validate({key: 1})
