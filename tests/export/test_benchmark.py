"""A stranger reads the benchmark with ten lines; CT pixels are fetched again and proven to be the right ones."""

import hashlib
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pydicom
import pytest

from guidegen.evaluate.segmentation import score_labels
from guidegen.export.benchmark import export_benchmark
from guidegen.export.release import Release
from guidegen.tables import read_tsv, write_tsv

SERIES = "12345678-1234-1234-1234-123456789abc"
PUBLIC = {"ACL": "public-read"}


@pytest.fixture(scope="module")
def folder(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("benchmark") / "release"
    export_benchmark(release, out)
    return out


@pytest.fixture(scope="module")
def archive(smoke_study: Path) -> Path:
    return smoke_study / "archive"


@pytest.fixture(scope="module")
def loader(folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("guidegen_benchmark", folder / "guidegen_benchmark.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_ten_lines_of_the_readme_run(folder: Path, archive: Path, tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    assert len(code.splitlines()) <= 10
    release = tmp_path / "release"
    shutil.copytree(folder, release)
    (release / "ct").symlink_to(archive)
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, '.')\n{code}"],
        cwd=release,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    tests = [row for row in read_tsv(folder / "cases.tsv") if row["split"] == "test"]
    assert tests
    assert done.stdout.count("'dice': 1.0") == sum(bool(row["labels_path"]) for row in tests)
    assert all(row["case"] in done.stdout for row in tests)


def test_the_release_holds_no_ct_pixels_and_leaves_no_case_unexplained(folder: Path, release: Release) -> None:
    suffixes = {"".join(path.suffixes[-2:]) for path in folder.rglob("*") if path.is_file()}
    assert suffixes <= {".nii.gz", ".tsv", ".md", ".json", ".py"}
    volumes = {path.parent.name for path in folder.rglob("*.nii.gz")}
    assert volumes == {"labels"}
    named = [row["case"] for name in ("cases.tsv", "left_out.tsv") for row in read_tsv(folder / name)]
    assert sorted(named) == sorted(row["case"] for row in release.tables.cohort)


def test_prompts_name_the_source_of_every_statement(folder: Path) -> None:
    rows = read_tsv(folder / "prompts.tsv")
    assert {row["case"] for row in rows} == {row["case"] for row in read_tsv(folder / "cases.tsv")}
    for row in rows:
        said, sources = json.loads(row["statements"]), json.loads(row["sources"])
        assert {key for key in said if key != "absent"} <= set(sources)


def test_volumes_and_label_maps_are_those_of_the_study(
    folder: Path, archive: Path, loader: ModuleType, release: Release
) -> None:
    import nibabel

    case = next(case for case in loader.Benchmark(folder, archive).list_cases() if case.has_labels)
    hu, affine = case.load_ct()
    (row,) = [row for row in release.tables.ct if row["case"] == case.name]
    image = nibabel.Nifti1Image.load(release.study.root / row["path"])
    assert np.array_equal(hu, np.asanyarray(image.dataobj))
    assert np.allclose(affine, image.affine, atol=1e-3)
    assert case.load_labels().shape == hu.shape
    assert case.prompt == case.prompts[0].text


def test_scores_are_those_of_the_study(loader: ModuleType) -> None:
    """Blobs that overlap in part, one that the prediction misses, and one that is only predicted."""
    spacing, tolerance = (1.5, 2.0, 3.0), 3.0
    truth = np.zeros((24, 20, 16), np.uint8)
    truth[3:12, 4:15, 2:9] = 1
    truth[14:20, 5:9, 5:12] = 2
    predicted = np.roll(truth, 2, axis=0)
    predicted[predicted == 2] = 0
    predicted[1:4, 16:19, 12:15] = 3
    expected = score_labels(predicted, truth, spacing, 4, tolerance)
    for number in (1, 2, 3):
        found = loader.score_class(predicted == number, truth == number, spacing, tolerance)
        for metric in ("dice", "hd95", "surface_dice"):
            assert found[metric] == pytest.approx(expected[metric][number], rel=1e-5), (number, metric)


def test_another_ct_and_an_altered_release_are_refused(
    folder: Path, archive: Path, loader: ModuleType, tmp_path: Path
) -> None:
    row = read_tsv(folder / "cases.tsv")[0]
    source = archive / row["collection"] / row["patient"] / row["series_uid"]
    shutil.copytree(source, tmp_path / "ct" / "series")
    path = sorted((tmp_path / "ct" / "series").iterdir())[3]
    dataset = pydicom.dcmread(path)
    pixels = dataset.pixel_array.copy()
    pixels[pixels.shape[0] // 2, pixels.shape[1] // 2] += 1
    dataset.set_pixel_data(pixels, dataset.PhotometricInterpretation, dataset.BitsStored)
    dataset.save_as(path)
    case = loader.Benchmark(folder, tmp_path / "ct").list_cases()[0]
    with pytest.raises(loader.BenchmarkError, match="the release was made on"):
        case.load_ct()
    path.unlink()
    with pytest.raises(loader.BenchmarkError, match="the release was made on"):
        loader.Benchmark(folder, tmp_path / "ct").list_cases()[0].load_ct()

    shutil.copytree(folder, tmp_path / "release")
    table = tmp_path / "release" / "cases.tsv"
    table.write_text(table.read_text().replace("\ttest\t", "\ttrain\t"))
    with pytest.raises(loader.BenchmarkError, match=r"cases.tsv: sha256 is .*, the release says"):
        loader.Benchmark(tmp_path / "release")


def test_series_in_no_public_bucket_are_named(folder: Path, loader: ModuleType, tmp_path: Path) -> None:
    benchmark = loader.Benchmark(folder, tmp_path)
    with pytest.raises(loader.BenchmarkError, match=r"series are in no public bucket \(source 'archive'\)"):
        benchmark.fetch()
    with pytest.raises(loader.BenchmarkError, match="no DICOM file of series"):
        benchmark.list_cases()[0].load_ct()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Any]]:
    """Address of a public S3 server, and its bucket."""
    boto3 = pytest.importorskip("boto3")
    server = pytest.importorskip("moto.server")
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    running.start()
    host, port = running.get_host_and_port()
    address = f"http://{host}:{port}"
    client = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
    made = boto3.resource("s3", endpoint_url=address, **client).create_bucket(Bucket="public", ACL="public-read")
    yield address, made
    running.stop()


def test_series_are_fetched_from_a_bucket_once(
    folder: Path, archive: Path, loader: ModuleType, tmp_path: Path, bucket: tuple[str, Any]
) -> None:
    address, stored = bucket
    release = tmp_path / "release"
    shutil.copytree(folder, release)
    rows = read_tsv(release / "cases.tsv")[:1]
    rows[0]["location"] = f"s3://public/{SERIES}/"
    write_tsv(release / "cases.tsv", tuple(rows[0]), rows)
    facts = json.loads((release / "benchmark.json").read_text())
    facts["files"]["cases.tsv"] = hashlib.sha256((release / "cases.tsv").read_bytes()).hexdigest()
    (release / "benchmark.json").write_text(json.dumps(facts))
    files = sorted((archive / rows[0]["collection"] / rows[0]["patient"] / rows[0]["series_uid"]).iterdir())
    for path in files[:-1]:
        stored.upload_file(str(path), f"{SERIES}/{path.name}", ExtraArgs=PUBLIC)

    with pytest.raises(loader.BenchmarkError, match=f"{len(files) - 1} of {len(files)} files"):
        loader.Benchmark(release, tmp_path / "ct").fetch(address)
    stored.upload_file(str(files[-1]), f"{SERIES}/{files[-1].name}", ExtraArgs=PUBLIC)
    benchmark = loader.Benchmark(release, tmp_path / "ct")
    benchmark.fetch(address)
    benchmark.fetch("http://127.0.0.1:9")  # nothing is missing, so nobody is asked
    assert benchmark.list_cases()[0].load_ct()[0].dtype == np.int16
