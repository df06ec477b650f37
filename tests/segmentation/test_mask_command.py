"""`guidegen mask` with the backend, on a study that was converted."""

import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from guidegen.atomic import hash_file
from guidegen.manifest import BASE_COLUMNS, read_manifest
from guidegen.tables import read_tsv, write_tsv

pytestmark = pytest.mark.segmentation
CASE = "tcga_luad__p1__00000000"
CONFIG = """\
study: {{name: segmented, collections: [tcga_luad]}}
mask:
  default: {{organs: [totalsegmentator], tumour: [dicom_seg]}}
  gates: {{exclude: []}}
  totalsegmentator: {{device: cpu, speed: fastest, home: {home}}}
"""


@pytest.fixture
def study(tmp_path: Path, ct: Path) -> Path:
    root = tmp_path / "study"
    shutil.copytree(Path(__file__).parents[2] / "config", root / "config", ignore=shutil.ignore_patterns("presets"))
    bulk = root / "data" / "ct" / "tcga_luad" / "s000"
    bulk.mkdir(parents=True)
    shutil.copy(ct, bulk / f"{CASE}.nii.gz")
    path = bulk / f"{CASE}.nii.gz"
    row = {"case": CASE, "status": "ok", "path": path.relative_to(root), "bytes": path.stat().st_size}
    row |= {"sha256": hash_file(path), "patient": "p1", "content": "ct"}
    write_tsv(bulk.with_name("s000.tsv"), [*BASE_COLUMNS, "patient", "content"], [row])
    raw = [*BASE_COLUMNS, "parent", "role", "format", "series_uid", "instances", "annotation_kind"]
    write_tsv(root / "data" / "raw" / "tcga_luad" / "s000.tsv", raw, [])
    return root


def run_mask(study: Path, home: Path, *words: str, config: str = CONFIG) -> subprocess.CompletedProcess[str]:
    (study / "config" / "config.yaml").write_text(config.format(home=home), encoding="utf-8")
    words = words or ("--collection", "tcga_luad", "--shard", "s000")
    command = [sys.executable, "-m", "guidegen", "mask", "--study", str(study), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def read_row(study: Path) -> dict[str, str]:
    (row,) = read_manifest(study / "data" / "mask" / "tcga_luad" / "s000.tsv")
    return row


def test_command_makes_label_maps_and_other_weights_make_them_again(study: Path, home: Path, tmp_path: Path) -> None:
    assert run_mask(study, home, "--fetch-weights").returncode == 0
    table = study / "data" / "mask" / "weights.tsv"
    stated = read_tsv(table)
    assert {Path(row["file"]).name for row in stated} == {"dataset.json", "plans.json", "checkpoint_final.pth"}
    assert all(hash_file(home / row["file"]) == row["sha256"] for row in stated)
    done = run_mask(study, home)
    assert done.returncode == 0, done.stderr
    row = read_row(study)
    assert (row["status"], row["backend"]) == ("ok", "totalsegmentator")
    assert row["tumour_annotated"] == "false"
    assert hash_file(study / row["path"]) == row["sha256"]
    assert row["picture_path"]

    other = tmp_path / "other"
    subprocess.run([sys.executable, str(Path(__file__).with_name("random_weights.py")), str(other), "fastest", "7"],
                   check=True)  # fmt: skip
    refused = run_mask(study, other)
    assert refused.returncode == 2
    assert "checkpoint_final.pth: sha256 is" in refused.stderr
    assert "bring back the weights" in refused.stderr
    assert read_row(study) == row, "nothing was made with weights that are not stated"
    table.unlink()
    assert run_mask(study, other, "--fetch-weights").returncode == 0
    assert run_mask(study, other).returncode == 0
    assert read_row(study)["source_sha256"] != row["source_sha256"]


def test_a_ct_that_fails_loses_no_other_case(study: Path, home: Path) -> None:
    """Two more cases of the shard: a volume with four axes, and one behind it."""
    bulk, table = study / "data" / "ct" / "tcga_luad" / "s000", study / "data" / "ct" / "tcga_luad" / "s000.tsv"
    (row,) = read_tsv(table)
    rows = [row]
    for name, broken in (("p2", True), ("p3", False)):
        case = CASE.replace("p1", name)
        path = bulk / f"{case}.nii.gz"
        if broken:
            nib.Nifti1Image(np.zeros((8, 8, 8, 2), np.int16), np.eye(4)).to_filename(path)
        else:
            shutil.copy(study / row["path"], path)
        found = {"case": case, "path": str(path.relative_to(study)), "sha256": hash_file(path)}
        rows.append(row | found | {"bytes": str(path.stat().st_size)})
    write_tsv(table, list(row), rows)
    assert run_mask(study, home, "--fetch-weights").returncode == 0
    config = "study: {{name: segmented, collections: [tcga_luad]}}"
    lenient = CONFIG.replace(config, config.replace("]}}", "], max_failed_share: 0.5}}"))
    done = run_mask(study, home, config=lenient)
    assert done.returncode == 0, done.stderr
    made = {r["case"]: r for r in read_manifest(study / "data" / "mask" / "tcga_luad" / "s000.tsv")}
    assert {case.split("__")[1]: r["status"] for case, r in made.items()} == {"p1": "ok", "p2": "failed", "p3": "ok"}
    assert "p2__00000000.nii.gz: TotalSegmentator's label map has shape" in made[CASE.replace("p1", "p2")]["reason"]


def test_missing_weights_stop_the_command_before_the_first_case(study: Path, tmp_path: Path) -> None:
    done = run_mask(study, tmp_path / "nothing")
    assert done.returncode == 2
    assert "guidegen mask --fetch-weights" in done.stderr
    assert not (study / "data" / "mask").exists()


def test_weights_that_nobody_stated_stop_the_command(study: Path, home: Path) -> None:
    done = run_mask(study, home)
    assert done.returncode == 2
    assert "weights.tsv: does not state" in done.stderr
