"""Kill a study again and again, then compare it with one that was left alone.

Usage: python benchmarks/killed_study.py --preset demo STUDY REFERENCE

Makes STUDY from a preset and runs it. SIGKILL goes to the whole process group at random moments, until `convert`, each
`train` stage that is asked for and `version commit` have been hit; each time the command is started again. At the end
every file that the study made must have the same sha256 as in REFERENCE, a finished study of the same preset.
"""

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

GUIDEGEN = [sys.executable, "-m", "guidegen"]


def hash_study(root: Path) -> dict[str, str]:
    """Return the sha256 of every file below `data` and `results`, without what tells of one run only."""
    files = [path for top in ("data", "results") for path in (root / top).rglob("*") if path.is_file()]
    kept = {path.relative_to(root): path for path in files if path.suffix != ".dvc" and path.name != ".gitignore"}
    return {
        str(name): hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in sorted(kept.items())
        if name.parts[:2] != ("results", "provenance") and name.parts != ("results", "report", "run.js")
    }


def list_running(pid: int) -> list[str]:
    """Return the command lines of all processes below `pid`."""
    lines = []
    try:
        for child in psutil.Process(pid).children(recursive=True):
            lines.append(" ".join(child.cmdline()))
    except psutil.Error:
        pass
    return lines


def kill_during(command: list[str], sign: str, rng: random.Random, delay: float) -> str:
    """Run a command in a group of its own and SIGKILL the group at a random moment.

    The moment is up to `delay` seconds after `sign` was first seen among the command lines of its processes.

    Returns:
        What ran when it was killed, from `sign` on, "" where the command ended first.
    """
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    while process.poll() is None:
        if any(sign in line for line in [" ".join(command), *list_running(process.pid)]):
            time.sleep(rng.uniform(0.2, delay))
            running = [line for line in list_running(process.pid) if sign in line] or [sign]
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return running[0][running[0].index(sign) :][:80]
        time.sleep(0.05)
    return ""


def run_killed(study: Path, preset: str, seed: int) -> None:
    """Make and run a study, killing it in convert, in each training and in the commit."""
    rng = random.Random(seed)
    run = [*GUIDEGEN, "run", "--study", str(study)]
    commit = [*GUIDEGEN, "version", "commit", "--study", str(study), "--allow-dirty"]
    subprocess.run([*GUIDEGEN, "init", str(study), "--preset", preset], check=True)
    stages = ("semantic_synthesizer", "contrast_autoencoder", "latent_generator")
    for sign in ("guidegen convert", *(f"guidegen train {stage}" for stage in stages)):
        hit = kill_during(run, sign, rng, 60.0 if "train" in sign and preset != "smoke" else 4.0)
        print(f"killed in: {hit or f'{sign}: ended before it could be hit'}", flush=True)
    subprocess.run(run, check=True)
    for _ in range(3):
        hit = kill_during(commit, "version commit", rng, 4.0)
        print(f"killed in: {hit or 'commit: ended before it could be hit'}", flush=True)
    subprocess.run(commit, check=True)
    subprocess.run([*GUIDEGEN, "version", "verify", "--study", str(study)], check=True)


def main() -> None:
    """Run, compare, and exit with 1 where a file differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("reference", type=Path)
    parser.add_argument("--preset", default="smoke")
    parser.add_argument("--seed", type=int, default=7, help="of the moments of the kills")
    options = parser.parse_args()
    run_killed(options.study, options.preset, options.seed)
    mine, theirs = hash_study(options.study), hash_study(options.reference)
    different = sorted(name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name))
    print(f"{len(mine)} files, {len(different)} different from {options.reference}")
    for name in different[:20]:
        print(f"  {name}: {mine.get(name, 'missing')[:12]} against {theirs.get(name, 'missing')[:12]}")
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
