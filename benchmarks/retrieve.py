"""retrieve: one shard from a local S3 server, checked and stored, against bare s5cmd with a manifest."""

import hashlib
import io
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import psutil
from botocore.client import Config
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from guidegen.index.build import INDEX_COLUMNS
from guidegen.retrieve.s3 import find_s5cmd
from guidegen.retrieve.shards import find_collection, retrieve_shard
from guidegen.retrieve.tarball import read_tar
from guidegen.study import Study
from guidegen.tables import write_tsv

BUCKET, SERIES, SLICES, RUNS = "idc-open-data", 12, 60, 7
CONFIG = Path(__file__).parents[1] / "config"


def make_slice(series: str, number: int) -> bytes:
    """One CT image of 512 x 512 x 16 bit, as most of the twelve collections have."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID, ds.SeriesInstanceUID = CTImageStorage, generate_uid(), series
    ds.Modality, ds.PatientID, ds.InstanceNumber = "CT", "P-1", number
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = 512, 512, 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.PixelData = np.random.default_rng(number).integers(-1024, 1500, (512, 512), np.int16).tobytes()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    stream = io.BytesIO()
    dcmwrite(stream, ds, enforce_file_format=True)
    return stream.getvalue()


SERVER = """
import sys, threading, time
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

moto, rate, line = DomainDispatcherApplication(create_backend_app), float(sys.argv[2]), threading.Lock()

def send(environ, start_response):
    for part in moto(environ, start_response):
        if rate:
            with line:
                time.sleep(len(part) / rate)
        yield part

run_simple("127.0.0.1", int(sys.argv[1]), send, threaded=True)
"""
"""moto's S3 server behind a line of so many bytes per second; 0: as fast as it can."""


def start_server(rate: float = 0.0) -> tuple[subprocess.Popen[bytes], str]:
    """Run the server in a process of its own, so that it shares no interpreter with what is measured."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", SERVER, str(port), str(rate)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return server, f"http://127.0.0.1:{port}"
        time.sleep(0.1)
    server.kill()
    raise RuntimeError("moto's server did not start")


def fill_server(url: str) -> list[dict[str, str]]:
    """Put the series there; returns their index rows."""
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=url, config=Config(retries={"max_attempts": 1}), **keys)
    client.create_bucket(Bucket=BUCKET, ACL="public-read")
    rows = []
    for number in range(SERIES):
        folder, series, size = str(uuid.uuid4()), generate_uid(), 0
        for image in range(SLICES):
            data = make_slice(series, image + 1)
            size += len(data)
            client.put_object(Bucket=BUCKET, Key=f"{folder}/{uuid.uuid4()}.dcm", Body=data, ACL="public-read")
        row = dict.fromkeys(INDEX_COLUMNS, "") | {"case": f"tcga_read__P-{number}__0", "role": "ct", "shard": "s000"}
        row |= {"patient": f"P-{number}", "patient_id": f"P-{number}", "collection": "tcga_read", "format": "dicom"}
        row |= {"series_uid": series, "modality": "CT", "location": f"s3://{BUCKET}/{folder}/"}
        rows.append(row | {"instances": str(SLICES), "bytes": str(size)})
    return rows


@dataclass(frozen=True)
class Turn:
    """One retrieval of the shard: seconds, CPU seconds of client and server, hashes of all images."""

    seconds: float
    client_cpu: float
    server_cpu: float
    images: set[str]


def read_clocks(server: int) -> tuple[float, float, float]:
    """Return the time, the CPU seconds of this process with its finished children, and those of the server."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    times = psutil.Process(server).cpu_times()
    return time.perf_counter(), sum(u.ru_utime + u.ru_stime for u in usages), times.user + times.system


def run_ours(root: Path, url: str, rows: list[dict[str, str]], server: int) -> Turn:
    """Retrieve the shard into a fresh study."""
    (root / "config").mkdir(parents=True)
    for table in ("collections.tsv", "labels.tsv", "source_labels.tsv"):
        shutil.copyfile(CONFIG / table, root / "config" / table)
    config = "study: {collections: [tcga_read]}\nindex: {source: idc}\n"
    (root / "config" / "config.yaml").write_text(config + f"retrieve: {{endpoint_url: '{url}', min_free_gb: 0}}\n")
    study = Study.load(root)
    write_tsv(study.index_table("tcga_read"), INDEX_COLUMNS, rows)
    start = read_clocks(server)
    stored = retrieve_shard(study, find_collection(study, "tcga_read"), "s000")
    spent = np.subtract(read_clocks(server), start)
    images = {hashlib.sha256(data).hexdigest() for row in stored for _, data in read_tar(root / row["path"])}
    return Turn(*map(float, spent), images)


def run_s5cmd(root: Path, url: str, rows: list[dict[str, str]], server: int) -> Turn:
    """Download the same series with one s5cmd and its defaults."""
    root.mkdir()
    manifest = root.with_suffix(".txt")
    manifest.write_text("".join(f"cp {row['location']}* {root / row['case']}/\n" for row in rows))
    command = [find_s5cmd(), "--no-sign-request", "--endpoint-url", url, "--log", "error", "run", str(manifest)]
    start = read_clocks(server)
    subprocess.run(command, check=True)
    spent = np.subtract(read_clocks(server), start)
    images = {hashlib.sha256(path.read_bytes()).hexdigest() for path in root.rglob("*.dcm")}
    return Turn(*map(float, spent), images)


def rows() -> list[dict[str, Any]]:
    """Measure the throughput of one shard from a server without limit, and at a gigabit per second."""
    return [compare("a local S3 server", 0.0, 0.8), compare("an S3 server at 1 Gbit/s", 125e6, 0.8)]


def compare(name: str, rate: float, goal: float) -> dict[str, Any]:
    """Let both take turns; the median counts."""
    server, url = start_server(rate)
    try:
        with tempfile.TemporaryDirectory() as folder:
            index = fill_server(url)
            megabytes = sum(int(row["bytes"]) for row in index) / 1e6
            ours, theirs = [], []
            for turn in range(RUNS + 1):  # the first turn warms up
                ours.append(run_ours(Path(folder) / f"ours{turn}", url, index, server.pid))
                theirs.append(run_s5cmd(Path(folder) / f"s5cmd{turn}", url, index, server.pid))
                if ours[-1].images != theirs[-1].images or len(ours[-1].images) != SERIES * SLICES:
                    raise RuntimeError("the two did not bring the same images")
    finally:
        server.terminate()
        server.wait()
    seconds, client, server_cpu = (
        [statistics.median(getattr(turn, field) for turn in turns[1:]) for turns in (ours, theirs)]
        for field in ("seconds", "client_cpu", "server_cpu")
    )
    cpu = [f"{one:.1f} + {other:.1f}" for one, other in zip(client, server_cpu, strict=True)]
    work = f"CPU s of client + server: {cpu[0]} against {cpu[1]}"
    return {
        "name": f"retrieve one shard from {name}",
        "unit": "MB/s",
        "ours": megabytes / seconds[0],
        "baseline": megabytes / seconds[1],
        "baseline_name": f"s5cmd, nothing checked or packed ({work}; machine load {os.getloadavg()[0]:.0f})",
        "better": "higher",
        "goal": goal,
    }
