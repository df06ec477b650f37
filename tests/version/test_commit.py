"""A commit is whole or can be called again; it never takes what is wrong, and never forgets what was dirty."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import git, run_phases
from guidegen.errors import GuideGenError, VerificationFailed
from guidegen.study import STATE_FOLDER, Study
from guidegen.version.commit import commit_run
from guidegen.version.history import list_runs
from guidegen.version.repository import init_repository
from guidegen.version.verify import verify_study

Files = Callable[[], list[Path]]
OBJECTS = 6
"""Bulk files that differ (raw and CT of a case are the same bytes when nothing else is in them)."""


def tags(study: Study) -> list[str]:
    return git(study.root, "tag", "--list", "run/*").split()


def test_a_commit_puts_small_things_into_git_and_bulk_into_dvc(study: Study, ct_files: Files, tmp_path: Path) -> None:
    times = {path: path.stat().st_mtime_ns for path in ct_files()}
    run = commit_run(study, message="first")
    assert run.new
    assert tags(study) == [run.tag]
    tracked = git(study.root, "ls-files").splitlines()
    assert "data/ct/tcga_luad/s000.tsv" in tracked
    assert "data/ct/tcga_luad/s000.dvc" in tracked
    assert "results/provenance/lineage.jsonl" in tracked
    assert not [name for name in tracked if name.endswith(".nii.gz") or "/first/" in name or STATE_FOLDER in name]
    assert git(study.root, "status", "--porcelain") == ""
    assert {path: path.stat().st_mtime_ns for path in ct_files()} == times, "times decide what Snakemake reruns"
    stored = [path for path in (tmp_path / "remote").rglob("*") if path.is_file() and path.suffix != ".dir"]
    assert len(stored) == len({path.read_bytes() for path in study.root.rglob("data/*/*/*/*.nii.gz")})
    assert verify_study(study).findings == []


def test_lineage_has_one_row_per_job_and_grows_with_the_runs(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    commit_run(study)
    lineage = study.root / "results" / "provenance" / "lineage.jsonl"
    rows = [json.loads(line) for line in lineage.read_text().splitlines()]
    assert sorted((row["run"], row["file"]) for row in rows) == [
        ("first", "convert-tcga_luad-s000.json"),
        ("first", "convert-tcga_luad-s001.json"),
        ("first", "prepare.json"),
        ("first", "retrieve-tcga_luad-s000.json"),
        ("first", "retrieve-tcga_luad-s001.json"),
    ]
    shutil.rmtree(study.root / "results" / "provenance" / "first")
    monkeypatch.setenv("GUIDEGEN_RUN_ID", "second")
    monkeypatch.setattr("guidegen.provenance.describe_code", lambda: "0" * 40)
    run_phases(study, patients=7)
    commit_run(study)
    assert len(lineage.read_text().splitlines()) == 10


def test_a_second_commit_of_the_same_does_nothing(study: Study) -> None:
    first = commit_run(study)
    second = commit_run(study)
    assert (second.new, second.tag, second.commit) == (False, first.tag, first.commit)
    assert tags(study) == [first.tag]


def test_two_equal_runs_have_the_same_content(template: Path, tmp_path: Path) -> None:
    contents = []
    for name in ("a", "b"):
        root = tmp_path / name / "study"
        shutil.copytree(template, root, symlinks=True)
        record = root / "results" / "provenance" / "first" / "prepare.json"
        record.write_text(record.read_text().replace('"host": "', f'"host": "{name}'))
        config = root / "config" / "config.yaml"
        config.write_text(config.read_text().replace("../remote", f"../remote-{name}"))
        contents.append(commit_run(Study.load(root)).tag.rpartition("-")[2])
    assert contents[0] == contents[1]


def test_another_run_gets_another_name_and_drops_what_is_gone(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    first = commit_run(study)
    for phase in ("raw", "ct"):
        (study.root / "data" / phase / "tcga_luad" / "s001.tsv").unlink()
        shutil.rmtree(study.root / "data" / phase / "tcga_luad" / "s001")
    monkeypatch.setattr("guidegen.provenance.describe_code", lambda: "0" * 40)
    run_phases(study, patients=1)
    second = commit_run(study)
    assert second.tag != first.tag
    assert set(tags(study)) == {first.tag, second.tag}
    assert "data/ct/tcga_luad/s001.dvc" not in git(study.root, "ls-files").splitlines()


def test_uncommitted_code_is_refused_and_never_forgotten(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guidegen.version.commit.describe_code", lambda: "1" * 40 + "-dirty")
    with pytest.raises(GuideGenError, match=r"uncommitted changes(.|\n)*--allow-dirty"):
        commit_run(study)
    assert tags(study) == []
    commit_run(study, allow_dirty=True)
    (run,) = list_runs(study.root)
    assert run.fields["Dirty"] == "yes"
    assert "FROM UNCOMMITTED CODE" in run.describe()


def test_a_job_of_uncommitted_code_is_refused_though_the_code_is_clean_now(study: Study) -> None:
    record = study.root / "results" / "provenance" / "first" / "convert-tcga_luad-s001.json"
    record.write_text(record.read_text().replace("0" * 40, "0" * 40 + "-dirty"))
    with pytest.raises(GuideGenError, match=r"made by uncommitted code: first/convert-tcga_luad-s001.json"):
        commit_run(study)


def test_nothing_is_committed_of_a_study_that_does_not_verify(study: Study, ct_files: Files, tmp_path: Path) -> None:
    ct_files()[0].write_bytes(b"?")
    with pytest.raises(VerificationFailed, match=f"altered: .*{ct_files()[0].name}"):
        commit_run(study)
    assert tags(study) == []
    assert not (tmp_path / "remote").exists()
    assert not list(study.root.rglob("*.nii.gz.dvc"))


def test_a_large_file_outside_the_bulk_is_refused(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guidegen.version.commit.LARGEST_TABLE", 100_000)
    (study.root / "results" / "volume.raw").write_bytes(bytes(200_000))
    with pytest.raises(GuideGenError, match=r"results/volume.raw: .* outside any bulk folder"):
        commit_run(study)


def test_the_clone_of_the_code_is_never_committed_to(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "guidegen"\n')
    with pytest.raises(GuideGenError, match="is the clone of the GuideGen code"):
        init_repository(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["pyproject.toml"]


def test_init_keeps_what_is_there(study: Study) -> None:
    (study.root / ".gitignore").write_text("mine\n")
    head = git(study.root, "rev-parse", "HEAD")
    init_repository(study.root)
    lines = (study.root / ".gitignore").read_text().splitlines()
    assert lines[0] == "mine"
    assert len(lines) == len(set(lines)) > 5
    assert git(study.root, "rev-parse", "HEAD") == head


def test_locks_of_a_dead_git_are_removed(study: Study) -> None:
    names = ("index.lock", "HEAD.lock", "refs/heads/main.lock", "refs/tags/run/x.lock")
    locks = [study.root / ".git" / name for name in names]
    for path in locks:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert commit_run(study).new
    assert not [path for path in locks if path.exists()]


def test_a_lock_of_a_living_git_is_respected(study: Study) -> None:
    (study.root / ".git" / "index.lock").touch()
    with subprocess.Popen(["git", "cat-file", "--batch"], cwd=study.root, stdin=subprocess.PIPE) as living:
        with pytest.raises(GuideGenError, match=f"git is at work in this study .process {living.pid}"):
            commit_run(study)
        assert living.stdin
        living.stdin.close()
    assert (study.root / ".git" / "index.lock").exists()


def test_pointers_that_were_cut_short_are_written_again(study: Study) -> None:
    folders = [
        study.root / "data" / phase / "tcga_luad" / shard for phase in ("raw", "ct") for shard in ("s000", "s001")
    ]
    pointers = [Path(f"{folder}.dvc") for folder in folders]
    for pointer, rest in zip(pointers, ("", "outs:\n- md5: 1234", "outs:\n- path: s000\n", "\x00{"), strict=True):
        pointer.write_text(rest)
    commit_run(study)
    for pointer in pointers:
        assert pointer.read_text().startswith("outs:\n- md5: ")
        assert "nfiles: 3" in pointer.read_text()


def test_an_unreachable_remote_stops_the_commit_and_the_next_call_finishes(study: Study, tmp_path: Path) -> None:
    (tmp_path / "remote").write_text("a file where a folder should be")
    with pytest.raises(GuideGenError, match="the remote does not answer"):
        commit_run(study)
    assert tags(study) == []
    (tmp_path / "remote").unlink()
    run = commit_run(study)
    assert tags(study) == [run.tag]


def test_an_object_missing_from_the_remote_is_noticed(study: Study, tmp_path: Path) -> None:
    commit_run(study)
    lost = max((tmp_path / "remote").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
    lost.unlink()
    commit_run(study)
    assert lost.is_file(), "the push brought it back"


def test_the_next_run_gets_its_own_id(study: Study) -> None:
    state = study.root / STATE_FOLDER / "run_id"
    state.write_text("first")
    commit_run(study)
    assert not state.exists()
