"""Compute nodes without internet: the GPU phases run in a network namespace that has no route, to the same bytes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

STALE = ("models/semantic_synthesizer", "synthetic/adherence/s000", "segmentation/real")
TARGETS = [f"results/{name}.tsv" for name in STALE]
# Proves in the same namespace that there is no way out, then runs the study there.
SCRIPT = """
import socket, subprocess, sys
for address in (("192.0.2.1", 443), ("127.0.0.1", 80)):
    try:
        socket.create_connection(address, timeout=5)
        sys.exit(f"{address} was reached")
    except OSError as error:
        assert "unreachable" in str(error), error
sys.exit(subprocess.run(sys.argv[1:]).returncode)
"""


def find_missing() -> str:
    """Return what this machine lacks for a network namespace, "" where nothing is missing."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return "a network namespace of its own needs root and `unshare` (util-linux)"
    done = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True, check=False)
    return f"no network namespace can be made here: {done.stderr.strip()}" if done.returncode else ""


def test_gpu_phases_need_no_network(smoke_study: Path, hash_study, tmp_path: Path) -> None:
    if reason := find_missing():
        pytest.skip(reason)
    root = tmp_path / "study"
    shutil.copytree(smoke_study, root, ignore=shutil.ignore_patterns("archive"))
    for name in STALE:
        (root / "results" / f"{name}.tsv").unlink()
        shutil.rmtree(root / "results" / name)
        shutil.rmtree(root / ".guidegen" / "state" / "results" / name, ignore_errors=True)
    guidegen = [sys.executable, "-m", "guidegen", "run", "--study", str(root), "--cores", "2", "--", *TARGETS]
    command = ["unshare", "--net", sys.executable, "-c", SCRIPT, *guidegen]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    expected, found = hash_study(smoke_study), hash_study(root)
    made = [name for name in expected if name.startswith(tuple(f"results/{stale}" for stale in STALE))]
    assert len(made) > len(STALE)
    assert {name for name in made if found.get(name) != expected[name]} == set()
