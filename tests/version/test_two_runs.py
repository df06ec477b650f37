"""A real study, committed, a patient added, committed again: both runs come back in a fresh clone, from the remote."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd

from guidegen.assets import ASSETS
from guidegen.run import LOCAL_PROFILE

COLLECTION = "tcga_luad"


def make_archive(source: Path, target: Path) -> tuple[str, pd.DataFrame]:
    """Make an archive of one collection whose index lacks a patient; return the patient and the whole index."""
    target.mkdir()
    shutil.copytree(source / "clinical", target / "clinical")
    shutil.copyfile(source / "seg_index.parquet", target / "seg_index.parquet")
    shutil.copytree(source / COLLECTION, target / COLLECTION)
    index = pd.read_parquet(source / "idc_index.parquet")
    index = index[index["collection_id"] == COLLECTION]
    patient = sorted(index["PatientID"])[-1]
    index[index["PatientID"] != patient].to_parquet(target / "idc_index.parquet")
    return patient, index


def plan(root: Path) -> str:
    """Return what plain Snakemake says it would do in a study."""
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        ASSETS / "Snakefile",
        "--directory",
        root,
        "-n",
        "data",
    ]
    command += ["--workflow-profile", ASSETS / LOCAL_PROFILE]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_two_runs_of_a_study_come_back_and_the_difference_names_the_patient(
    smoke_study: Path, tmp_path: Path, call
) -> None:
    root = tmp_path / "study"
    call("init", root, "--preset", "smoke")
    patient, index = make_archive(smoke_study / "archive", root / "archive")
    config = root / "config" / "config.yaml"
    text = config.read_text().replace("[tcga_luad, tcga_kirc, tcga_lihc, cptac_pda]", f"[{COLLECTION}]")
    config.write_text(text.replace("remote: ''", f"remote: {tmp_path}/remote"))
    tags = []
    for message in ("first", "one patient more"):
        if tags:
            index.to_parquet(root / "archive" / "idc_index.parquet")
            call("index", "--add", "--study", root)
        call("run", "--study", root, "--", "data")
        call("version", "commit", "--allow-dirty", "-m", message, "--study", root)
        newest = json.loads(call("version", "log", "--json", "--study", root).stdout)[0]
        tags.append(newest["tag"])
    assert len(set(tags)) == 2

    again = tmp_path / "again"
    subprocess.run(["git", "clone", "--quiet", root, again], check=True)
    for tag in tags:
        call("version", "restore", tag, "--study", again)
        assert "Nothing to be done" in plan(again)
        assert call("version", "verify", "--study", again).returncode == 0
    assert "would run" not in plan(root)

    changes = json.loads(call("version", "diff", *tags, "--json", "--study", again).stdout)
    assert list(changes["patients"]) == [f"{COLLECTION} {patient}"]
    change = changes["patients"][f"{COLLECTION} {patient}"]
    assert change["was"] is None
    assert change["is"] in ("train", "val", "test")
    assert {name.rpartition("__")[0].rpartition("__")[2] for name in changes["labels"]} == {patient}
    assert changes["config"] == changes["environment"] == {}
    told = call("version", "diff", *tags, "--study", again).stdout
    assert f"{patient}: new" in told
