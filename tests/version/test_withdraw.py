"""A patient whose consent was withdrawn is gone from workspace, cache and remote, and does not come back."""

import shutil
from pathlib import Path

import pytest
from test_restore import clone, hash_data
from test_s3 import bucket, server  # noqa: F401 - fixtures

from conftest import COLLECTION, git, run_phases
from guidegen.errors import GuideGenError
from guidegen.index.withdrawn import list_withdrawn, read_withdrawn
from guidegen.study import STATE_FOLDER, Study
from guidegen.version.affected import find_affected
from guidegen.version.commit import commit_run
from guidegen.version.remote import push_runs
from guidegen.version.restore import restore_run
from guidegen.version.verify import verify_study
from guidegen.version.withdraw import plan_withdrawal, withdraw_patient

PATIENT = "P-002"


@pytest.fixture
def runs(committed: Study, monkeypatch: pytest.MonkeyPatch) -> tuple[Study, str]:
    """A study with one committed run of six patients, and its tag."""
    monkeypatch.setenv("GUIDEGEN_RUN_ID", "second")
    return committed, git(committed.root, "tag", "--list", "run/*").strip()


def find_traces(root: Path, *tops: str) -> list[str]:
    """Files that name the patient, or whose name does, below the given folders."""
    found = []
    for top in tops:
        for path in sorted((root / top).rglob("*")):
            if path.is_file() and (PATIENT in path.name or PATIENT.encode() in path.read_bytes()):
                found.append(path.relative_to(root).as_posix())
    return found


def check_gone(study: Study) -> None:
    assert find_traces(study.root, "data", "results", "logs", STATE_FOLDER, ".dvc/cache") == [
        # Lists of files hold names only, as git's history does.
        name
        for name in find_traces(study.root, ".dvc/cache")
        if name.endswith(".dir")
    ]
    stored = [path for path in find_traces(study.root.parent, "remote") if not path.endswith(".dir")]
    assert stored == []
    assert find_traces(study.root, "config") == ["config/withdrawn.tsv"]
    assert git(study.root, "status", "--porcelain", "--", "config/withdrawn.tsv", "data/index") == ""


def test_affected_names_own_data_what_was_made_from_it_and_the_runs(runs: tuple[Study, str]) -> None:
    study, tag = runs
    found = find_affected(study, PATIENT)
    assert found.patients == (f"{COLLECTION}/{PATIENT}",)
    assert [node.kind for node in found.own] == ["series", "series as retrieved", "CT", "cohort row"]
    assert {node.name for node in found.derived} == {
        f"data/index/{COLLECTION}.tsv",
        f"data/raw/{COLLECTION}/s001.tsv",
        f"data/ct/{COLLECTION}/s001.tsv",
        "data/cohort/cohort.tsv",
        "data/cohort/splits.json",
    }
    assert list(found.runs) == [tag]
    with pytest.raises(GuideGenError, match="'P-999': no patient of this study"):
        find_affected(study, "P-999")


def test_a_withdrawn_patient_is_gone_everywhere_and_the_rest_goes_on(runs: tuple[Study, str], tmp_path: Path) -> None:
    study, tag = runs
    before = hash_data(study.root)
    plan = plan_withdrawal(study, PATIENT)
    assert hash_data(study.root) == before, "a plan changes nothing"
    assert sorted(plan.jobs) == ["convert tcga_luad s001", "prepare", "retrieve tcga_luad s001"]
    done = withdraw_patient(study, PATIENT, "request 17")
    assert done.runs.keys() == {tag}
    assert len(done.cached) == len(done.remote) == 2, "its series and its CT"
    check_gone(study)
    (row,) = read_withdrawn(study.root)
    assert (row["collection"], row["patient"], row["reason"]) == (COLLECTION, PATIENT, "request 17")
    kept = {path for path in hash_data(study.root) if "/s000" in path}
    assert kept == {path for path in before if "/s000" in path}, "the other shard is not touched"
    run_phases(study, without=PATIENT)
    assert verify_study(study).errors == []
    new = commit_run(study).tag
    again = clone(study, tmp_path / "again")
    assert restore_run(again, new).verification.findings == []
    check_gone(Study.load(again))


