"""Wall time and peak memory of each phase of a finished study, from the benchmark files that Snakemake wrote.

Usage: python benchmarks/phases.py STUDY
"""

import csv
import sys
from pathlib import Path


def summarise_phases(study: Path) -> list[dict[str, float | str]]:
    """Return one row per phase or stage: jobs, wall seconds summed over jobs, largest resident memory in MB."""
    rows: dict[str, list[tuple[float, float]]] = {}
    for path in sorted((study / "logs").glob("*/*.benchmark.tsv")):
        phase = path.parent.name
        name = f"train {path.name.split('.')[0]}" if phase == "train" else phase
        with path.open(encoding="utf-8") as stream:
            for row in csv.DictReader(stream, delimiter="\t"):
                memory = 0.0 if row["max_rss"] in ("NA", "-", "") else float(row["max_rss"])
                rows.setdefault(name, []).append((float(row["s"]), memory))
    return [
        {"phase": name, "jobs": len(jobs), "seconds": sum(s for s, _ in jobs), "peak_mb": max(m for _, m in jobs)}
        for name, jobs in rows.items()
    ]


def main() -> None:
    """Print the table as Markdown."""
    print("| phase | jobs | wall time of all jobs (s) | peak memory of a job (MB) |\n|---|---|---|---|")
    for row in summarise_phases(Path(sys.argv[1])):
        print(f"| {row['phase']} | {row['jobs']} | {row['seconds']:.1f} | {row['peak_mb']:.0f} |")


if __name__ == "__main__":
    main()
