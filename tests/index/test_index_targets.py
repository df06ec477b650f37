"""Which CT an annotation belongs to: the IDC's tables, fetched and checked; without them, what a description says."""

import hashlib
import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from faulty_proxy import Fault, FaultyProxy
from small_study import make_study

from guidegen import services
from guidegen.errors import GuideGenError
from guidegen.index.build import build_collection
from guidegen.index.series import Offer, Series
from guidegen.index.sources import read_offers
from guidegen.index.targets import TABLES, find_tables, link_annotations
from guidegen.study import Study

RELEASE = f"/{version('idc-index-data')}/release_artifacts"


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "FIRST_PAUSE_S", 0.01)


class Release:
    """The files of a release of idc-index-data, each table with its checksum beside it."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.url = ""

    def put(self, name: str, rows: list[dict[str, object]]) -> None:
        stream = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), stream)
        self.files[f"{RELEASE}/{name}"] = stream.getvalue()
        digest = hashlib.sha256(stream.getvalue()).hexdigest()
        self.files[f"{RELEASE}/{name}.sha256"] = f"{digest}  {name}\n".encode()


@pytest.fixture
def release() -> Iterator[Release]:
    release = Release()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            release.asked.append(self.path)
            data = release.files.get(self.path)
            self.send_response(404 if data is None else 200)
            self.send_header("Content-Length", str(len(data or b"")))
            self.end_headers()
            self.wfile.write(data or b"")

        def log_message(self, format: str, *args: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    release.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield release
    server.shutdown()


def fill(release: Release, seg: str = "seg-1", struct: str = "struct-1", target: str = "ct-1") -> None:
    row = {"SeriesInstanceUID": seg, "segmented_SeriesInstanceUID": target, "AlgorithmType": "SEMIAUTOMATIC"}
    release.put(TABLES[0], [row, {**row, "SeriesInstanceUID": "somebody's"}])
    release.put(TABLES[1], [{"SeriesInstanceUID": struct, "referenced_SeriesInstanceUID": target}])


def make_offer(*annotations: Series) -> dict[str, Offer]:
    cts = [Series("c", "P", f"ct-{n}", study_uid="1.2", series_number=str(n)) for n in (1, 2)]
    return {"c": Offer([*cts, *annotations], "v")}


def annotate(uid: str, description: str = "") -> Series:
    return Series("c", "P", uid, study_uid="1.2", modality="SEG", role="annotation", description=description)


def get_targets(offers: dict[str, Offer]) -> dict[str, str]:
    return {s.series_uid: s.target_uid for s in offers["c"].series if s.role == "annotation"}


def test_tables_are_fetched_once_and_link(release: Release, tmp_path: Path) -> None:
    fill(release)
    tables = find_tables(None, release.url, tmp_path, 1)
    offers = make_offer(annotate("seg-1"), annotate("struct-1"), annotate("seg-2", "venous, CT series 2"))
    linked = link_annotations(offers, tables)
    assert get_targets(linked) == {"seg-1": "ct-1", "struct-1": "ct-1", "seg-2": "ct-2"}
    assert [s.algorithm_type for s in linked["c"].series if s.series_uid == "seg-1"] == ["SEMIAUTOMATIC"]
    assert find_tables(None, release.url, tmp_path, 1) == tables
    assert len(release.asked) == 4


def test_table_that_is_not_what_its_checksum_says(release: Release, tmp_path: Path) -> None:
    fill(release)
    release.files[f"{RELEASE}/{TABLES[0]}"] += b"x"
    with pytest.raises(GuideGenError, match=r"seg_index\.parquet: sha256 is .*\(2 attempts\)"):
        find_tables(None, release.url, tmp_path, 2)
    assert not list(tmp_path.rglob("*.parquet"))


def test_broken_download_is_repeated(release: Release, tmp_path: Path) -> None:
    fill(release)
    proxy = FaultyProxy(release.url, [Fault(status=503), Fault(cut=0.5), Fault(short=0.5)])
    server = proxy.serve()
    assert len(find_tables(None, proxy.url, tmp_path, 4)) == 2
    server.shutdown()


def test_release_that_lacks_a_table_is_an_error(release: Release, tmp_path: Path) -> None:
    with pytest.raises(GuideGenError, match=r"seg_index\.parquet\.sha256: status 404"):
        find_tables(None, release.url, tmp_path, 2)


@pytest.mark.parametrize("url", ["", "http://127.0.0.1:9"])
def test_without_a_connection_descriptions_link(tmp_path: Path, caplog: pytest.LogCaptureFixture, url: str) -> None:
    assert find_tables(None, url, tmp_path, 3) == []
    assert "annotations are linked to their CT only where their description names it" in caplog.text
    offers = make_offer(annotate("seg-1"), annotate("seg-2", "CT series 2"), annotate("seg-3", "CT series 7"))
    assert get_targets(link_annotations(offers, [])) == {"seg-1": "", "seg-2": "ct-2", "seg-3": ""}


def test_own_folder_must_hold_both_tables(tmp_path: Path) -> None:
    with pytest.raises(GuideGenError, match=r"index\.idc_tables: .* lacks seg_index\.parquet, rtstruct_index\.parquet"):
        find_tables(tmp_path, "", tmp_path, 1)


def test_file_that_is_no_such_table(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"junk")
    with pytest.raises(GuideGenError, match=r"a\.parquet: not a parquet table"):
        link_annotations(make_offer(annotate("seg-1")), [tmp_path / "a.parquet"])
    pq.write_table(pa.table({"x": [1]}), tmp_path / "b.parquet")
    with pytest.raises(GuideGenError, match=r"b\.parquet: expected SeriesInstanceUID and one of"):
        link_annotations(make_offer(annotate("seg-1")), [tmp_path / "b.parquet"])


def test_annotated_ct_of_the_idc_ranks_first(release: Release, tmp_path: Path) -> None:
    """A real RTSTRUCT of CPTAC-PDA, said by the table to be drawn on a CT that would rank last."""
    config = (
        f"study: {{name: idc, collections: [cptac_pda]}}\nindex: {{source: idc, idc_tables_url: '{release.url}'}}\n"
    )
    plain = make_study(tmp_path / "plain", config.replace(release.url, ""))
    collection = plain.collections["cptac_pda"]
    offer = read_offers(plain, [collection])[collection]
    everything = make_study(tmp_path / "all", config.replace("source: idc,", "source: idc, series_per_patient: 99,"))
    last = max((row for row in rows_of(everything, offer) if row["role"] == "ct"), key=lambda row: row["rank"])
    assert last["rank"] > 1
    structs = [s for s in offer.series if s.modality == "RTSTRUCT" and s.patient_id == last["patient_id"]]
    struct = next(s for s in structs if s.description.endswith(" - 1"))
    fill(release, struct=struct.series_uid, target=last["series_uid"])
    study = make_study(tmp_path / "study", config)
    offer = read_offers(study, [collection])[collection]
    rows = [row for row in rows_of(study, offer) if row["patient_id"] == struct.patient_id]
    assert [(row["role"], row["series_uid"]) for row in rows] == [
        ("ct", last["series_uid"]),
        ("annotation", struct.series_uid),
    ]
    assert rows[1]["annotation_kind"] == "expert"
    assert rows[0]["source_version"].endswith("with seg_index, rtstruct_index")


def rows_of(study: Study, offer: Offer) -> list[dict]:
    return build_collection(study, study.collections["cptac_pda"], offer).rows
