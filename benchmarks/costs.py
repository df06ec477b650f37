"""Measure what cases cost: the rows of src/guidegen/estimate/costs.tsv, on a finished study of CT of real size.

    python benchmarks/costs.py STUDY

Every shard of retrieve, convert and mask, and prepare, are made again (the same bytes) while the CPU seconds of their
processes are counted, and once more when they are current: that is what a job costs before its first case. The rest is
divided by the work: gigabytes of DICOM for retrieve, gigabytes of voxels (2 bytes each, as in an uncompressed series)
for convert and mask, megavoxels of both grids for prepare. Networks: operations, counted as `guidegen estimate` counts
them, over the wall time of the trainings and the study's threads; for these the machine must have been quiet.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from guidegen.estimate.networks import count_networks
from guidegen.manifest import read_manifest
from guidegen.status.snapshot import read_seconds
from guidegen.study import Study

GB = 1e9
FOLDERS = {"retrieve": "raw", "convert": "ct", "mask": "mask"}


def time_phase(root: Path, *words: str) -> float:
    """Return the CPU seconds of one phase command and all that it started."""
    before = os.times()
    subprocess.run([sys.executable, "-m", "guidegen", *words, "--study", str(root)], check=True, capture_output=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def time_again(study: Study, words: Sequence[str], states: Sequence[Path]) -> tuple[float, float]:
    """Return the CPU seconds of a command from nothing, and of the same when all is current."""
    for state in states:
        shutil.rmtree(state)
    return time_phase(study.root, *words), time_phase(study.root, *words)


def show(phase: str, times: Sequence[tuple[float, float]], work: float, per: str) -> None:
    """Print start-up and cost per unit of work of one phase."""
    start = sum(current for _, current in times) / len(times)
    whole = sum(first for first, _ in times)
    rest = max(0.0, whole - len(times) * start)
    print(f"{phase}\tcpu_s\tjob\t{start:.3g}\tmean of {len(times)} jobs that are current")
    print(f"{phase}\tcpu_s\t{per}\t{rest / work:.3g}\t{whole:.1f} CPU s in {len(times)} jobs, {work:.3g} {per}")


def count_gb(rows: Sequence[dict[str, str]]) -> float:
    """Return the gigabytes of the voxels of a conversion manifest's rows."""
    shapes = [row["shape"].split(",") for row in rows if row["status"] == "ok" and row["shape"]]
    return sum(2 * int(x) * int(y) * int(z) for x, y, z in shapes) / GB


def measure(study: Study) -> None:
    """Print the rows."""
    grid = study.config.prepare.grid
    shards = [(name, shard) for name in study.collections for shard in study.list_shards(name)]
    index = [row for name in study.collections for row in study.read_index(name)]
    ct = [row for name, shard in shards for row in read_manifest(study.manifest("data", "ct", name, shard))]
    mask = [row for name, shard in shards for row in read_manifest(study.manifest("data", "mask", name, shard))]
    labelled = {row["case"] for row in mask if row["status"] == "ok"}
    work = {
        "retrieve": sum(int(row["bytes"]) for row in index) / GB,
        "convert": count_gb(ct),
        "mask": count_gb([row for row in ct if row["case"] in labelled]),
    }
    for phase, folder in FOLDERS.items():
        times = []
        for name, shard in shards:
            words = (phase, "--collection", name, "--shard", shard)
            times.append(time_again(study, words, [study.shard("data", folder, name, shard).state]))
        show(phase, times, work[phase], "GB")
    series = {row["case"] for row in index if row["role"] == "ct" and row["format"] == "dicom"}
    dicom = [row for row in ct if row["case"] in series]
    written = sum(int(row["bytes"] or 0) for row in dicom) / GB
    print(f"convert\tdisk_gb\tGB\t{written / count_gb(dicom):.3g}\t{written:.3g} GB of DICOM series")
    sizes = sum(int(row["bytes"]) + int(row["source_bytes"]) for row in mask if row["status"] == "ok") / GB
    print(f"mask\tdisk_gb\tGB\t{sizes / work['mask']:.3g}\t{sizes:.3g} GB in {len(labelled)} cases")
    voxels = len([row for row in ct if row["status"] == "ok"]) * ((2 * grid) ** 3 + grid**3) / 1e6
    states = [study.shard("data", "cohort", name).state for name in ("arrays", "text")]
    show("prepare", [time_again(study, ["prepare"], states)], voxels, "Mvoxel")


def show_networks(study: Study) -> None:
    """Print the operations per second and core of the trainings that were timed."""
    for stage, operations in count_networks(study).training.items():
        seconds = read_seconds(study.root / "logs" / "train" / f"{stage}.benchmark.tsv")
        if seconds:
            rate = operations / seconds / study.config.study.threads / 1e9
            print(f"networks\tgflop_per_s\tcore\t{rate:.3g}\t{stage}: {operations / 1e12:.3g} TFLOP in {seconds:.0f} s")


if __name__ == "__main__":
    opened = Study.load(Path(sys.argv[1]))
    measure(opened)
    show_networks(opened)
