"""Source `nbia`: what arrives is what the service has, or a failed row that says what was wrong."""

import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faulty_proxy import Fault, FaultyProxy
from hand_made_ct import make_ct, to_bytes
from nbia_server import Nbia, pack_zip
from pydicom import Dataset
from pydicom.uid import generate_uid
from small_study import make_study

from guidegen import services
from guidegen.convert.shards import convert_shard
from guidegen.errors import ItemError
from guidegen.index.build import build_index
from guidegen.manifest import Item
from guidegen.retrieve.fetch import Retrieval
from guidegen.retrieve.nbia import download_series, read_zip
from guidegen.retrieve.settings import RetrieveSettings
from guidegen.retrieve.shards import find_collection, retrieve_series, retrieve_shard
from guidegen.retrieve.tarball import read_tar

CASE = "tcga_read__P-1__00000000"


class Source:
    """One CT series at the service, behind a proxy that can spoil replies."""

    def __init__(self) -> None:
        self.nbia, self.datasets = Nbia(), make_ct(12)
        self.uid = self.nbia.add(self.datasets)
        self.servers = [self.nbia.serve()]
        self.proxy = FaultyProxy(self.nbia.url)
        self.servers.append(self.proxy.serve())

    def settings(self, **changes: object) -> RetrieveSettings:
        values = {"nbia_url": self.proxy.url, "attempts": 3, "min_free_gb": 0, "timeout_minutes": 1}
        return RetrieveSettings.model_validate(values | changes)

    def retrieve(self, folder: Path, **changes: object) -> tuple[str, str]:
        row = {"case": CASE, "role": "ct", "format": "dicom", "series_uid": self.uid, "modality": "CT"}
        row |= {"instances": "12", "bytes": str(sum(len(to_bytes(ds)) for ds in self.datasets))}
        row |= {"annotation_kind": "", "location": f"getImageWithMD5Hash?SeriesInstanceUID={self.uid}"}
        task = Retrieval(
            row, "nbia", folder, row["location"], self.uid, folder / "downloads", self.settings(**changes), None
        )
        (folder / "work").mkdir(exist_ok=True)
        outcome = retrieve_series(Item(CASE, {}, task), folder / "work")
        assert bool(list((folder / "work").iterdir())) == (outcome.status == "ok"), "a tar exactly where it is ok"
        return outcome.status, outcome.reason


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "FIRST_PAUSE_S", 0.01)


@pytest.fixture
def source() -> Iterator[Source]:
    source = Source()
    yield source
    for server in source.servers:
        server.shutdown()


def test_series_arrives_whole_and_leaves_no_download(source: Source, tmp_path: Path) -> None:
    assert source.retrieve(tmp_path) == ("ok", "")
    stored = [data for _, data in read_tar(tmp_path / "work" / f"{CASE}.tar")]
    assert stored == [to_bytes(ds) for ds in source.datasets]
    assert not [path for path in (tmp_path / "downloads").rglob("*") if path.is_file()]


def test_whole_zip_of_a_killed_job_is_not_fetched_again(source: Source, tmp_path: Path) -> None:
    settings = source.settings()
    location = f"getImageWithMD5Hash?SeriesInstanceUID={source.uid}"
    path = download_series(location, 100_000, tmp_path, settings)
    first = read_zip(path, 100_000)
    assert download_series(location, 100_000, tmp_path, settings) == path
    assert len(source.proxy.asked) == 1
    path.write_bytes(path.read_bytes()[:-400])
    assert read_zip(download_series(location, 100_000, tmp_path, settings), 100_000) == first
    assert len(source.proxy.asked) == 2


@pytest.mark.parametrize(
    "fault", [{"status": 500}, {"status": 503}, {"status": 429}, {"cut": 0.6}, {"cut": 0.0}, {"short": 0.6}]
)
def test_fault_that_passes_is_survived(source: Source, tmp_path: Path, fault: dict[str, float]) -> None:
    source.proxy.faults.append(Fault(times=2, **fault))  # type: ignore[arg-type]
    assert source.retrieve(tmp_path) == ("ok", "")
    assert len(source.proxy.asked) == 3


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"status": 503}, "status 503: <html>the server is busy</html> (3 attempts)"),
        ({"cut": 0.6}, "the connection broke"),
        ({"short": 0.6}, "no whole zip"),
    ],
)
def test_fault_that_stays_is_a_failed_row(source: Source, tmp_path: Path, fault: dict, reason: str) -> None:
    source.proxy.faults.append(Fault(times=99, **fault))
    status, found = source.retrieve(tmp_path)
    assert (status, reason in found) == ("failed", True), found


@pytest.mark.parametrize("status", [400, 403, 404])
def test_refusal_is_not_repeated(source: Source, tmp_path: Path, status: int) -> None:
    source.proxy.faults.append(Fault(times=99, status=status))
    found = source.retrieve(tmp_path)
    assert (found[0], f"status {status}: <html>the server is busy" in found[1]) == ("failed", True), found
    assert len(source.proxy.asked) == 1


def test_refused_connection(source: Source, tmp_path: Path) -> None:
    status, reason = source.retrieve(tmp_path, nbia_url="http://127.0.0.1:9/v4")
    assert (status, "no connection" in reason) == ("failed", True), reason


