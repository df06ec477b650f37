"""The remote may be an S3 bucket: tested against a real server on loopback."""

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_restore import clone, hash_data

from guidegen.errors import GuideGenError
from guidegen.study import Study
from guidegen.version.commit import commit_run
from guidegen.version.restore import restore_run

boto3 = pytest.importorskip("boto3")
server = pytest.importorskip("moto.server", reason="moto[server] is not installed")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, object]]:
    """Address of an S3 server with the bucket `studies`, and the bucket."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    running.start()
    host, port = running.get_host_and_port()
    address = f"http://{host}:{port}"
    made = boto3.resource("s3", endpoint_url=address).create_bucket(Bucket="studies")
    yield address, made
    running.stop()


def test_a_run_goes_to_a_bucket_and_comes_back(
    template: Path, tmp_path: Path, bucket: tuple[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, stored = bucket
    root = tmp_path / "study"
    shutil.copytree(template, root, symlinks=True)
    config = root / "config" / "config.yaml"
    remote = f"  remote: s3://studies/tiny\n  endpoint_url: {address}"
    config.write_text(config.read_text().replace("  remote: ../remote", remote))
    study = Study.load(root)
    tag = commit_run(study).tag
    keys = {item.key for item in stored.objects.all()}  # type: ignore[attr-defined]
    volume = next((root / "data" / "ct").rglob("*.nii.gz"))
    digest = hashlib.md5(volume.read_bytes()).hexdigest()
    key = f"tiny/files/md5/{digest[:2]}/{digest[2:]}"
    assert key in keys
    again = clone(study, tmp_path / "again")
    restore_run(again, tag)
    assert hash_data(again) == hash_data(root)

    stored.Object(key).delete()  # type: ignore[attr-defined]
    broken = clone(study, tmp_path / "broken")
    with pytest.raises(GuideGenError, match=f"missing or corrupted at the remote: 1 object.s.: {volume.name}"):
        restore_run(broken, tag)
    commit_run(study)
    restore_run(broken, tag)
    assert hash_data(broken) == hash_data(root)


def test_an_unreachable_server_is_one_clear_message(template: Path, tmp_path: Path, bucket: tuple[str, object]) -> None:
    root = tmp_path / "study"
    shutil.copytree(template, root, symlinks=True)
    config = root / "config" / "config.yaml"
    remote = f"  remote: s3://no-such-bucket/x\n  endpoint_url: {bucket[0]}"
    config.write_text(config.read_text().replace("  remote: ../remote", remote))
    with pytest.raises(GuideGenError, match="the remote does not answer as it should"):
        commit_run(Study.load(root))
