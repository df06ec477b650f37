"""The twelve collections in the IDC's index: the funnel is the published one."""

import hashlib
from pathlib import Path

import pytest
from small_study import make_study

from guidegen.index.build import build_collection
from guidegen.index.report import explain_selection
from guidegen.index.sources import read_offers
from guidegen.study import Study

CONFIG = (
    "study: {name: idc, collections: paper12}\nindex: {source: idc, idc_tables_url: '', series_per_patient: 1000}\n"
)
FUNNEL = {
    "all CT": ("5565", "715", 340),
    "sop_class": ("5535", "715", 339),
    "instances": ("3839", "699", 330),
    "description": ("2834", "691", 249),
    "slice_size": ("2755", "681", 224),
    "body_part": ("2755", "681", 224),
}


ELIGIBLE = "8dd136ccd84dcb8eedc44abd4c7c9ddde08b08ba12d71aca484e4745f89744c3"
"""sha256 of the sorted UIDs of the 2,755 series that the rule chose when it was set up with other code."""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return make_study(tmp_path_factory.mktemp("idc") / "study", CONFIG)


def test_funnel_of_the_twelve(study: Study) -> None:
    lines = [line[29:] for line in explain_selection(study).splitlines() if line.startswith("all ")]
    found = {line[:20].strip(): line[20:].split() for line in lines}
    for criterion, (series, patients, gigabytes) in FUNNEL.items():
        assert found[criterion][:2] == [series, patients], criterion
        assert round(float(found[criterion][2])) == gigabytes


def test_another_set_is_one_word_of_the_config(tmp_path: Path) -> None:
    text = CONFIG.replace("paper12", "balanced").replace("series_per_patient: 1000", "series_per_patient: 1")
    lines = explain_selection(make_study(tmp_path / "study", text)).splitlines()
    (last,) = [line.split() for line in lines if line.startswith("all ") and "series_per_patient" in line]
    series, patients, gigabytes = last[2:]
    assert (series, patients, round(float(gigabytes))) == ("983", "983", 108)


def test_annotations_that_name_their_ct_follow_it(study: Study) -> None:
    collection = study.collections["tcga_kirc"]
    (offer,) = read_offers(study, [collection]).values()
    rows = build_collection(study, collection, offer).rows
    followers = [row for row in rows if row["role"] == "annotation"]
    cases = {row["case"]: row for row in rows if row["role"] == "ct"}
    assert followers
    for row in followers:
        assert row["description"].startswith("RCC-AID") is (row["annotation_kind"] == "expert")
        assert cases[row["case"]]["study_uid"] == row["study_uid"]
        assert cases[row["case"]]["rank"] == row["rank"]


def test_location_is_pinned_by_the_immutable_series_uuid(study: Study) -> None:
    collection = study.collections["tcga_read"]
    (offer,) = read_offers(study, [collection]).values()
    for row in build_collection(study, collection, offer).rows:
        assert row["location"].endswith(f"/{row['crdc_series_uuid']}/")
        assert row["location"].startswith("s3://idc-open-data")
        assert row["source_version"].startswith("idc-index-data ")


def test_chosen_series_are_those_of_the_published_selection(study: Study) -> None:
    offers = read_offers(study, list(study.collections.values()))
    rows = [row for c, offer in offers.items() for row in build_collection(study, c, offer).rows]
    chosen = sorted(row["series_uid"] for row in rows if row["role"] == "ct")
    assert len(chosen) == 2755
    assert len({row["patient"] for row in rows}) == 681
    assert hashlib.sha256("\n".join(chosen).encode()).hexdigest() == ELIGIBLE
