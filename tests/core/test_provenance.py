"""Lineage rows: one per job, complete, and only for jobs that ended well."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from guidegen.atomic import hash_file
from guidegen.codehash import PACKAGE, code_hash
from guidegen.provenance import describe_code, describe_commit, hash_environment, record_job
from guidegen.study import Study

CONFIG = Path(__file__).parents[2] / "config"


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    (tmp_path / "config").mkdir()
    for name in ("collections.tsv", "labels.tsv", "source_labels.tsv"):
        shutil.copyfile(CONFIG / name, tmp_path / "config" / name)
    (tmp_path / "config" / "config.yaml").write_text("study:\n  seed: 7\n")
    monkeypatch.setenv("GUIDEGEN_RUN_ID", "run-1")
    return Study.load(tmp_path)


def records(study: Study) -> list[Path]:
    return sorted((study.root / "results" / "provenance").rglob("*.json"))


def test_a_row_says_what_was_read_and_made_and_with_what(study: Study) -> None:
    made, read = study.root / "data" / "out.tsv", study.root / "data" / "in.tsv"
    read.parent.mkdir()
    read.write_text("in")
    with record_job(study, "convert", {"collection": "a", "shard": "s000"}, [read], [made]):
        made.write_text("out")
    (path,) = records(study)
    assert path.relative_to(study.root) == Path("results/provenance/run-1/convert-a-s000.json")
    row = json.loads(path.read_text())
    assert row["inputs"] == {"data/in.tsv": hash_file(read)}
    assert row["outputs"] == {"data/out.tsv": hash_file(made)}
    assert row["config"] == hash_file(study.root / "config" / "config.yaml")
    assert (row["seed"], row["code"], row["environment"]) == (7, code_hash("convert"), hash_environment())
    assert row["start"] <= row["end"]


def test_a_job_that_fails_leaves_no_row(study: Study) -> None:
    with pytest.raises(ZeroDivisionError), record_job(study, "convert", {}, [], []):
        raise ZeroDivisionError
    assert records(study) == []


def test_two_jobs_never_share_a_row(study: Study) -> None:
    for shard in ("s000", "s001"):
        with record_job(study, "convert", {"collection": "a", "shard": shard}, [], []):
            pass
    assert len(records(study)) == 2


@pytest.mark.parametrize("run", ["../../../escaped", "a/b", ".."])
def test_a_run_id_cannot_lead_out_of_the_folder(study: Study, monkeypatch: pytest.MonkeyPatch, run: str) -> None:
    monkeypatch.setenv("GUIDEGEN_RUN_ID", run)
    with record_job(study, "convert", {}, [], []):
        pass
    (path,) = records(study)
    assert path.parent.parent == study.root / "results" / "provenance"


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "-C", folder, *identity, *words], check=True, capture_output=True)


def test_a_commit_is_described_with_its_dirt(tmp_path: Path) -> None:
    assert describe_commit(tmp_path) == ""
    git(tmp_path, "init", "-q")
    (tmp_path / "a.py").write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "a")
    clean = describe_commit(tmp_path)
    assert len(clean) == 40
    (tmp_path / "a.py").write_text("2")
    assert describe_commit(tmp_path) == f"{clean}-dirty"


def test_code_installed_inside_a_foreign_repository_is_described_by_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wheel in a virtual environment in a study: the study's commit is not the code's."""
    git(tmp_path, "init", "-q")
    (tmp_path / ".gitignore").write_text(".venv/\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "a")
    installed = tmp_path / ".venv" / "guidegen"
    installed.mkdir(parents=True)
    (installed / "__init__.py").touch()
    monkeypatch.setattr("guidegen.provenance.PACKAGE", installed)
    assert describe_code().startswith("v")
    assert describe_code() != describe_commit(PACKAGE)
