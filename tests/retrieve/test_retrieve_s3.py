"""Source `idc`: the real s5cmd against a real S3 server on loopback."""

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from botocore.client import Config
from hand_made_ct import make_ct, to_bytes
from moto.server import ThreadedMotoServer
from small_study import make_study

from guidegen.errors import ItemError
from guidegen.index.build import INDEX_COLUMNS
from guidegen.manifest import Item
from guidegen.retrieve.s3 import download_series
from guidegen.retrieve.settings import RetrieveSettings
from guidegen.retrieve.shards import Retrieval, find_collection, retrieve_series, retrieve_shard
from guidegen.retrieve.tarball import read_tar
from guidegen.tables import write_tsv

BUCKET = "idc-open-data"
SERIES = "0f0f0f0f-1111-2222-3333-444444444444"
LOCATION = f"s3://{BUCKET}/{SERIES}/"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


class Bucket:
    """One series in a bucket that anyone may read."""

    def __init__(self, url: str) -> None:
        config = Config(retries={"max_attempts": 1})
        keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x", "region_name": "us-east-1"}
        self.client = boto3.client("s3", endpoint_url=url, config=config, **keys)
        self.client.create_bucket(Bucket=BUCKET, ACL="public-read")
        self.datasets = make_ct(12)
        self.files = {f"{n:08x}-0000-4000-8000-000000000000.dcm": to_bytes(ds) for n, ds in enumerate(self.datasets)}
        for name in [entry["Key"] for entry in self.client.list_objects_v2(Bucket=BUCKET).get("Contents", [])]:
            self.client.delete_object(Bucket=BUCKET, Key=name)
        for name, data in self.files.items():
            self.put(name, data)

    def put(self, name: str, data: bytes, acl: str = "public-read") -> None:
        self.client.put_object(Bucket=BUCKET, Key=f"{SERIES}/{name}", Body=data, ACL=acl)

    def delete(self, name: str) -> None:
        self.client.delete_object(Bucket=BUCKET, Key=f"{SERIES}/{name}")

    def index_row(self, case: str = "tcga_read__P-1__00000000") -> dict[str, str]:
        row = dict.fromkeys(INDEX_COLUMNS, "") | {"case": case, "patient": "P-1", "patient_id": "P-1", "role": "ct"}
        row |= {"collection": "tcga_read", "format": "dicom", "modality": "CT", "shard": "s000", "location": LOCATION}
        row |= {"series_uid": str(self.datasets[0].SeriesInstanceUID), "instances": str(len(self.files))}
        return row | {"bytes": str(sum(map(len, self.files.values())))}


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
    study = make_study(tmp_path, config + f"retrieve: {{endpoint_url: '{server}', min_free_gb: 0, workers: 2}}\n")
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
    assert (status, "not downloaded after 1 attempts" in reason) == ("failed", True)


def test_location_that_is_no_series(settings: RetrieveSettings, tmp_path: Path) -> None:
    with pytest.raises(ItemError, match="is no series in the IDC"):
        download_series("s3://idc-open-data/../x/", 1, tmp_path, settings)
