"""mlcroissant loads the synthetic sets and iterates their records, and what they name is there."""

import hashlib
import json
from pathlib import Path

import mlcroissant as mlc
import nibabel
import pytest

from guidegen.export.croissant import export_croissant
from guidegen.export.release import Release
from guidegen.manifest import read_manifest


@pytest.fixture(scope="module")
def folder(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("croissant") / "sets"
    assert export_croissant(release, out) > 0
    return out


@pytest.fixture(scope="module")
def dataset(folder: Path) -> mlc.Dataset:
    return mlc.Dataset(jsonld=str(folder / "croissant.json"))


def test_the_metadata_is_valid(dataset: mlc.Dataset, release: Release) -> None:
    assert not dataset.metadata.ctx.issues.errors
    assert dataset.metadata.license == ["https://creativecommons.org/licenses/by/4.0/"]
    assert all(collection.doi in dataset.metadata.cite_as for collection in release.study.collections.values())


def test_records_are_the_cases_that_passed_with_their_volumes(
    dataset: mlc.Dataset, folder: Path, release: Release
) -> None:
    records = [
        {key.removeprefix("cases/"): decode(value) for key, value in record.items()}
        for record in dataset.records("cases")
    ]
    made = [
        (path.parent.name, row["case"], row["sha256"])
        for path in sorted((release.study.root / "results" / "synthetic").rglob("s*.tsv"))
        for row in read_manifest(path)
        if row["status"] == "ok"
    ]
    assert sorted((record["set"], record["case"], record["ct_sha256"]) for record in records) == sorted(made)
    for record in records:
        for role in ("ct", "labels", "provenance"):
            content = (folder / record[role]).read_bytes()
            assert hashlib.sha256(content).hexdigest() == record[f"{role}_sha256"]
        assert record["prompt"]
        assert json.loads((folder / record["provenance"]).read_text())["prompt"] == record["prompt"]
    image = nibabel.Nifti1Image.load(folder / records[0]["ct"])
    assert len(image.shape) == 3


def test_classes_are_a_record_set(dataset: mlc.Dataset, release: Release) -> None:
    names = {record["classes/id"]: decode(record["classes/name"]) for record in dataset.records("classes")}
    assert names == {entry.id: entry.name for entry in release.study.labels.classes}


def decode(value: object) -> object:
    return value.decode() if isinstance(value, bytes) else value
