"""The whole study, small: every phase through real Snakemake."""

import json
import shutil
from pathlib import Path

import pytest

from guidegen.manifest import list_files, read_manifest
from guidegen.study import Study
from guidegen.tables import read_tsv


def test_every_phase_made_its_outputs(smoke_study: Path) -> None:
    study = Study.load(smoke_study)
    for collection in study.collections:
        for shard in study.list_shards(collection):
            for phase in ("raw", "ct", "mask"):
                assert read_manifest(study.manifest("data", phase, collection, shard))
        assert read_tsv(smoke_study / "data" / "text" / f"{collection}.tsv")
    for name in ("data/cohort/cohort.tsv", "results/models/latent_generator.tsv", "results/segmentation/both.tsv"):
        assert (smoke_study / name).is_file(), name
    for table in ("training", "segmentation", "adherence", "intensity"):
        assert json.loads((smoke_study / "results" / "evaluation" / f"{table}.json").read_text())
    assert (smoke_study / "results" / "report" / "index.html").stat().st_size > 10_000


def test_no_series_of_the_archive_disappears(smoke_study: Path) -> None:
    """Each series is in the index, or excluded by a named criterion; each indexed case has a row in each phase."""
    import pandas as pd

    study = Study.load(smoke_study)
    offered = pd.read_parquet(smoke_study / "archive" / "idc_index.parquet")
    for collection in study.collections:
        index = study.read_index(collection)
        excluded = read_tsv(smoke_study / "data" / "index" / f"{collection}.excluded.tsv", ("series_uid", "criterion"))
        assert all(row["criterion"] for row in excluded)
        known = {row["series_uid"] for row in index} | {row["series_uid"] for row in excluded}
        assert known == set(offered.loc[offered.collection_id == collection, "SeriesInstanceUID"])
        cases = {row["case"] for row in index}
        for phase in ("ct", "mask"):
            shards = study.list_shards(collection)
            rows = [r for s in shards for r in read_manifest(study.manifest("data", phase, collection, s))]
            assert {row["case"] for row in rows} == cases
            assert all(row["reason"] for row in rows if row["status"] != "ok")
    cohort = read_tsv(smoke_study / "data" / "cohort" / "cohort.tsv")
    everything = {row["case"] for name in study.collections for row in study.read_index(name)}
    assert {row["case"] for row in cohort} == everything


def test_manifests_name_every_bulk_file_with_its_hash(smoke_study: Path) -> None:
    from guidegen.atomic import hash_file

    manifests = [
        p for top in ("data", "results") for p in (smoke_study / top).rglob("*.tsv") if p.with_suffix("").is_dir()
    ]
    assert len(manifests) > 10
    for manifest in manifests:
        named = {
            smoke_study / name: digest for row in read_manifest(manifest) for _, name, _, digest in list_files(row)
        }
        if manifest.stem == "index":
            continue
        found = {path for path in manifest.with_suffix("").rglob("*") if path.is_file() and path.name != ".gitignore"}
        assert found == set(named), manifest
        for path, digest in named.items():
            assert hash_file(path) == digest


def test_second_run_has_nothing_to_do(smoke_study: Path, call) -> None:
    assert "Nothing to be done" in call("run", "--study", smoke_study).stderr


def test_patients_do_not_cross_splits(smoke_study: Path) -> None:
    cohort = [row for row in read_tsv(smoke_study / "data" / "cohort" / "cohort.tsv") if row["status"] == "ok"]
    splits: dict[str, set[str]] = {}
    for row in cohort:
        splits.setdefault(row["patient"], set()).add(row["split"])
    assert all(len(found) == 1 for found in splits.values())
    assert {"train", "val", "test"} == set().union(*splits.values())


@pytest.mark.parametrize("damage", ["delete", "alter", "add"])
def test_verify_names_what_is_wrong(smoke_study: Path, tmp_path: Path, call, damage: str) -> None:
    root = tmp_path / "study"
    shutil.copytree(smoke_study, root, ignore=shutil.ignore_patterns("archive", ".snakemake"))
    assert call("version", "verify", "--study", root).returncode == 0
    victim = sorted((root / "data" / "ct").rglob("*.nii.gz"))[0]
    if damage == "delete":
        victim.unlink()
    elif damage == "alter":
        data = bytearray(victim.read_bytes())
        data[len(data) // 2] ^= 1
        victim.write_bytes(data)
    else:
        victim = victim.with_name("stranger.nii.gz")
        victim.write_bytes(b"?")
    done = call("version", "verify", "--study", root, check=False)
    assert done.returncode == 1
    assert victim.name in done.stdout + done.stderr
