"""A restored run is the run that was committed, and Snakemake sees nothing to do."""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import COLLECTION, git, run_phases
from guidegen.errors import GuideGenError
from guidegen.study import STATE_FOLDER, Study
from guidegen.version.commit import commit_run
from guidegen.version.history import compare_runs, list_runs
from guidegen.version.restore import restore_run
from guidegen.version.verify import verify_study

Files = Callable[[], list[Path]]


def hash_data(root: Path) -> dict[str, str]:
    files = [path for top in ("data", "config") for path in (root / top).rglob("*") if path.is_file()]
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)}


def clone(study: Study, target: Path) -> Path:
    subprocess.run(["git", "clone", "--quiet", study.root, target], check=True, capture_output=True)
    return target


@pytest.fixture
def two_runs(study: Study, monkeypatch: pytest.MonkeyPatch) -> tuple[Study, list[str], list[dict[str, str]]]:
    """A study with two committed runs, the second with one patient more; their tags and all hashes."""
    monkeypatch.setattr("guidegen.provenance.describe_code", lambda: "0" * 40)
    first = commit_run(study).tag
    hashes = [hash_data(study.root)]
    monkeypatch.setenv("GUIDEGEN_RUN_ID", "second")
    run_phases(study, patients=7)
    second = commit_run(study).tag
    return study, [first, second], [*hashes, hash_data(study.root)]


def test_runs_come_back_in_place_and_in_a_fresh_clone(
    two_runs: tuple[Study, list[str], list[dict[str, str]]], tmp_path: Path
) -> None:
    study, (first, second), hashes = two_runs
    restore_run(study.root, first)
    assert hash_data(study.root) == hashes[0]
    assert verify_study(study).findings == []
    restore_run(study.root, second)
    assert hash_data(study.root) == hashes[1]
    again = clone(study, tmp_path / "again")
    restored = restore_run(again, first.removeprefix("run/"))
    assert (restored.tag, restored.verification.files) == (first, 12)
    assert hash_data(again) == hashes[0]
    assert commit_run(Study.load(again)).tag == first, "a restored run is the committed one"


def test_log_and_diff_tell_the_runs_apart(two_runs: tuple[Study, list[str], list[dict[str, str]]]) -> None:
    study, (first, second), _ = two_runs
    assert {run.tag for run in list_runs(study.root)} == {first, second}
    changes = compare_runs(study.root, first, second)
    assert changes.patients == {f"{COLLECTION} P-006": {"was": None, "is": "val"}}
    assert {name.split("__")[1] for name in changes.items} == {"P-006"}
    assert changes.config == changes.code == {}
    assert "P-006: new (val)" in changes.describe()
    assert compare_runs(study.root, first, first).describe().endswith("no difference")


def test_work_that_is_in_no_commit_is_not_overwritten(study: Study, ct_files: Files) -> None:
    tag = commit_run(study).tag
    manifest = study.root / "data" / "cohort" / "cohort.tsv"
    manifest.write_text(manifest.read_text() + "\n")
    with pytest.raises(GuideGenError, match=r"1 change.s. are in no commit(.|\n)*cohort.tsv(.|\n)*--force"):
        restore_run(study.root, tag)
    restore_run(study.root, tag, force=True)
    assert verify_study(study).findings == []


def test_restore_heals_what_was_damaged(study: Study, ct_files: Files) -> None:
    tag = commit_run(study).tag
    before = hash_data(study.root)
    ct_files()[0].unlink()
    data = bytearray(ct_files()[0].read_bytes())
    data[7] ^= 1
    ct_files()[0].write_bytes(data)
    restore_run(study.root, tag)
    assert hash_data(study.root) == before


def test_a_clone_without_remote_says_what_is_missing_and_what_to_do(study: Study, tmp_path: Path) -> None:
    config = study.root / "config" / "config.yaml"
    config.write_text(config.read_text().replace("remote: ../remote", 'remote: ""'))
    tag = commit_run(Study.load(study.root)).tag
    with pytest.raises(GuideGenError, match=r"bulk object.s. of this run are not in the cache.*names no remote"):
        restore_run(clone(study, tmp_path / "again"), tag)
    restore_run(study.root, tag)
    assert verify_study(study).errors == []


