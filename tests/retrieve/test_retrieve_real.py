"""Real series through both services: what is stored are the bytes that the servers have, in order."""

import os
from pathlib import Path

import pydicom
import pytest
from nbia_server import Nbia
from s3_bucket import BUCKET, Bucket, serve_s3
from small_study import make_study

from guidegen.index.build import INDEX_COLUMNS, build_index
from guidegen.retrieve.shards import find_collection, retrieve_shard
from guidegen.retrieve.tarball import read_tar
from guidegen.study import Study
from guidegen.tables import write_tsv

pytestmark = pytest.mark.real
REALDATA = Path(os.environ.get("GUIDEGEN_REALDATA", Path(__file__).parents[2].parent / "shared" / "realdata"))
FOLDERS = ("CPTAC-PDA_C3L-00189", "CRLM-CT-1006")


@pytest.fixture(scope="module")
def series() -> dict[str, dict[int, bytes]]:
    """Bytes of each image by instance number, by series UID."""
    if not REALDATA.is_dir():
        pytest.skip(f"no real CT series at {REALDATA}; set GUIDEGEN_REALDATA to the folder that holds them")
    found: dict[str, dict[int, bytes]] = {}
    for name in FOLDERS:
        for path in (REALDATA / name / "dicom").glob("*.dcm"):
            header = pydicom.dcmread(path, stop_before_pixels=True)
            found.setdefault(str(header.SeriesInstanceUID), {})[int(header.InstanceNumber)] = path.read_bytes()
    return found


def check_shard(study: Study, series: dict[str, dict[int, bytes]]) -> None:
    rows = retrieve_shard(study, find_collection(study, "tcga_read"), "s000")
    assert [row["status"] for row in rows] == ["ok"] * len(series)
    for row in rows:
        stored = [data for _, data in read_tar(study.root / row["path"])]
        images = series[row["series_uid"]]
        assert stored == [images[number] for number in sorted(images)]


def test_real_series_through_s3(series: dict[str, dict[int, bytes]], tmp_path: Path) -> None:
    config = "study: {name: idc, collections: [tcga_read]}\nindex: {source: idc}\n"
    with serve_s3() as url:
        bucket, rows = Bucket(url), []
        for number, (uid, images) in enumerate(series.items()):
            folder = f"{number:08x}-1111-2222-3333-444444444444"
            for instance, data in images.items():
                key = f"{folder}/{instance:08x}-0000-4000-8000-000000000000.dcm"
                bucket.client.put_object(Bucket=BUCKET, Key=key, Body=data, ACL="public-read")
            row = bucket.index_row(f"tcga_read__P-{number}__00000000") | {"series_uid": uid}
            row |= {"instances": str(len(images)), "bytes": str(sum(map(len, images.values())))}
            rows.append(row | {"location": f"s3://{BUCKET}/{folder}/"})
        study = make_study(tmp_path, config + f"retrieve: {{endpoint_url: '{url}', min_free_gb: 0}}\n")
        write_tsv(study.index_table("tcga_read"), INDEX_COLUMNS, rows)
        check_shard(study, series)


def test_real_series_through_nbia(series: dict[str, dict[int, bytes]], tmp_path: Path) -> None:
    nbia = Nbia()
    server = nbia.serve()
    for images in series.values():
        datasets = [pydicom.dcmread(pydicom.filebase.DicomBytesIO(data)) for data in images.values()]
        uid = nbia.add(datasets[:1], ImageCount=len(images), FileSize=sum(map(len, images.values())))
        nbia.files[uid] = {f"{number:08d}.dcm": data for number, data in enumerate(images.values(), 1)}
    study = make_study(
        tmp_path,
        "study: {name: nbia, collections: [tcga_read]}\n"
        "index: {source: nbia, idc_tables_url: '', selection: {nbia: {min_instances: 20}}}\n"
        f"retrieve: {{nbia_url: '{nbia.url}', min_free_gb: 0}}\n",
    )
    build_index(study)
    check_shard(study, series)
    server.shutdown()