def test_no_run_that_holds_the_patient_is_restored_or_pushed_again(runs: tuple[Study, str], tmp_path: Path) -> None:
    study, tag = runs
    old = clone(study, tmp_path / "old")
    withdraw_patient(study, PATIENT, "request 17")
    again = clone(study, tmp_path / "again")
    for root in (study.root, again):
        with pytest.raises(GuideGenError, match=rf"{tag} is not restored(.|\n)*{PATIENT}, on .*: request 17"):
            restore_run(root, tag, force=True)
    assert "0 object(s)" in push_runs(study)
    with pytest.raises(GuideGenError, match="missing or corrupted at the remote"):
        restore_run(old, tag)  # a clone from before knows nothing of it, but the remote has nothing to give


def test_a_clean_older_run_comes_back_and_the_tombstone_stays(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guidegen.provenance.describe_code", lambda: "0" * 40)
    shutil.rmtree(study.root / "data")
    shutil.rmtree(study.root / "results")
    run_phases(study, without=PATIENT)
    clean = commit_run(study).tag
    monkeypatch.setenv("GUIDEGEN_RUN_ID", "second")
    run_phases(study)
    commit_run(study)
    withdraw_patient(study, PATIENT, "")
    assert restore_run(study.root, clean, force=True).verification.errors == []
    assert not (study.root / "config" / "withdrawn.tsv").exists()
    assert list_withdrawn(study.root, COLLECTION) == {PATIENT}, "the tag remembers what the older tree does not know"


def test_a_second_call_finds_nothing_to_do(runs: tuple[Study, str]) -> None:
    study, _ = runs
    withdraw_patient(study, PATIENT, "request 17")
    run_phases(study, without=PATIENT)
    commit_run(study)
    before, head = hash_data(study.root), git(study.root, "rev-parse", "HEAD")
    again = withdraw_patient(study, PATIENT, "request 17")
    assert (again.removal.files, again.removal.folders, again.cached, again.remote) == ([], [], {}, {})
    assert (hash_data(study.root), git(study.root, "rev-parse", "HEAD")) == (before, head)


@pytest.mark.parametrize("stage", ["_set_tombstone", "clear_tables", "_delete_objects", "_commit_removal"])
def test_interrupted_before_any_step_and_called_again_it_ends_the_same(
    runs: tuple[Study, str], monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    import guidegen.version.withdraw as module

    study, _ = runs

    def stop(*words: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, stage, stop)
        with pytest.raises(KeyboardInterrupt):
            withdraw_patient(study, PATIENT, "request 17")
    withdraw_patient(study, PATIENT, "request 17")
    check_gone(study)
    assert len(git(study.root, "tag", "--list", "withdrawn/*").split()) == 1
    run_phases(study, without=PATIENT)
    assert verify_study(study).errors == []


def test_the_objects_of_a_bucket_are_deleted(
    template: Path,
    tmp_path: Path,
    bucket: tuple[str, object],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address, stored = bucket
    monkeypatch.setattr("guidegen.provenance.describe_code", lambda: "0" * 40)
    root = tmp_path / "study"
    shutil.copytree(template, root, symlinks=True)
    config = root / "config" / "config.yaml"
    remote = f"  remote: s3://studies/tiny\n  endpoint_url: {address}"
    config.write_text(config.read_text().replace("  remote: ../remote", remote))
    study = Study.load(root)
    commit_run(study)
    assert any(PATIENT.encode() in item.get()["Body"].read() for item in stored.objects.all())  # type: ignore[attr-defined]
    done = withdraw_patient(study, PATIENT, "")
    assert len(done.remote) == 2
    bodies = {item.key: item.get()["Body"].read() for item in stored.objects.all()}  # type: ignore[attr-defined]
    assert [key for key, body in bodies.items() if PATIENT.encode() in body and not key.endswith(".dir")] == []


def test_a_repository_that_git_cannot_read_stops_instead_of_forgetting_withdrawals(runs: tuple[Study, str]) -> None:
    study, _ = runs
    withdraw_patient(study, PATIENT, "consent withdrawn")
    (study.root / "config" / "withdrawn.tsv").unlink()
    assert list_withdrawn(study.root, COLLECTION) == {PATIENT}
    (study.root / ".git" / "HEAD").write_text("ref: nothing sensible\n")
    with pytest.raises(GuideGenError, match="withdrawn patients cannot be left out"):
        list_withdrawn(study.root, COLLECTION)
