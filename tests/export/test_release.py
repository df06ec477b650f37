"""Only what has a name, and whose sources allow it, is released; an export appears whole or not at all."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from guidegen.errors import GuideGenError
from guidegen.export.benchmark import export_benchmark
from guidegen.export.croissant import export_croissant
from guidegen.export.licences import find_forbidding, is_releasable
from guidegen.export.release import Release, open_release
from guidegen.export.run import export_run
from guidegen.index.withdrawn import write_withdrawn
from guidegen.study import Study
from guidegen.tables import read_tsv, write_tsv


@pytest.fixture
def altered(committed: Path, tmp_path: Path) -> Path:
    """A copy of the committed study to play with."""
    shutil.copytree(committed, tmp_path / "study", symlinks=True)
    return tmp_path / "study"


@pytest.mark.parametrize(
    "licence", ["CC BY 3.0", "CC BY 4.0", "CC-BY-4.0", "CC0 1.0", "CC0", "Apache-2.0", "MIT", "BSD-3-Clause"]
)
def test_free_licences_allow_a_release(licence: str) -> None:
    assert is_releasable(licence)


@pytest.mark.parametrize(
    "licence",
    [
        "private",
        "",
        "none stated",
        "CC BY-NC 3.0",
        "CC BY-NC-ND 4.0",
        "CC BY-SA 4.0",
        "CC BY-ND 4.0",
        "TCIA Restricted",
    ],
)
def test_other_licences_forbid_it(licence: str) -> None:
    assert not is_releasable(licence)


def test_a_source_that_forbids_a_release_is_named(altered: Path, tmp_path: Path) -> None:
    release = open_release(Study.load(altered))
    table = altered / "data" / "index" / "tcga_kirc.tsv"
    rows = read_tsv(table)
    rows[-1]["licence"] = "CC BY-NC 3.0"
    write_tsv(table, tuple(rows[0]), rows)
    assert find_forbidding(release.study) == {"tcga_kirc": "CC BY-NC 3.0"}
    for export in (export_croissant, export_benchmark):
        with pytest.raises(GuideGenError, match=r"sources forbid it:\n  tcga_kirc: 'CC BY-NC 3.0'\n"):
            export(release, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_study_that_was_changed_since_its_commit_is_not_exported(altered: Path, tmp_path: Path) -> None:
    table = altered / "data" / "cohort" / "cohort.tsv"
    table.write_text(table.read_text() + "\n")
    with pytest.raises(GuideGenError, match=r"1 change\(s\) since, the first is data/cohort/cohort.tsv"):
        export_run(altered, ["cards"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_with_a_patient_whose_consent_was_withdrawn_is_not_exported(altered: Path, tmp_path: Path) -> None:
    row = read_tsv(altered / "data" / "index" / "tcga_kirc.tsv")[0]
    told = {"collection": "tcga_kirc", "patient": row["patient"], "date": "2026-01-01", "reason": "consent"}
    write_withdrawn(altered, [told])
    for words in (["add", "config"], ["commit", "-qm", "withdrawn"], ["tag", "run/later", "-am", "run/later"]):
        command = ["git", "-c", "user.name=x", "-c", "user.email=x@localhost", "-C", str(altered), *words]
        subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(GuideGenError, match=f"run/later holds tcga_kirc/{row['patient']}, whose consent was withdrawn"):
        export_run(altered, ["cards"], tmp_path / "out")


def test_a_volume_that_is_not_what_its_manifest_says_stops_the_export(altered: Path, tmp_path: Path) -> None:
    volume = sorted((altered / "results" / "synthetic").rglob("*.labels.nii.gz"))[0]
    volume.write_bytes(volume.read_bytes()[:-1] + b"?")
    with pytest.raises(GuideGenError, match=f"{re.escape(volume.name)}: sha256 is"):
        export_croissant(open_release(Study.load(altered)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_export_never_overwrites(release: Release, committed: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(GuideGenError, match="exists and is not empty"):
        export_run(committed, ["cards"], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("forms", [[], ["cards", "croissant"]])
def test_exactly_one_form_is_chosen(forms: list[str], tmp_path: Path) -> None:
    with pytest.raises(GuideGenError, match="choose exactly one of --ro-crate, --croissant, --benchmark, --cards"):
        export_run(tmp_path, forms, tmp_path / "out")


def test_the_command_writes_cards(committed: Path, tmp_path: Path, call) -> None:
    told = call("version", "export", "--cards", "--out", tmp_path / "cards", "--study", committed).stdout
    assert re.match(r"run/\d{8}-[0-9a-f]{8}: 4 cards, in ", told)
    assert call("version", "export", "--out", tmp_path / "none", "--study", committed, check=False).returncode == 2