def test_an_unknown_run_is_refused_and_the_known_are_named(study: Study) -> None:
    tag = commit_run(study).tag
    with pytest.raises(GuideGenError, match=f"no run 'run/x'; known: {tag}"):
        restore_run(study.root, "run/x")
    with pytest.raises(GuideGenError, match="no run '--help'"):
        restore_run(study.root, "--help")


@pytest.mark.parametrize("damage", ["missing", "corrupted"])
def test_a_lost_or_corrupted_object_at_the_remote_is_named(study: Study, tmp_path: Path, damage: str) -> None:
    tag = commit_run(study).tag
    name = next(iter(sorted(path.name for path in (study.root / "data" / "ct").rglob("*.nii.gz"))))
    content = next((study.root / "data" / "ct").rglob(name)).read_bytes()
    digest = hashlib.md5(content).hexdigest()
    stored = tmp_path / "remote" / "files" / "md5" / digest[:2] / digest[2:]
    stored.chmod(0o644)
    stored.unlink() if damage == "missing" else stored.write_bytes(b"?" + content[1:])
    again = clone(study, tmp_path / "again")
    with pytest.raises(GuideGenError, match=f"missing or corrupted at the remote: 1 object.s.: {name}"):
        restore_run(again, tag)
    if damage == "missing":
        commit_run(study)
        restore_run(again, tag)
        assert verify_study(Study.load(again)).findings == []


SNAKEFILE = """
config.setdefault("setting", "1")

rule all:
    input: "data/cohort/cohort.tsv"

rule ct:
    input: "data/index/tcga_luad.tsv"
    output: "data/ct/tcga_luad/s000.tsv"
    params: config["setting"]
    shell: "cp {output}.kept {output}"

rule cohort:
    input: "data/ct/tcga_luad/s000.tsv"
    output: "data/cohort/cohort.tsv"
    shell: "cp {output}.kept {output}"
"""


def run_snakemake(root: Path, snakefile: Path, *options: str) -> str:
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        snakefile,
        "--directory",
        root,
        "--cores",
        "1",
        *options,
    ]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_snakemake_has_nothing_to_do_in_a_restored_run_and_still_sees_a_changed_setting(
    study: Study, tmp_path: Path
) -> None:
    snakefile = tmp_path / "Snakefile"
    snakefile.write_text(SNAKEFILE.replace("{output}.kept", f"{tmp_path}/kept/$(basename {{output}})"))
    (tmp_path / "kept").mkdir()
    for name in ("data/ct/tcga_luad/s000.tsv", "data/cohort/cohort.tsv"):
        shutil.move(study.root / name, tmp_path / "kept" / Path(name).name)
    run_snakemake(study.root, snakefile)
    tag = commit_run(study).tag
    again = clone(study, tmp_path / "again")
    restore_run(again, tag)
    assert "Nothing to be done" in run_snakemake(again, snakefile, "-n")
    assert "Params have changed" in run_snakemake(again, snakefile, "-n", "--config", "setting=2")
    run_snakemake(again, snakefile, "--config", "setting=2")
    restore_run(again, tag)
    assert "Nothing to be done" in run_snakemake(again, snakefile, "-n"), "the other run's records are gone"


def test_restore_leaves_no_trace_of_the_run_before(two_runs: tuple[Study, list[str], list[dict[str, str]]]) -> None:
    study, (first, _), _ = two_runs
    (study.root / STATE_FOLDER / "run_id").write_text("third")
    restore_run(study.root, first)
    assert not (study.root / STATE_FOLDER / "run_id").exists()
    assert not (study.root / STATE_FOLDER / "restoring.json").exists()
    assert git(study.root, "status", "--porcelain") == ""
