"""A run that is killed again and again ends with the bytes of a run that never was."""

import subprocess
import sys
from pathlib import Path

from guidegen.assets import ASSETS


def test_killed_study_ends_with_the_same_hashes(smoke_study: Path, tmp_path: Path, capsys) -> None:
    command = [sys.executable, str(ASSETS / "benchmarks" / "killed_study.py"), "--preset", "smoke"]
    done = subprocess.run(
        [*command, str(tmp_path / "study"), str(smoke_study)], capture_output=True, text=True, check=False
    )
    hits = [line for line in done.stdout.splitlines() if line.startswith("killed in:")]
    with capsys.disabled():
        print("", *hits, sep="\n")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    for sign in ("guidegen convert", "guidegen train", "version commit"):
        assert any(sign in line and "ended before" not in line for line in hits), hits
