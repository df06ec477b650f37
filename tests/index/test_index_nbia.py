"""Source `nbia`: what the service says becomes the same index; what it does wrong is an error that says so."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty_proxy import Fault, FaultyProxy
from hand_made_ct import make_ct
from nbia_server import Nbia
from pydicom.uid import generate_uid
from small_study import make_study

from guidegen import services
from guidegen.errors import GuideGenError
from guidegen.index.build import build_index
from guidegen.study import Study
from guidegen.tables import read_tsv

HOSTILE = ["../../etc", "x" * 200, "Jürgen Groß", "a b\tc", "患者-1"]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "FIRST_PAUSE_S", 0.01)


@pytest.fixture
def nbia() -> Iterator[Nbia]:
    nbia = Nbia()
    server = nbia.serve()
    yield nbia
    server.shutdown()


def open_study(root: Path, url: str, attempts: int = 3, index: str = "") -> Study:
    return make_study(
        root,
        "study: {name: nbia, collections: [tcga_read]}\n"
        f"index: {{source: nbia, idc_tables_url: '', selection: {{nbia: {{min_instances: 12, min_slice_mb: null}}}}"
        f"{index}}}\n"
        f"retrieve: {{nbia_url: '{url}', attempts: {attempts}, min_free_gb: 0}}\n",
    )


def read_excluded(study: Study) -> list[tuple[str, str]]:
    rows = read_tsv(study.root / "data" / "index" / "tcga_read.excluded.tsv")
    return sorted((row["description"], row["criterion"]) for row in rows)


def make_patient(name: str, slices: int = 12, description: str = "CHEST 2.5 B30f") -> list:
    datasets = make_ct(slices)
    for ds in datasets:
        ds.PatientID, ds.SeriesDescription = name, description
    return datasets


def test_index_says_what_the_service_says(nbia: Nbia, tmp_path: Path) -> None:
    uid = nbia.add(make_patient("P-1"))
    nbia.add(make_patient("P-1", description="SCOUT"))
    study = open_study(tmp_path, nbia.url)
    build_index(study)
    (row,) = study.read_index("tcga_read")
    assert (row["series_uid"], row["patient_id"], row["instances"]) == (uid, "P-1", "12")
    assert row["bytes"] == str(sum(map(len, nbia.files[uid].values())))
    assert (row["licence"], row["doi"]) == ("CC BY 3.0", "10.7937/k9/tcia.2016.f7ppnpnu")
    assert (row["study_date"], row["source"], row["rank"]) == ("2001-02-03", "nbia", "1")
    assert row["location"] == f"getImageWithMD5Hash?SeriesInstanceUID={uid}"
    assert row["source_version"].startswith("nbia ")
    assert read_excluded(study) == [("SCOUT", "description")]


def test_stated_thickness_ranks_before_the_description(nbia: Nbia, tmp_path: Path) -> None:
    thick = make_patient("P-1", 14)
    for ds in thick:
        ds.SliceThickness = 8
    nbia.add(thick)
    thin = nbia.add(make_patient("P-1", 12))
    study = open_study(tmp_path, nbia.url)
    build_index(study)
    assert [row["series_uid"] for row in study.read_index("tcga_read")] == [thin]


def test_annotation_of_the_allow_list_follows_its_ct(nbia: Nbia, tmp_path: Path) -> None:
    datasets = make_patient("P-1")
    uid = nbia.add(datasets)
    better = nbia.add(make_patient("P-1", 16))
    struct = make_ct(1)[0]
    struct.Modality, struct.SeriesInstanceUID, struct.PatientID = "RTSTRUCT", generate_uid(), "P-1"
    struct.StudyInstanceUID, struct.SeriesDescription = datasets[0].StudyInstanceUID, "Pre-Dose, PANCREAS, CT series 3"
    doi = "https://doi.org/10.7937/BW9V-BX61"
    nbia.add([struct], ThirdPartyAnalysis="YES", DataDescriptionURI=doi)
    allowed = ", annotations: [{analysis_result: 'cptac_pda_tumor_annotations', kind: expert, tumour: true}]"
    study = open_study(tmp_path, nbia.url, index=allowed)
    build_index(study)
    assert [(row["role"], row["annotation_kind"]) for row in study.read_index("tcga_read")] == [
        ("ct", ""),
        ("annotation", "expert"),
    ]
    assert study.read_index("tcga_read")[0]["series_uid"] == uid != better


def test_series_without_patient_is_excluded_and_the_others_stay(nbia: Nbia, tmp_path: Path) -> None:
    nbia.add(make_patient("P-1"))
    nbia.add(make_patient("", description="nobody's"), PatientID=None)
    study = open_study(tmp_path, nbia.url)
    build_index(study)
    assert len(study.read_index("tcga_read")) == 1
    assert read_excluded(study) == [("nobody's", "patient_id")]


@pytest.mark.parametrize("patient", HOSTILE)
def test_hostile_patient_id_makes_a_clean_case(nbia: Nbia, tmp_path: Path, patient: str) -> None:
    nbia.add(make_patient("P-1"), PatientID=patient)
    study = open_study(tmp_path, nbia.url)
    build_index(study)
    (row,) = study.read_index("tcga_read")
    assert row["patient_id"] == patient
    assert set(row["case"]) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    assert len(row["case"]) < 80


def test_other_licence_is_refused_by_name(nbia: Nbia, tmp_path: Path) -> None:
    nbia.add(make_patient("P-1"), LicenseURI="https://creativecommons.org/licenses/by-nc/4.0/")
    study = open_study(tmp_path, nbia.url)
    with pytest.raises(GuideGenError, match=r"tcga_read \(TCGA-READ\): licence 'CC BY-NC 4\.0' is not in"):
        build_index(study)
    assert not (study.root / "data").exists()


def test_collection_that_the_service_does_not_have(nbia: Nbia, tmp_path: Path) -> None:
    study = open_study(tmp_path, nbia.url)
    with pytest.raises(GuideGenError, match="no CT series of the collection 'TCGA-READ'"):
        build_index(study)


@pytest.mark.parametrize("change", [{"ImageCount": None}, {"FileSize": "much"}])
def test_row_that_lacks_what_counts(nbia: Nbia, tmp_path: Path, change: dict[str, object]) -> None:
    nbia.add(make_patient("P-1"), **change)
    study = open_study(tmp_path, nbia.url)
    with pytest.raises(GuideGenError, match=next(iter(change))):
        build_index(study)


def test_burst_of_errors_and_a_broken_reply_are_survived(nbia: Nbia, tmp_path: Path) -> None:
    nbia.add(make_patient("P-1"))
    proxy = FaultyProxy(nbia.url, [Fault(status=503), Fault(cut=0.5), Fault(short=0.5), Fault(status=500)])
    server = proxy.serve()
    study = open_study(tmp_path, proxy.url, attempts=5)
    build_index(study)
    server.shutdown()
    assert len(study.read_index("tcga_read")) == 1
    assert not any(fault.times for fault in proxy.faults)


def test_refusal_says_what_the_service_answered(nbia: Nbia, tmp_path: Path) -> None:
    proxy = FaultyProxy(nbia.url, [Fault(status=403, times=99)])
    server = proxy.serve()
    study = open_study(tmp_path, proxy.url)
    with pytest.raises(GuideGenError, match="status 403: <html>the server is busy"):
        build_index(study)
    server.shutdown()
    assert len(proxy.asked) == 1


def test_nobody_listens(tmp_path: Path) -> None:
    study = open_study(tmp_path, "http://127.0.0.1:9/v4")
    with pytest.raises(GuideGenError, match=r"http://127\.0\.0\.1:9/v4/getSeries: no connection"):
        build_index(study)
