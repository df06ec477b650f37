"""One whole Snakemake run, archive to report, with the organs of every case from TotalSegmentator's real code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from guidegen.atomic import hash_file
from guidegen.manifest import read_manifest
from guidegen.tables import read_tsv

pytestmark = pytest.mark.segmentation
ROOT = Path(__file__).parents[2]
CORE = ROOT / ".venv" / "bin" / "guidegen"
EDITS = {
    "collections: [tcga_luad, tcga_kirc, tcga_lihc, cptac_pda]": "collections: [tcga_luad, tcga_kirc]",
    "organs: [dicom_seg, nifti]": "organs: [totalsegmentator]",
    "exclude: [left_right, order]": "exclude: []",  # random organs lie anywhere
    "speed: normal": "speed: fastest",
    "device: gpu": "device: cpu",
}


def run_guidegen(*words: str | Path, codes: tuple[int, ...] = (0,)) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "GUIDEGEN_RUN_ID"}
    done = subprocess.run([CORE, *words], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode in codes, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def study(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not CORE.is_file():
        pytest.skip(f"{CORE} is missing; `make test-segmentation` makes the core environment, too")
    root = tmp_path_factory.mktemp("whole") / "study"
    run_guidegen("init", root, "--preset", "smoke")
    path = root / "config" / "config.yaml"
    text = path.read_text(encoding="utf-8")
    edits = EDITS | {
        "segmentation: guidegen": f"segmentation: {sys.executable} -m guidegen",
        "home: .guidegen/totalsegmentator": f"home: {home}",
    }
    for old, new in edits.items():
        assert old in text, old
        text = text.replace(old, new, 1)
    path.write_text(text, encoding="utf-8")
    run_guidegen("run", "--study", root)
    return root


def test_every_case_is_labelled_by_totalsegmentator_and_its_tumour_by_the_annotation(study: Path) -> None:
    rows = [row for table in sorted(study.glob("data/mask/*/s*.tsv")) for row in read_manifest(table)]
    assert len(rows) == 8
    assert {row["status"] for row in rows} == {"ok"}
    assert {row["backend"] for row in rows} == {"totalsegmentator", "totalsegmentator+dicom_seg"}
    assert {row["backend"] for row in rows if row["tumour_annotated"] == "true"} == {"totalsegmentator+dicom_seg"}
    assert all((study / row["picture_path"]).is_file() for row in rows if row["flags"])
    assert any(json.loads(row["organs"]) for row in rows)


def test_the_weights_were_stated_by_a_rule_and_are_an_input_of_the_mask_jobs(study: Path, home: Path) -> None:
    stated = read_tsv(study / "data" / "mask" / "weights.tsv")
    assert {row["file"]: row["sha256"] for row in stated} == {
        row["file"]: hash_file(home / row["file"]) for row in stated
    }
    records = [json.loads(path.read_text()) for path in study.glob("results/provenance/*/mask-*.json")]
    assert records
    assert all("data/mask/weights.tsv" in record["inputs"] for record in records)


def test_the_run_went_to_its_report_and_there_is_nothing_left_to_do(study: Path) -> None:
    assert (study / "results" / "report" / "index.html").is_file()
    assert {row["has_labels"] for row in read_tsv(study / "data" / "cohort" / "cohort.tsv")} == {"true"}
    assert "Nothing to be done" in run_guidegen("run", "--study", study).stderr


def test_the_study_verifies_and_doctor_finds_its_weights(study: Path) -> None:
    run_guidegen("version", "verify", "--study", study)
    checks = json.loads(run_guidegen("doctor", "--json", "--study", study, codes=(0, 1)).stdout)
    (weights,) = [check for check in checks if check["name"] == "weights"]
    assert weights["level"] == "ok"
    assert "checksums as stated" in weights["found"]