def test_slow_trickle_ends_at_the_time_limit(source: Source, tmp_path: Path) -> None:
    source.proxy.faults.append(Fault(times=99, trickle_s=0.01))
    status, reason = source.retrieve(tmp_path, timeout_minutes=0.005, attempts=2)
    assert (status, "no end after 0.3 s (2 attempts)" in reason) == ("failed", True), reason


def test_series_that_the_service_does_not_have(source: Source, tmp_path: Path) -> None:
    source.uid = generate_uid()
    status, reason = source.retrieve(tmp_path)
    assert (status, "empty reply, so the service has no such series" in reason) == ("failed", True), reason
    assert len(source.proxy.asked) == 1


def rename(files: dict[str, bytes], name: str) -> dict[str, bytes]:
    return {name if key == "00000003.dcm" else key: data for key, data in files.items()}


def without(files: dict[str, bytes], name: str) -> dict[str, bytes]:
    return {key: data for key, data in files.items() if key != name}


def drop_from_zip(files: dict[str, bytes]) -> bytes:
    whole = pack_zip(files)
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(stream, "w") as new:
        for name in old.namelist():
            if name != "00000003.dcm":
                new.writestr(name, old.read(name))
    return stream.getvalue()


def stop_before_hashes(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()


def spoil(files: dict[str, bytes], data: bytes, *, listed: bool) -> bytes:
    """A zip whose third file has other bytes; `listed`: the list of hashes agrees with them."""
    whole = files | {"00000003.dcm": data}
    return pack_zip(whole, None if listed else {"00000003.dcm": "0" * 32})


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda files: b"", "empty reply"),
        (lambda files: b"PK\5\6" + bytes(18), "the zip is empty"),
        (lambda files: b"<html>Service maintenance</html>", "it begins with b'<html>Service maintenance"),
        (stop_before_hashes, "no md5hashes.csv"),
        (lambda files: pack_zip(rename(files, "../../etc/passwd")), "'../../etc/passwd' is refused"),
        (lambda files: pack_zip(rename(files, "/etc/passwd")), "'/etc/passwd' is refused"),
        (lambda files: pack_zip(rename(files, "a\\b.dcm")), "is refused"),
        (lambda files: pack_zip(files | {"bomb.dcm": bytes(20_000_000)}), "zip unpacks to"),
        (lambda files: pack_zip(files, {"00000003.dcm": "f" * 32}), "00000003.dcm has MD5"),
        (drop_from_zip, "lacks 00000003.dcm"),
        (lambda files: pack_zip(without(files, "00000003.dcm")), "has 11 files, the index says 12"),
        (lambda files: pack_zip(files | {"extra.dcm": files["00000001.dcm"]}), "has 13 files, the index says 12"),
        (lambda files: spoil(files, files["00000003.dcm"][:-700], listed=True), "00000003.dcm is cut off"),
        (lambda files: spoil(files, bytes(len(files["00000003.dcm"])), listed=False), "00000003.dcm has MD5"),
        (lambda files: spoil(files, bytes(len(files["00000003.dcm"])), listed=True), "is no readable DICOM"),
        (lambda files: spoil(files, to_bytes(make_ct(1)[0]), listed=True), "00000003.dcm belongs to series"),
        (lambda files: spoil(files, files["00000004.dcm"], listed=True), "are one instance"),
    ],
)
def test_wrong_zip_is_a_failed_row(
    source: Source, tmp_path: Path, answer: Callable[[dict[str, bytes]], bytes], reason: str
) -> None:
    source.nbia.answer = answer
    status, found = source.retrieve(tmp_path, attempts=2)
    assert (status, reason in found) == ("failed", True), found
    source.nbia.answer = pack_zip
    assert source.retrieve(tmp_path) == ("ok", ""), "and the right one is taken at the next run"


def test_location_that_is_no_series(source: Source, tmp_path: Path) -> None:
    with pytest.raises(ItemError, match="is no series of the NBIA"):
        download_series("getImageWithMD5Hash?SeriesInstanceUID=1&x=../", 1, tmp_path, source.settings())


@pytest.mark.parametrize("at_once", [1, 3])
def test_shard_with_hostile_patients_from_index_to_volume(tmp_path: Path, at_once: int) -> None:
    nbia = Nbia()
    server = nbia.serve()
    patients = ["../../etc", "x" * 200, "Jürgen Groß", "a b\tc"]
    for patient in patients:
        nbia.add(make_patient(patient))
    nbia.add(make_patient(""), PatientID=None)
    study = make_study(
        tmp_path / "study",
        "study: {name: nbia, collections: [tcga_read]}\n"
        "index: {source: nbia, idc_tables_url: '', selection: {nbia: {min_instances: 12, min_slice_mb: null}}}\n"
        f"retrieve: {{nbia_url: '{nbia.url}', min_free_gb: 0, series_at_once: {at_once}}}\n",
    )
    build_index(study)
    collection = find_collection(study, "tcga_read")
    rows = retrieve_shard(study, collection, "s000")
    assert [row["status"] for row in rows] == ["ok"] * 4
    volumes = convert_shard(study, collection, "s000")
    assert sorted(row["patient_id"] for row in volumes) == sorted(patients)
    assert [row["status"] for row in volumes] == ["ok"] * 4
    inside = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert all(path.is_relative_to(study.root) for path in inside)
    server.shutdown()


def make_patient(name: str) -> list[Dataset]:
    datasets = make_ct(12)
    for ds in datasets:
        ds.PatientID, ds.SpecificCharacterSet = name, "ISO_IR 192"
    return datasets
