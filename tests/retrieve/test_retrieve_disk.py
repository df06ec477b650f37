"""A disk that is full, read-only or capped: a clear row or error, nothing half-made, and the next run goes on."""

import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hand_made_ct import make_ct
from nbia_server import Nbia
from s3_bucket import Bucket, serve_s3
from small_disk import fill_disk, mount_small_disk
from small_study import make_study
from typer.testing import CliRunner

from guidegen import services
from guidegen.cli import app
from guidegen.errors import GuideGenError, ShardFailed
from guidegen.index.build import INDEX_COLUMNS, build_index
from guidegen.manifest import read_manifest
from guidegen.retrieve import shards
from guidegen.study import Study
from guidegen.tables import write_tsv


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "FIRST_PAUSE_S", 0.01)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with mount_small_disk(tmp_path / "disk") as place:
        yield place


def open_study(root: Path, source: str, url: str, **retrieve: object) -> Study:
    key = "nbia_url" if source == "nbia" else "endpoint_url"
    values = {key: url, "min_free_gb": 0, "attempts": 2} | retrieve
    text = ", ".join(f"{name}: {value!r}" for name, value in values.items())
    return make_study(
        root,
        "study: {name: disk, collections: [tcga_read]}\n"
        f"index: {{source: {source}, idc_tables_url: '', selection: {{nbia: {{min_instances: 12, min_slice_mb: null}}}}"
        f"}}\nretrieve: {{{text}}}\n",
    )


@contextmanager
def serve_nbia() -> Iterator[tuple[str, Callable[[Study], object]]]:
    nbia = Nbia()
    server = nbia.serve()
    for name in ("P-1", "P-2"):
        datasets = make_ct(12)
        for ds in datasets:
            ds.PatientID = name
        nbia.add(datasets)
    yield nbia.url, build_index
    server.shutdown()


@contextmanager
def serve_idc() -> Iterator[tuple[str, Callable[[Study], object]]]:
    with serve_s3() as url:
        row = Bucket(url).index_row()
        yield url, lambda study: write_tsv(study.index_table("tcga_read"), INDEX_COLUMNS, [row])


def call_retrieve(study: Study) -> None:
    command = ["retrieve", "--study", str(study.root), "--collection", "tcga_read", "--shard", "s000"]
    result = CliRunner().invoke(app, command, catch_exceptions=True)
    if result.exception:
        raise result.exception


def list_tars(study: Study) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (study.root / "data" / "raw").rglob("*.tar")}


@pytest.mark.parametrize(("serve", "bytes_left"), [(serve_nbia, (8_192, 50_000)), (serve_idc, (8_192, 40_000))])
def test_disk_that_is_full_while_writing(
    small_disk: Path, tmp_path: Path, serve: Callable, bytes_left: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Another job may fill the disk after this one has looked.
    monkeypatch.setattr(shards, "check_disk", lambda *arguments: None)
    source = serve.__name__.removeprefix("serve_")
    with serve() as (url, index):
        whole = open_study(tmp_path / "whole", source, url)
        study = open_study(small_disk / "study", source, url)
        index(whole)
        (study.root / "data" / "index").mkdir(parents=True)
        for path in (whole.root / "data" / "index").iterdir():
            (study.root / "data" / "index" / path.name).write_bytes(path.read_bytes())
        call_retrieve(whole)
        for left in bytes_left:
            filler = fill_disk(small_disk, left)
            with pytest.raises(GuideGenError, match=r"[Nn]o space left on device"):
                call_retrieve(study)
            assert not study.manifest("data", "raw", "tcga_read", "s000").exists()
            tars = list_tars(study)
            assert tars.items() <= list_tars(whole).items(), "what is there is whole"
            filler.unlink()
        call_retrieve(study)
        assert list_tars(study) == list_tars(whole)
        manifests = [s.manifest("data", "raw", "tcga_read", "s000").read_bytes() for s in (study, whole)]
        assert manifests[0] == manifests[1]


def test_disk_that_is_read_only(small_disk: Path) -> None:
    with serve_nbia() as (url, index):
        study = open_study(small_disk / "study", "nbia", url)
        index(study)
        subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
        with pytest.raises(GuideGenError, match=r"[Rr]ead-only file system\. What was finished is kept"):
            call_retrieve(study)
        subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
        call_retrieve(study)
        assert len(list_tars(study)) == 2


def test_file_that_may_not_grow(tmp_path: Path) -> None:
    with serve_nbia() as (url, index):
        study = open_study(tmp_path / "study", "nbia", url)
        index(study)
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, before[1]))
        try:
            with pytest.raises(ShardFailed, match="File too large"):
                call_retrieve(study)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert not list_tars(study)
        call_retrieve(study)
        rows = read_manifest(study.manifest("data", "raw", "tcga_read", "s000"))
        assert [row["status"] for row in rows] == ["ok", "ok"]


def test_free_space_and_cap_are_looked_at_before_the_start(tmp_path: Path) -> None:
    with serve_nbia() as (url, index):
        study = open_study(tmp_path / "study", "nbia", url)
        index(study)
        full = open_study(tmp_path / "study", "nbia", url, min_free_gb=1_000_000)
        with pytest.raises(GuideGenError, match="must stay free"):
            call_retrieve(full)
        capped = open_study(tmp_path / "study", "nbia", url, max_disk_gb=0.00005)
        with pytest.raises(GuideGenError, match=r"exceed the cap of 5e-05 GB \(retrieve\.max_disk_gb\)"):
            call_retrieve(capped)
        assert not (study.root / "data" / "raw").exists()
        call_retrieve(open_study(tmp_path / "study", "nbia", url, max_disk_gb=0.001))
        call_retrieve(capped)  # nothing more is needed
