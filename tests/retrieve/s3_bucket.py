"""A real S3 server on loopback, and a bucket of it that holds series as the IDC does."""

from collections.abc import Iterator
from contextlib import contextmanager

import boto3
from botocore.client import Config
from hand_made_ct import make_ct, to_bytes
from moto.server import ThreadedMotoServer

from guidegen.index.build import INDEX_COLUMNS

BUCKET = "idc-open-data"
SERIES = "0f0f0f0f-1111-2222-3333-444444444444"
LOCATION = f"s3://{BUCKET}/{SERIES}/"


@contextmanager
def serve_s3() -> Iterator[str]:
    """Run moto's server on a free port; yields its address."""
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
