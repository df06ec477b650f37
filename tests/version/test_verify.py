"""Verification names what was tampered with, and nothing else."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from guidegen.study import Study
from guidegen.tables import read_tsv, write_tsv
from guidegen.version.verify import verify_study

Files = Callable[[], list[Path]]


def findings(study: Study) -> list[tuple[str, str]]:
    return [(finding.kind, finding.path) for finding in verify_study(study).errors]


def name_of(study: Study, path: Path) -> str:
    return path.relative_to(study.root).as_posix()


def edit_table(path: Path, change: Callable[[list[dict[str, str]]], None]) -> None:
    rows = read_tsv(path)
    columns = list(rows[0])
    change(rows)
    write_tsv(path, columns, rows)


def test_an_untouched_study_is_green(study: Study) -> None:
    result = verify_study(study)
    assert result.findings == []
    assert (result.manifests, result.files) == (4, 12)
    assert result.bytes == sum(path.stat().st_size for path in study.root.rglob("*.nii.gz"))


def test_one_flipped_bit_is_found(study: Study, ct_files: Files) -> None:
    path = ct_files()[2]
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    assert findings(study) == [("altered", name_of(study, path))]


def test_a_cut_file_is_found(study: Study, ct_files: Files) -> None:
    path = ct_files()[0]
    path.write_bytes(path.read_bytes()[:-1])
    assert findings(study) == [("altered", name_of(study, path))]


def test_a_deleted_file_is_found(study: Study, ct_files: Files) -> None:
    path = ct_files()[0]
    path.unlink()
    assert findings(study) == [("missing", name_of(study, path))]


def test_a_deleted_bulk_folder_is_found(study: Study, ct_files: Files) -> None:
    folder = ct_files()[0].parent
    expected = [("missing", name_of(study, path)) for path in sorted(folder.iterdir())]
    shutil.rmtree(folder)
    assert findings(study) == expected


def test_a_link_in_the_place_of_a_file_is_found(study: Study, ct_files: Files, tmp_path: Path) -> None:
    path = ct_files()[0]
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert findings(study) == [("missing", name_of(study, path))]


@pytest.mark.parametrize("name", ["extra.nii.gz", "deep/er/extra.nii.gz", ".hidden"])
def test_an_extra_file_is_unexplained(study: Study, ct_files: Files, name: str) -> None:
    extra = ct_files()[0].parent / name
    extra.parent.mkdir(parents=True, exist_ok=True)
    extra.touch()
    assert findings(study) == [("unexplained", name_of(study, extra))]


def test_two_swapped_files_are_both_found_and_told_apart(study: Study, ct_files: Files) -> None:
    first, second = ct_files()[:2]
    first.rename(first.with_name("x"))
    second.rename(first)
    first.with_name("x").rename(second)
    assert findings(study) == [("altered", name_of(study, path)) for path in (first, second)]
    assert f"which is that of {name_of(study, second)}" in verify_study(study).errors[0].message


def test_an_edited_manifest_is_found_though_it_fits_the_bulk(study: Study, ct_files: Files) -> None:
    """Bulk and manifest changed together: only lineage can tell."""
    path = ct_files()[0]
    path.write_bytes(path.read_bytes() + b"x")
    manifest = path.parent.with_name(path.parent.name + ".tsv")

    def follow(rows: list[dict[str, str]]) -> None:
        import hashlib

        (row,) = [row for row in rows if row["path"].endswith(path.name)]
        row["bytes"] = str(path.stat().st_size)
        row["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()

    edit_table(manifest, follow)
    assert findings(study) == [("altered", name_of(study, manifest))]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"status": "great"}, "status is 'great'"),
        ({"bytes": "many"}, "bytes is 'many', expected a number"),
        ({"path": "../../../etc/passwd"}, "lies outside the bulk folder"),
        ({"path": "data/raw/tcga_luad/s000/x"}, "lies outside the bulk folder"),
        ({"case": ""}, "case '' is empty"),
    ],
)
def test_a_damaged_manifest_is_found(study: Study, cells: dict[str, str], message: str) -> None:
    manifest = study.root / "data" / "ct" / "tcga_luad" / "s000.tsv"
    edit_table(manifest, lambda rows: rows[0].update(cells))
    damaged = [finding for finding in verify_study(study).errors if finding.kind == "manifest"]
    assert [finding.path for finding in damaged] == [name_of(study, manifest)]
    assert message in damaged[0].message


def test_a_manifest_that_is_no_table_is_found(study: Study) -> None:
    manifest = study.root / "data" / "ct" / "tcga_luad" / "s000.tsv"
    manifest.write_bytes(b"\xff\x00")
    assert ("manifest", name_of(study, manifest)) in findings(study)


def test_a_dropped_row_leaves_its_file_unexplained_and_its_case_untraced(study: Study) -> None:
    manifest = study.root / "data" / "ct" / "tcga_luad" / "s000.tsv"
    dropped = read_tsv(manifest)[0]["path"]
    edit_table(manifest, lambda rows: rows.pop(0))
    assert sorted(findings(study)) == sorted(
        [("altered", name_of(study, manifest)), ("untraced", name_of(study, manifest)), ("unexplained", dropped)]
    )


def test_a_deleted_manifest_is_found(study: Study) -> None:
    manifest = study.root / "data" / "ct" / "tcga_luad" / "s000.tsv"
    manifest.unlink()
    assert set(findings(study)) == {("missing", name_of(study, manifest))}


def test_a_case_that_the_index_does_not_know_is_untraced(study: Study) -> None:
    index = study.index_table("tcga_luad")
    gone = read_tsv(index)[0]["case"]
    edit_table(index, lambda rows: rows.pop(0))
    found = [finding for finding in verify_study(study).errors if gone in finding.message]
    assert {finding.kind for finding in found} == {"untraced"}
    assert {finding.path.split("/")[1] for finding in found} == {"raw", "ct", "cohort"}


def test_a_patient_in_two_splits_is_found(study: Study) -> None:
    cohort = study.root / "data" / "cohort" / "cohort.tsv"

    def add_second_case(rows: list[dict[str, str]]) -> None:
        rows.append(rows[0] | {"split": "test"})

    edit_table(cohort, add_second_case)
    assert ("split", name_of(study, cohort)) in findings(study)
    (found,) = [finding for finding in verify_study(study).errors if finding.kind == "split"]
    assert found.message == "patient P-000 is in test and in train"


def test_a_patient_moved_whole_to_another_split_is_found(study: Study) -> None:
    cohort = study.root / "data" / "cohort" / "cohort.tsv"
    edit_table(cohort, lambda rows: rows[0].update(split="test"))
    assert findings(study) == [("altered", name_of(study, cohort))]


def test_a_patient_that_is_not_where_the_state_of_splits_keeps_it_is_found(study: Study) -> None:
    cohort = study.root / "data" / "cohort"
    state = {row["patient"]: {"split": row["split"]} for row in read_tsv(cohort / "cohort.tsv")}
    (cohort / "splits.json").write_text(json.dumps({"patients": state}))
    assert findings(study) == []
    state["P-002"]["split"] = "train"
    (cohort / "splits.json").write_text(json.dumps({"patients": state}))
    (found,) = verify_study(study).errors
    assert (found.kind, found.message) == ("split", "patient P-002 is in train, the cohort says val")
    (cohort / "splits.json").write_text("[]")
    assert findings(study) == [("manifest", "data/cohort/splits.json")]


def test_a_changed_licence_is_found(study: Study) -> None:
    cohort = study.root / "data" / "cohort" / "cohort.tsv"
    edit_table(cohort, lambda rows: rows[1].update(licence="CC0"))
    assert findings(study) == [("altered", name_of(study, cohort)), ("licence", name_of(study, cohort))]


def test_a_source_without_licence_is_found(study: Study) -> None:
    edit_table(study.index_table("tcga_luad"), lambda rows: rows[1].update(licence=""))
    assert ("licence", "data/index/tcga_luad.tsv") in findings(study)


@pytest.mark.parametrize("text", ["{", "[]", '{"phase": "convert"}'])
def test_a_damaged_lineage_row_is_found(study: Study, text: str) -> None:
    record = study.root / "results" / "provenance" / "first" / "convert-tcga_luad-s000.json"
    assert record.is_file()
    record.write_text(text)
    assert findings(study) == [("lineage", "results/provenance/lineage.jsonl")]


def test_a_manifest_without_lineage_is_only_a_warning(study: Study) -> None:
    (study.root / "results" / "provenance" / "first" / "convert-tcga_luad-s000.json").unlink()
    result = verify_study(study)
    assert result.errors == []
    assert [(finding.kind, finding.path) for finding in result.findings] == [("lineage", "data/ct/tcga_luad/s000.tsv")]


def run_verify(study: Study, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "guidegen", "version", "verify", "--study", str(study.root), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_exits_with_1_and_speaks_json(study: Study, ct_files: Files) -> None:
    assert run_verify(study).returncode == 0
    ct_files()[0].unlink()
    done = run_verify(study, "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["ok"], told["manifests"]) == (1, False, 4)
    assert [finding["path"] for finding in told["findings"]] == [
        name_of(study, study.root / told["findings"][0]["path"])
    ]
    plain = run_verify(study)
    assert plain.returncode == 1
    assert f"missing: {told['findings'][0]['path']}: expected" in plain.stdout


def test_a_folder_that_is_no_study_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "guidegen", "version", "verify", "--study", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no such config file" in done.stderr
