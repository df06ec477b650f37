"""Tiny studies made with `process_items` alone."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from guidegen.ids import assign_shard, make_case_id
from guidegen.manifest import Item, Outcome, process_items
from guidegen.provenance import record_job
from guidegen.study import Study
from guidegen.tables import read_tsv, write_tsv
from guidegen.version.commit import commit_run
from guidegen.version.repository import init_repository

sys.path.insert(0, str(Path(__file__).parent))
REPOSITORY = Path(__file__).parents[2]
COLLECTION = "tcga_luad"
INDEX_COLUMNS = ("case", "patient", "patient_id", "collection", "role", "series_uid", "licence", "shard")
COHORT_COLUMNS = ("case", "patient", "collection", "split", "licence", "status", "reason")
LICENCE = "CC BY 3.0"


def make_bytes(item: Item, folder: Path) -> Outcome:
    """Write 20 kB that depend on the case only."""
    name = f"{item.case}.nii.gz"
    (folder / name).write_bytes(f"{item.case} {item.payload}\n".encode() * 400)
    return Outcome(files={"": name}, columns=dict(item.payload or {}))


def list_series(patients: int) -> list[dict[str, str]]:
    rows = []
    for number in range(patients):
        patient, uid = f"P-{number:03d}", f"1.2.3.{number}"
        rows.append(
            {
                "case": make_case_id(COLLECTION, patient, uid),
                "patient": patient,
                "patient_id": patient,
                "collection": COLLECTION,
                "role": "ct",
                "series_uid": uid,
                "licence": LICENCE,
                "shard": assign_shard(patient, 2),
            }
        )
    return rows


def run_phases(study: Study, patients: int = 6, without: str = "") -> None:
    """Do what a run does: index, two phases by shard, a cohort, each with its lineage row."""
    series = [row for row in list_series(patients) if row["patient"] != without]
    write_tsv(study.index_table(COLLECTION), INDEX_COLUMNS, series)
    for shard in study.list_shards(COLLECTION):
        rows = [row for row in series if row["shard"] == shard]
        for phase in ("raw", "ct"):
            where = study.shard("data", phase, COLLECTION, shard)
            columns = ("parent", "series_uid") if phase == "raw" else ()
            items = [
                Item(
                    row["case"],
                    {"series": row["series_uid"]},
                    {"parent": row["case"], "series_uid": row["series_uid"]} if phase == "raw" else None,
                )
                for row in rows
            ]
            job = {"collection": COLLECTION, "shard": shard}
            with record_job(study, {"raw": "retrieve", "ct": "convert"}[phase], job, [], [where.manifest]):
                process_items(where, items, make_bytes, fingerprint="1", columns=columns)
    cohort = study.root / "data" / "cohort" / "cohort.tsv"
    with record_job(study, "prepare", {}, [], [cohort]):
        splits = ("train", "train", "val", "test")
        rows = [row | {"split": splits[int(row["patient"][2:]) % 4], "status": "ok", "reason": ""} for row in series]
        write_tsv(cohort, COHORT_COLUMNS, [{name: row[name] for name in COHORT_COLUMNS} for row in rows])


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


def make_study(root: Path, config: str = "") -> Study:
    (root / "config").mkdir(parents=True)
    for name in ("collections.tsv", "labels.tsv", "source_labels.tsv"):
        shutil.copyfile(REPOSITORY / "config" / name, root / "config" / name)
    text = f"study:\n  name: tiny\n  collections: [{COLLECTION}]\n{config}"
    (root / "config" / "config.yaml").write_text(text, encoding="utf-8")
    return Study.load(root)


@pytest.fixture(autouse=True, scope="session")
def _own_git_identity(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the user's git config out of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("GIT_")]:
            patch.delenv(name)
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        patch.setenv("GUIDEGEN_RUN_ID", "first")
        yield


@pytest.fixture(autouse=True)
def _clean_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """The state of the clone that the tests lie in must not decide how they end."""
    monkeypatch.setattr("guidegen.version.commit.describe_code", lambda: "0" * 40)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of six patients in two shards, not committed yet."""
    made = make_study(tmp_path_factory.mktemp("template") / "study", "version:\n  remote: ../remote\n")
    init_repository(made.root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("guidegen.provenance.describe_code", lambda: "0" * 40)
        run_phases(made)
    return made.root


@pytest.fixture
def study(template: Path, tmp_path: Path) -> Study:
    """A copy of the template to play with; its remote is a folder beside it."""
    shutil.copytree(template, tmp_path / "study", symlinks=True)
    return Study.load(tmp_path / "study")


@pytest.fixture(scope="session")
def committed_template(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a committed study of six patients, the state of its splits among it, and its remote."""
    folder = tmp_path_factory.mktemp("committed")
    shutil.copytree(template, folder / "study", symlinks=True)
    cohort = folder / "study" / "data" / "cohort"
    state = {
        row["patient"]: {"split": row["split"], "stratum": ["", "", ""]} for row in read_tsv(cohort / "cohort.tsv")
    }
    (cohort / "splits.json").write_text(json.dumps({"patients": state}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("guidegen.version.commit.describe_code", lambda: "0" * 40)
        commit_run(Study.load(folder / "study"))
    return folder


@pytest.fixture
def committed(committed_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """A copy of the committed study to play with, its remote beside it; later jobs count as made by clean code."""
    monkeypatch.setattr("guidegen.provenance.describe_code", lambda: "0" * 40)
    shutil.copytree(committed_template, tmp_path, symlinks=True, dirs_exist_ok=True)
    return Study.load(tmp_path / "study")


@pytest.fixture
def ct_files(request: pytest.FixtureRequest) -> Callable[[], list[Path]]:
    """The converted volumes of the study, in order."""
    name = "committed" if "committed" in request.fixturenames else "study"
    study: Study = request.getfixturevalue(name)
    return lambda: sorted((study.root / "data" / "ct").rglob("*.nii.gz"))
