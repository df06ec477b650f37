"""What a change of the index makes Snakemake do."""

import re
import subprocess
import sys
from pathlib import Path

from hand_made_ct import make_ct
from small_study import Archive, archive_config, make_study

from guidegen.assets import ASSETS
from guidegen.ids import assign_shard
from guidegen.index.build import build_index
from guidegen.study import Study


def run_snakemake(study: Study, *words: str) -> str:
    targets = [f"data/{phase}/tcga_luad/s00{n}.tsv" for phase in ("raw", "ct") for n in (0, 1)]
    command = [sys.executable, "-m", "snakemake", "--snakefile", ASSETS / "Snakefile", "--directory", study.root]
    done = subprocess.run(
        [*command, "--cores", "1", *words, *targets], capture_output=True, text=True, check=False, cwd=study.root
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def add_patient(archive: Archive, name: str) -> None:
    datasets = make_ct(12)
    for ds in datasets:
        ds.PatientID = name
    archive.add(name, datasets)
    archive.write()


def pick_names(shard: str, count: int) -> list[str]:
    return [name for name in map("P-{}".format, range(99)) if assign_shard(name, 2) == shard][:count]


def test_new_patient_reruns_its_shard_and_nothing_else(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "study" / "archive")
    (first, new), (second,) = pick_names("s000", 2), pick_names("s001", 1)
    for name in (first, second):
        add_patient(archive, name)
    study = make_study(tmp_path / "study", archive_config(patients_per_shard=1))
    build_index(study)
    assert study.list_shards("tcga_luad") == ["s000", "s001"]
    run_snakemake(study)
    assert "Nothing to be done" in run_snakemake(study, "-n")
    add_patient(archive, new)
    build_index(study, add=True)
    outputs = re.findall(r"^\s+output: (\S+)", run_snakemake(study, "-n"), re.M)
    assert sorted(outputs) == ["data/ct/tcga_luad/s000.tsv", "data/raw/tcga_luad/s000.tsv"]
