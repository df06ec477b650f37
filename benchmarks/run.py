"""Measure what GuideGen claims to be fast at, each against what a user would use instead.

    python benchmarks/run.py              all benchmarks
    python benchmarks/run.py phantom      some; the other rows of results.json stay as they are

A benchmark is a module of this folder with a function `rows()`; benchmarks/README.md says what it returns. Results go
to benchmarks/results.json and, as a table, to benchmarks/results.md.
"""

import argparse
import importlib.util
import json
import math
import platform
import subprocess
import sys
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table
from rich.text import Text

FOLDER = Path(__file__).resolve().parent
GIVEN = ("name", "unit", "ours", "baseline", "baseline_name", "goal", "better", "holds")


def find_benchmarks(folder: Path, names: Iterable[str]) -> dict[str, Path]:
    """Return the chosen benchmark modules by name; without names, all that have a `rows()`.

    Raises:
        SystemExit: a named one does not exist or has no `rows()`.
    """
    found = {
        path.stem: path
        for path in sorted(folder.glob("*.py"))
        if path.stem != "run" and "def rows(" in path.read_text(encoding="utf-8")
    }
    chosen = list(names)
    unknown = [name for name in chosen if name not in found]
    if unknown:
        raise SystemExit(f"no benchmark '{unknown[0]}' with a rows() in {folder}; there are: {', '.join(found)}")
    return {name: found[name] for name in chosen} if chosen else found


def measure(path: Path) -> list[dict[str, Any]]:
    """Import one benchmark and return its rows, checked."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return [complete_row(row, path.stem) for row in module.rows()]


def complete_row(row: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Add ratio and verdict to a benchmark's row.

    Raises:
        ValueError: a key is unknown or missing, or a figure is no finite number.
    """
    if strange := sorted(set(row) - set(GIVEN)):
        raise ValueError(f"{source}: row {row.get('name')!r} has unknown keys {strange}; known: {', '.join(GIVEN)}")
    if missing := [key for key in ("name", "unit", "ours", "goal") if key not in row]:
        raise ValueError(f"{source}: row {row.get('name')!r} lacks {', '.join(missing)}")
    better = row.get("better", "lower")
    if better not in ("lower", "higher"):
        raise ValueError(f"{source}: row {row['name']!r}: better is {better!r}, expected 'lower' or 'higher'")
    ours, baseline, goal = row["ours"], row.get("baseline"), row["goal"]
    for key, value in (("ours", ours), ("baseline", baseline)):
        if value is not None and not math.isfinite(value):
            raise ValueError(f"{source}: row {row['name']!r}: {key} is {value}, expected a finite number")
    ratio = None
    if baseline is not None and ours and baseline:
        ratio = baseline / ours if better == "lower" else ours / baseline
    if isinstance(goal, str) and "holds" not in row:
        raise ValueError(f"{source}: row {row['name']!r}: a goal in words ({goal!r}) needs `holds`")
    if ratio is None and "holds" not in row:
        raise ValueError(f"{source}: row {row['name']!r}: without a baseline the row must say `holds`")
    holds = bool(row["holds"]) if "holds" in row else ratio is not None and ratio >= goal
    return {
        "name": row["name"],
        "unit": row["unit"],
        "ours": ours,
        "baseline": baseline,
        "baseline_name": row.get("baseline_name", ""),
        "ratio": ratio,
        "goal": goal,
        "holds": holds,
        "benchmark": source,
    }


def describe_machine() -> dict[str, Any]:
    """Return CPU model, cores and memory; nothing that tells whose machine it is."""
    model = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.is_file():
        lines = information.read_text(encoding="utf-8").splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    return {"cpu": model, "cores": psutil.cpu_count(), "memory_gb": round(psutil.virtual_memory().total / 2**30)}


def describe_commit(folder: Path) -> str:
    """Return the short commit, with `-dirty` where tracked files differ from it."""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--exclude=*"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def merge_rows(old: list[dict[str, Any]], new: list[dict[str, Any]], measured: set[str]) -> list[dict[str, Any]]:
    """Replace rows by name; rows that a measured benchmark no longer gives are dropped."""
    kept = {row["name"]: row for row in old if row.get("benchmark") not in measured}
    return [row for _, row in sorted((kept | {row["name"]: row for row in new}).items())]


def format_figure(value: Any) -> str:
    """Three significant digits, plain for large numbers; "" for None."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def write_page(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write the table as Markdown."""
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`. `ratio` says how many times better ours is than the baseline.",
        "",
        "| what | unit | ours | baseline | | ratio | goal | holds | commit | machine |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        machine = "{cpu}, {cores} cores, {memory_gb} GB".format(**row["machine"])
        figures = [format_figure(row[key]) for key in ("ours", "baseline", "baseline_name", "ratio", "goal")]
        cells = [row["name"], row["unit"], *figures, "yes" if row["holds"] else "**no**", row["commit"], machine]
        lines.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print the rows; a goal that is missed is red."""
    table = Table("what", "unit", "ours", "baseline", "", "ratio", "goal", "holds")
    for row in rows:
        figures = [format_figure(row[key]) for key in ("ours", "baseline", "baseline_name", "ratio", "goal")]
        verdict = Text("yes", "green") if row["holds"] else Text("no", "bold red")
        table.add_row(row["name"], row["unit"], *figures, verdict)
    Console().print(table)


def main() -> int:
    """Measure, merge, write, print; 1 if a benchmark broke, 0 even where a goal is missed."""
    parser = argparse.ArgumentParser(description="Measure GuideGen against what a user would use instead.")
    parser.add_argument("names", nargs="*", help="benchmarks to run (default: all)")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of results.json and results.md")
    arguments = parser.parse_args()
    commit, machine = describe_commit(FOLDER), describe_machine()
    new: list[dict[str, Any]] = []
    broken: list[str] = []
    measured: set[str] = set()
    for name, path in find_benchmarks(FOLDER, arguments.names).items():
        print(f"measuring {name} …", flush=True)
        try:
            new += [row | {"commit": commit, "machine": machine} for row in measure(path)]
            measured.add(name)
        except Exception:  # noqa: BLE001 - whatever breaks one benchmark must not lose the others' figures
            traceback.print_exc()
            broken.append(name)
    results = arguments.out / "results.json"
    old = json.loads(results.read_text(encoding="utf-8")) if results.is_file() else []
    rows = merge_rows(old, new, measured)
    results.write_text(json.dumps(rows, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    write_page(arguments.out / "results.md", rows)
    print_table([row for row in rows if row.get("benchmark") in measured])
    if broken:
        print(f"broken: {', '.join(broken)}; their earlier rows stay in {results.name}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
