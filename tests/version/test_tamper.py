"""What was tampered with after a commit is found and named, and repaired where the study can tell what was right."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from test_restore import hash_data
from test_verify import edit_table, findings, name_of

from conftest import git, run_phases
from guidegen.errors import GuideGenError
from guidegen.study import Study
from guidegen.version.repair import repair_study
from guidegen.version.verify import verify_study

Files = Callable[[], list[Path]]
LINEAGE = "results/provenance/lineage.jsonl"
POINTER = "data/ct/tcga_luad/s000.dvc"
MANIFEST = "data/ct/tcga_luad/s000.tsv"


def repair(study: Study, **options: bool) -> list[str]:
    """Repair, run again what is missing, and return what was set aside and restored."""
    done = repair_study(study, verify_study(study, **options))
    assert done.left == []
    run_phases(study)
    return [*done.aside, *done.restored]


def swap(root: Path, name: str, old: str, new: str) -> None:
    text = (root / name).read_text()
    assert old in text
    (root / name).write_text(text.replace(old, new, 1))


def stored_object(study: Study, path: Path) -> Path:
    digest = hashlib.md5(path.read_bytes()).hexdigest()
    return study.root.parent / "remote" / "files" / "md5" / digest[:2] / digest[2:]


def test_a_flipped_byte_is_repaired_by_the_next_run_to_the_same_bytes(committed: Study, ct_files: Files) -> None:
    before, path = hash_data(committed.root), ct_files()[2]
    data = bytearray(path.read_bytes())
    data[77] ^= 1
    path.write_bytes(data)
    assert findings(committed) == [("altered", name_of(committed, path))]
    aside = repair(committed)
    assert aside == [name_of(committed, path), name_of(committed, path.parent.with_suffix(".tsv"))]
    assert findings(committed) == []
    assert hash_data(committed.root) == before
    (kept,) = committed.root.glob(f".guidegen/orphans/repair/*/{aside[0]}")
    assert kept.read_bytes() == data, "set aside, not deleted"


def test_deleted_added_and_swapped_files_are_repaired(committed: Study, ct_files: Files) -> None:
    before, files = hash_data(committed.root), ct_files()
    files[0].unlink()
    files[1].rename(files[1].with_name("x"))
    files[2].rename(files[1])
    files[1].with_name("x").rename(files[2])
    (files[3].parent / "extra.nii.gz").write_bytes(b"?")
    assert {kind for kind, _ in findings(committed)} == {"missing", "altered", "unexplained"}
    repair(committed)
    assert findings(committed) == []
    assert hash_data(committed.root) == before


def test_a_tampered_manifest_is_made_again(committed: Study) -> None:
    before = hash_data(committed.root)
    edit_table(committed.root / MANIFEST, lambda rows: rows[0].update(reason="fine"))
    assert findings(committed) == [("altered", MANIFEST)]
    assert repair(committed) == [MANIFEST]
    assert hash_data(committed.root) == before


def test_a_changed_row_of_the_committed_lineage_is_found(committed: Study) -> None:
    before = (committed.root / LINEAGE).read_bytes()
    first = json.loads(before.splitlines()[0])
    swap(committed.root, LINEAGE, '"host": "', '"host": "x')
    (found,) = verify_study(committed).errors
    assert (found.kind, found.path) == ("lineage", LINEAGE)
    assert f"row 1 of the last commit ({first['run']}/{first['file']}) was changed" in found.message
    assert LINEAGE in repair(committed)
    assert (committed.root / LINEAGE).read_bytes() == before


def test_a_job_record_that_is_not_what_was_committed_is_found(committed: Study) -> None:
    record = "results/provenance/first/convert-tcga_luad-s001.json"
    swap(committed.root, record, '"seed": 2026', '"seed": 2027')
    assert findings(committed) == [("lineage", record)]
    assert repair(committed) == [record]
    assert findings(committed) == []


def test_an_unreadable_job_record_and_what_it_alone_explained_are_made_again(study: Study) -> None:
    record = "results/provenance/first/convert-tcga_luad-s000.json"
    (study.root / record).write_text("{")
    assert repair(study) == [record, MANIFEST]
    assert verify_study(study).findings == []


def test_an_output_of_another_input_than_lies_there_is_found(committed: Study) -> None:
    record = committed.root / "results" / "provenance" / "first" / "convert-tcga_luad-s000.json"
    row = json.loads(record.read_text())
    row |= {"inputs": {"data/raw/tcga_luad/s000.tsv": "0" * 64}, "start": "2999-01-01T00:00:00Z"}
    record.write_text(json.dumps(row | {"end": "2999-01-01T00:00:00Z"}))
    assert ("lineage", MANIFEST) in findings(committed)
    (found,) = [finding for finding in verify_study(committed).errors if finding.kind == "lineage"]
    assert (
        found.message == "first/convert-tcga_luad-s000 made it from another data/raw/tcga_luad/s000.tsv than lies there"
    )


def test_a_patient_moved_to_another_split_everywhere_is_found_by_the_last_commit(committed: Study) -> None:
    """Cohort, state of the splits and lineage agree with each other; only git remembers."""
    cohort = committed.root / "data" / "cohort" / "cohort.tsv"
    edit_table(cohort, lambda rows: rows[0].update(split="test"))
    swap(committed.root, "data/cohort/splits.json", '"P-000": {"split": "train"', '"P-000": {"split": "test"')
    record = committed.root / "results" / "provenance" / "first" / "prepare.json"
    row = json.loads(record.read_text()) | {"start": "2030-01-01T00:00:00Z", "end": "2030-01-01T00:00:01Z"}
    row["outputs"]["data/cohort/cohort.tsv"] = hashlib.sha256(cohort.read_bytes()).hexdigest()
    record.write_text(json.dumps(row))
    (found,) = verify_study(committed).errors
    assert (found.kind, found.path) == ("split", "data/cohort/splits.json")
    assert found.message == "patient P-000 was in train in the last commit, is in test now"
    done = repair_study(committed, verify_study(committed))
    assert done.restored == ["data/cohort/splits.json"]
    assert done.aside[-1] == "data/cohort/cohort.tsv", "the next run makes it from the splits as they were"


@pytest.mark.parametrize("damage", ["missing", "corrupted"])
def test_a_remote_object_that_is_lost_or_corrupted_is_named_and_healed(
    committed: Study, ct_files: Files, damage: str
) -> None:
    stored = stored_object(committed, ct_files()[0])
    content = stored.read_bytes()
    stored.chmod(0o644)
    stored.unlink() if damage == "missing" else stored.write_bytes(content.replace(b"P-", b"Q-", 1))
    assert findings(committed) == [], "only --remote looks there"
    (found,) = verify_study(committed, remote=True).errors
    assert (found.kind, found.path) == ("remote", ct_files()[0].name)
    assert ("corrupted at" if damage == "corrupted" else "not at") in found.message
    assert repair_study(committed, verify_study(committed, remote=True)).pushed == 1
    assert stored.read_bytes() == content
    assert verify_study(committed, remote=True).findings == []


def test_the_remote_of_a_study_without_one_is_an_error(study: Study) -> None:
    swap(study.root, "config/config.yaml", "remote: ../remote", 'remote: ""')
    with pytest.raises(GuideGenError, match=r"--remote: version.remote is empty"):
        verify_study(Study.load(study.root), remote=True)


def test_an_edited_pointer_is_found_and_taken_back_from_git(committed: Study) -> None:
    before = (committed.root / POINTER).read_bytes()
    other = (committed.root / "data/ct/tcga_luad/s001.dvc").read_text()
    (committed.root / POINTER).write_text(other.replace("path: s001", "path: s000"))
    (found,) = verify_study(committed).errors
    assert (found.kind, found.path, found.message) == (
        "pointer",
        POINTER,
        f"not the committed one, though {MANIFEST} is",
    )
    assert repair(committed) == [POINTER, POINTER]
    assert (committed.root / POINTER).read_bytes() == before


def test_a_pointer_to_another_folder_is_found_though_it_was_committed(committed: Study) -> None:
    other = (committed.root / "data/ct/tcga_luad/s001.dvc").read_text()
    (committed.root / POINTER).write_text(other.replace("path: s001", "path: s000"))
    git(committed.root, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qam", "tampered")
    found = verify_study(committed).errors
    assert {(finding.kind, finding.path) for finding in found} == {("pointer", POINTER)}
    assert "is in DVC's list of files, not in the manifest" in " ".join(finding.message for finding in found)


def test_a_changed_licence_is_found_and_one_that_forbids_release_is_told(committed: Study) -> None:
    index = committed.index_table("tcga_luad")
    edit_table(index, lambda rows: rows[0].update(licence="CC BY-NC-ND 4.0"))
    result = verify_study(committed)
    assert [(finding.kind, finding.path) for finding in result.errors] == [("licence", "data/cohort/cohort.tsv")]
    (told,) = [finding for finding in result.findings if finding.warning]
    assert (told.kind, told.path) == ("licence", "data/index/tcga_luad.tsv")
    assert "'CC BY-NC-ND 4.0': no set that was made from this collection may be released" in told.message


def test_a_clock_that_was_set_back_is_found(study: Study) -> None:
    record = study.root / "results" / "provenance" / "first" / "prepare.json"
    row = json.loads(record.read_text())
    row |= {"start": "2001-01-01T00:00:00Z", "end": "2001-01-01T00:00:01Z"}
    row["inputs"] = json.loads((record.parent / "convert-tcga_luad-s000.json").read_text())["outputs"]
    record.write_text(json.dumps(row))
    (found,) = verify_study(study).errors
    assert (found.kind, found.path) == ("clock", "data/cohort/cohort.tsv")
    assert f"before its input {MANIFEST} was made" in found.message
    record.write_text(json.dumps(row | {"end": "2000-12-31T00:00:00Z", "inputs": {}}))
    assert [finding.kind for finding in verify_study(study).errors] == ["clock"]
    record.write_text(json.dumps(row | {"end": "2999-01-01T00:00:00Z", "inputs": {}}))
    (told,) = verify_study(study).findings
    assert told.warning
    assert "this machine's clock says" in told.message


def test_another_config_or_environment_is_told(committed: Study) -> None:
    swap(committed.root, "config/config.yaml", "name: tiny", "name: tiny  # mine")
    record = committed.root / "results" / "provenance" / "first" / "prepare.json"
    swap(committed.root, name_of(committed, record), '"environment": "', '"environment": "x')
    told = [finding for finding in verify_study(committed).findings if finding.warning]
    assert sorted(finding.kind for finding in told) == ["config", "config", "environment"]
    assert any("1 × prepare ran with other packages" in finding.message for finding in told)


def test_a_person_is_asked_where_nothing_tells_what_was_right(study: Study) -> None:
    edit_table(study.index_table("tcga_luad"), lambda rows: rows[1].update(licence=""))
    done = repair_study(study, verify_study(study))
    assert [finding.path for finding in done.left] == ["data/index/tcga_luad.tsv"]
    assert "left, needs a person: licence" in done.describe()
