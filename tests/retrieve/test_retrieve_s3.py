"""Source `idc`: the real s5cmd against a real S3 server on loopback."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty_proxy import Fault, FaultyProxy
from hand_made_ct import to_bytes
from s3_bucket import LOCATION, Bucket, serve_s3
from small_study import make_study

from guidegen import services
from guidegen.errors import ItemError
from guidegen.index.build import INDEX_COLUMNS
from guidegen.manifest import Item
from guidegen.retrieve.fetch import Retrieval
from guidegen.retrieve.s3 import download_series
from guidegen.retrieve.settings import RetrieveSettings
from guidegen.retrieve.shards import find_collection, retrieve_series, retrieve_shard
from guidegen.retrieve.tarball import read_tar
from guidegen.tables import write_tsv


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serve_s3() as url:
        yield url


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "FIRST_PAUSE_S", 0.01)


@pytest.fixture
def bucket(server: str) -> Bucket:
    return Bucket(server)


@pytest.fixture
def settings(server: str) -> RetrieveSettings:
    return RetrieveSettings(endpoint_url=server, attempts=1, min_free_gb=0, timeout_minutes=1)  # type: ignore[call-arg]


def retrieve(bucket: Bucket, settings: RetrieveSettings, folder: Path) -> tuple[str, str]:
    row = bucket.index_row()
    task = Retrieval(row, "idc", folder, LOCATION, row["series_uid"], folder / "downloads", settings, None)
    (folder / "work").mkdir(exist_ok=True)
    outcome = retrieve_series(Item(row["case"], {}, task), folder / "work")
    return outcome.status, outcome.reason


def test_series_arrives_whole(bucket: Bucket, settings: RetrieveSettings, tmp_path: Path) -> None:
    assert retrieve(bucket, settings, tmp_path) == ("ok", "")
    stored = [data for _, data in read_tar(tmp_path / "work" / "tcga_read__P-1__00000000.tar")]
    assert stored == [to_bytes(ds) for ds in bucket.datasets]


def test_whole_shard_of_a_study(bucket: Bucket, server: str, tmp_path: Path) -> None:
    config = "study: {name: idc, collections: [tcga_read]}\nindex: {source: idc}\n"
    study = make_study(
        tmp_path, config + f"retrieve: {{endpoint_url: '{server}', min_free_gb: 0, series_at_once: 2}}\n"
    )
    write_tsv(study.index_table("tcga_read"), INDEX_COLUMNS, [bucket.index_row()])
    (row,) = retrieve_shard(study, find_collection(study, "tcga_read"), "s000")
    assert (row["status"], row["instances"]) == ("ok", "12")
    assert not list((tmp_path / ".guidegen" / "state" / "data" / "raw").rglob("*.dcm"))


def test_killed_download_goes_on_with_the_files_that_are_missing(
    bucket: Bucket, settings: RetrieveSettings, tmp_path: Path
) -> None:
    names = sorted(bucket.files)
    (tmp_path / names[0]).write_bytes(bucket.files[names[0]])
    (tmp_path / names[1]).write_bytes(bucket.files[names[1]][:100])
    before = (tmp_path / names[0]).stat().st_mtime_ns
    files = download_series(LOCATION, 12, tmp_path, settings)
    assert [path.read_bytes() for path in files] == [bucket.files[name] for name in names]
    assert (tmp_path / names[0]).stat().st_mtime_ns == before


def test_missing_object(bucket: Bucket, settings: RetrieveSettings, tmp_path: Path) -> None:
    bucket.delete(sorted(bucket.files)[4])
    status, reason = retrieve(bucket, settings, tmp_path)
    assert (status, "11 of 12 objects" in reason) == ("failed", True)


def test_extra_object(bucket: Bucket, settings: RetrieveSettings, tmp_path: Path) -> None:
    bucket.put("ffffffff-0000-4000-8000-000000000000.dcm", b"more")
    status, reason = retrieve(bucket, settings, tmp_path)
    assert (status, "13 of 12 objects" in reason) == ("failed", True)


def test_forbidden_object(bucket: Bucket, settings: RetrieveSettings, tmp_path: Path) -> None:
    name = sorted(bucket.files)[4]
    bucket.put(name, bucket.files[name], acl="private")
    status, reason = retrieve(bucket, settings, tmp_path)
    assert status == "failed"
    assert "403" in reason or "AccessDenied" in reason or "11 of 12" in reason


def test_truncated_object(bucket: Bucket, settings: RetrieveSettings, tmp_path: Path) -> None:
    name = sorted(bucket.files)[4]
    bucket.put(name, bucket.files[name][:-700])
    status, reason = retrieve(bucket, settings, tmp_path)
    assert (status, f"{name} is cut off" in reason) == ("failed", True)


def test_wrong_bytes_of_the_right_length(bucket: Bucket, settings: RetrieveSettings, tmp_path: Path) -> None:
    name = sorted(bucket.files)[4]
    bucket.put(name, bytes(len(bucket.files[name])))
    status, reason = retrieve(bucket, settings, tmp_path)
    assert (status, f"{name} is no readable DICOM file" in reason) == ("failed", True)
    bucket.put(name, bucket.files[name])
    assert retrieve(bucket, settings, tmp_path) == ("ok", "")


def test_empty_prefix(bucket: Bucket, settings: RetrieveSettings, tmp_path: Path) -> None:
    for name in bucket.files:
        bucket.delete(name)
    assert retrieve(bucket, settings, tmp_path)[0] == "failed"


def test_refused_connection(bucket: Bucket, settings: RetrieveSettings, tmp_path: Path) -> None:
    nowhere = settings.model_copy(update={"endpoint_url": "http://127.0.0.1:9"})
    status, reason = retrieve(bucket, nowhere, tmp_path)
    assert (status, "dial tcp" in reason) == ("failed", True)


def test_location_that_is_no_series(settings: RetrieveSettings, tmp_path: Path) -> None:
    with pytest.raises(ItemError, match="is no series in the IDC"):
        download_series("s3://idc-open-data/../x/", 1, tmp_path, settings)


@pytest.fixture
def proxy(server: str) -> Iterator[FaultyProxy]:
    proxy = FaultyProxy(server)
    running = proxy.serve()
    yield proxy
    running.shutdown()


def is_object(path: str) -> bool:
    return path.split("?")[0].endswith(".dcm")


@pytest.mark.parametrize(
    "fault",
    [{"status": 500}, {"status": 503}, {"cut": 0.6}, {"cut": 0.0}, {"short": 0.6}, {"alter": True}],
    ids=str,
)
def test_fault_that_passes_is_survived(
    bucket: Bucket, settings: RetrieveSettings, proxy: FaultyProxy, tmp_path: Path, fault: dict
) -> None:
    proxy.faults.append(Fault(times=2, matches=is_object, **fault))
    through = settings.model_copy(update={"endpoint_url": proxy.url, "attempts": 3})
    assert retrieve(bucket, through, tmp_path) == ("ok", "")
    stored = [data for _, data in read_tar(tmp_path / "work" / "tcga_read__P-1__00000000.tar")]
    assert stored == [to_bytes(ds) for ds in bucket.datasets]
    assert proxy.faults[0].times == 0


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"status": 403}, "403"),
        ({"alter": True}, "not what their MD5 says"),
        ({"short": 0.6}, "not what their MD5 says"),
        ({"cut": 0.6}, "s3://idc-open-data/"),
        ({"trickle_s": 0.05}, "no end after 1.2 s"),
    ],
    ids=str,
)
def test_fault_that_stays_is_a_failed_row(
    bucket: Bucket, settings: RetrieveSettings, proxy: FaultyProxy, tmp_path: Path, fault: dict, reason: str
) -> None:
    name = sorted(bucket.files)[4]
    proxy.faults.append(Fault(times=999, matches=lambda path: name in path, **fault))
    limit = 0.02 if "trickle_s" in fault else 1
    through = settings.model_copy(update={"endpoint_url": proxy.url, "timeout_minutes": limit})
    status, found = retrieve(bucket, through, tmp_path)
    assert (status, reason in found) == ("failed", True), found
    assert not list((tmp_path / "work").iterdir())
    proxy.faults.clear()
    assert retrieve(bucket, settings, tmp_path) == ("ok", ""), "and the rest is fetched at the next run"
