"""The whole smoke study on the cluster makes the same bytes as on one machine."""

import json
import shutil
from pathlib import Path

import pytest

pytestmark = pytest.mark.slurm


def test_smoke_study_has_the_hashes_of_the_local_run(
    smoke_study: Path, site, call, hash_study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in site.items():
        monkeypatch.setenv(key, value)
    root = tmp_path / "study"
    call("init", root, "--preset", "smoke")
    shutil.copytree(smoke_study / "archive", root / "archive")
    options = ["--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "5", "--jobs", "4"]
    call("run", "--study", root, "--", "--workflow-profile", "workflow/profiles/slurm", *options)
    expected, found = hash_study(smoke_study), hash_study(root)
    assert sorted(found) == sorted(expected)
    assert {name for name in expected if found[name] != expected[name]} == set()
    rows = [json.loads(path.read_text()) for path in (root / "results" / "provenance").glob("*/*.json")]
    on_cluster = {row["phase"] for row in rows if row["scheduler_job"]}
    assert {"convert", "mask", "train", "synthesize", "segment"} <= on_cluster
