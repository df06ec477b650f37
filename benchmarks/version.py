"""Versions: hashing against sha256sum, verification of a large study, a commit against plain `dvc add`."""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from guidegen.study import Study
from guidegen.tables import write_tsv
from guidegen.version.commit import commit_run
from guidegen.version.inventory import hash_files

CONFIG = Path(__file__).resolve().parents[1] / "config"
WORKERS = os.cpu_count() or 1
REPEATS = 3
VERIFY_LARGE = """
import resource, sys, time
from pathlib import Path
from guidegen.study import Study
from guidegen.version.verify import verify_study
start = time.perf_counter()
result = verify_study(Study.load(Path(sys.argv[1])))
assert result.as_json()["ok"], result.errors[:3]
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, result.files)
"""


def rows() -> list[dict[str, Any]]:
    """Return the measured rows."""
    with tempfile.TemporaryDirectory() as folder:
        return [
            *measure_hashing(Path(folder, "hash")),
            *measure_large(Path(folder, "large")),
            *measure_commit(Path(folder)),
        ]


def measure_hashing(folder: Path) -> list[dict[str, Any]]:
    """Large files (volumes) and small ones (patches), all in the page cache."""
    measured = []
    for title, count, size in (("32 files of 8 MB", 32, 8 << 20), ("4,000 files of 20 kB", 4000, 20_000)):
        files = write_files(folder / str(size), count, size)
        mega = count * size / 1e6
        names = "\0".join(map(str, files)).encode()
        command = ["xargs", "-0", "-n", str(max(1, count // WORKERS // 4)), "-P", str(WORKERS), "sha256sum"]
        ours = take_median(lambda files=files: sum(1 for _ in hash_files(files, WORKERS)))
        theirs = take_median(
            lambda names=names, command=command: subprocess.run(
                command, input=names, stdout=subprocess.DEVNULL, check=True
            )
        )
        measured.append(
            {
                "name": f"version: hash {title}, {WORKERS} at a time",
                "unit": "MB/s",
                "ours": mega / ours,
                "baseline": mega / theirs,
                "baseline_name": f"xargs -P {WORKERS} sha256sum",
                "better": "higher",
                "goal": 0.8,
            }
        )
    return measured


def measure_large(root: Path) -> list[dict[str, Any]]:
    """Verification of 20,000 small cases in 1,000 shards."""
    study = make_study(root)
    for number in range(1000):
        run_shard(study.shard("data", "segmented", "tcga_luad", f"s{number:03d}"), 20, 200)
    done = subprocess.run([sys.executable, "-c", VERIFY_LARGE, root], capture_output=True, text=True, check=True)
    seconds, memory, files = map(float, done.stdout.split())
    assert files == 20_000
    what = "version: verify 20,000 cases in 1,000 shards"
    return [
        {"name": f"{what}, time", "unit": "s", "ours": seconds, "goal": "under 60 s", "holds": seconds < 60},
        {"name": f"{what}, memory", "unit": "MB", "ours": memory, "goal": "under 500 MB", "holds": memory < 500},
    ]


def measure_commit(folder: Path) -> list[dict[str, Any]]:
    """A first commit (verify, add, git, tag) against `dvc init; dvc add; git commit` of the same tree."""
    study = make_study(folder / "study")
    for number in range(10):
        run_shard(study.shard("data", "ct", "tcga_luad", f"s{number:03d}"), 20, 500_000)
    ours, theirs = (
        [shutil.copytree(study.root, folder / f"{who}{number}") for number in range(REPEATS + 1)]
        for who in ("ours", "theirs")
    )
    left = {"ours": list(ours), "theirs": list(theirs)}
    baseline = "git and dvc init, dvc add, git commit (nothing verified)"
    return [
        {
            "name": "version: first commit of 200 files of 500 kB, verified",
            "unit": "s",
            "ours": take_median(lambda: commit_run(Study.load(left["ours"].pop()), allow_dirty=True)),
            "baseline": take_median(lambda: add_plainly(left["theirs"].pop())),
            "baseline_name": baseline,
            "goal": 0.5,
        },
        {
            "name": "version: disk after this commit",
            "unit": "MB",
            "ours": measure_disk(ours[0]) / 1e6,
            "baseline": measure_disk(theirs[0]) / 1e6,
            "baseline_name": baseline,
            "goal": 0.95,
        },
    ]


def measure_disk(folder: Path) -> int:
    """Return the bytes that a folder takes on disk; a file with several names counts once."""
    states = [path.lstat() for path in folder.rglob("*")]
    return sum({(state.st_dev, state.st_ino): 512 * state.st_blocks for state in states}.values())


def add_plainly(root: Path) -> None:
    """What a user of DVC would type."""
    dvc = [sys.executable, "-m", "dvc"]
    shards = [path.relative_to(root).as_posix() for path in sorted(root.glob("data/ct/*/s???"))]
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (
        ["git", "init", "-q"],
        [*dvc, "init", "-q"],
        [*dvc, "add", "-q", *shards],
        ["git", "add", "."],
        ["git", *identity, "commit", "-qm", "a"],
    ):
        subprocess.run(command, cwd=root, check=True)


def take_median(action: Callable[[], Any]) -> float:
    """Return the median wall time of some calls after a warm-up, in seconds."""
    times = []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def write_files(folder: Path, count: int, size: int) -> list[Path]:
    """Write `count` files of `size` bytes that all differ."""
    folder.mkdir(parents=True)
    paths = [folder / f"{number:05d}.bin" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(number.to_bytes(4, "big") + bytes(size - 4))
    return paths


def make_study(root: Path) -> Study:
    """Make a study folder with the project's own tables."""
    (root / "config").mkdir(parents=True)
    for name in ("collections.tsv", "labels.tsv", "source_labels.tsv"):
        shutil.copyfile(CONFIG / name, root / "config" / name)
    (root / "config" / "config.yaml").write_text("study:\n  collections: [tcga_luad]\n", encoding="utf-8")
    return Study.load(root)


def run_shard(shard: Any, cases: int, size: int) -> None:
    """Write one shard with its manifest, without the records that a real run keeps."""
    shard.bulk.mkdir(parents=True)
    rows = []
    for number in range(cases):
        path = shard.bulk / f"{shard.bulk.name}-{number:03d}.nii.gz"
        path.write_bytes(os.urandom(size))
        rows.append(
            {
                "case": path.name.removesuffix(".nii.gz"),
                "status": "ok",
                "path": path.relative_to(shard.root),
                "bytes": size,
            }
        )
    hashes = dict(hash_files([shard.root / row["path"] for row in rows], WORKERS))
    for row in rows:
        row["sha256"] = hashes[shard.root / row["path"]]
    write_tsv(shard.manifest, ("case", "status", "reason", "path", "bytes", "sha256"), rows)
