"""What tells of one run only: who made it, when, with which release, how long it took.

Two runs of one study have the same page, byte for byte; their times and machines are in a script beside it, `run.js`,
which is made from the lineage rows.
"""

import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from guidegen.atomic import write_text
from guidegen.report.blocks import Cell, Table, count
from guidegen.study import Study
from guidegen.version.inventory import RUN_FACTS
from guidegen.version.jobs import Row
from guidegen.version.lineage import find_makers, read_lineage

SOURCE = "results/provenance/"
COLUMNS = (
    "Phase",
    "Jobs",
    "Job time",
    "First start (UTC)",
    "Last end (UTC)",
    "Machines",
    "Release",
    "Commit of the code",
)


def write_run_facts(study: Study, render: Callable[[Table], str]) -> Path:
    """Write `run.js`, which fills its place in the page with the table that `render` draws.

    Raises:
        GuideGenError: a job's record is damaged.
    """
    table = tabulate_run(study)
    text = render(table) if table.rows else ""
    fill = f'document.getElementById("run").innerHTML = {json.dumps(text)};\n' if text else "// no job was recorded\n"
    path = study.root / RUN_FACTS
    write_text(path, fill.replace("</", "<\\/"))
    return path


def tabulate_run(study: Study) -> Table:
    """Return a table of the jobs that made what lies in the study, by phase in the order in which they ran.

    The report's own job is left out: it is still at work.
    """
    latest = {id(rows[-1]): rows[-1] for rows in find_makers(read_lineage(study.root)).values()}
    jobs = sorted((row for row in latest.values() if row["phase"] != "report"), key=lambda row: row["start"])
    phases: dict[str, list[Row]] = {}
    for row in jobs:
        phases.setdefault(row["phase"], []).append(row)
    rows = [_describe(phase, members) for phase, members in phases.items()]
    if jobs:
        rows.append([Cell("all", "\uffff", "total"), *_describe("", jobs)[1:]])
    note = (
        f"Runs: {', '.join(sorted({row['run'] for row in jobs}))}. Job time is summed over jobs that ran side by side."
    )
    return Table(COLUMNS, rows, (SOURCE,), "How it was made", note if jobs else "")


def _describe(phase: str, jobs: Sequence[Row]) -> list[Cell]:
    spent = sum((_parse(row["end"]) - _parse(row["start"]) for row in jobs), timedelta())
    start, end = min(row["start"] for row in jobs), max(row["end"] for row in jobs)
    seconds = round(spent.total_seconds())
    return [
        Cell(phase),
        count(len(jobs)),
        Cell(f"{seconds // 3600} h {seconds // 60 % 60:02d} min {seconds % 60:02d} s", seconds, "number"),
        Cell(start.replace("T", " ").removesuffix("Z"), start),
        Cell(end.replace("T", " ").removesuffix("Z"), end),
        Cell(", ".join(sorted({_name_machine(row) for row in jobs}))),
        Cell(", ".join(sorted({row.get("guidegen", "") for row in jobs}))),
        Cell(", ".join(sorted({_shorten(row["code_commit"]) for row in jobs}))),
    ]


def _parse(time: str) -> datetime:
    return datetime.fromisoformat(time)


def _name_machine(row: Row) -> str:
    threads, slurm = row.get("threads", ""), ", SLURM" if row.get("scheduler_job") else ""
    return f"{row.get('host', 'unknown')} ({threads} thread{'s' * (threads != 1)}{slurm})"


def _shorten(commit: str) -> str:
    """Return a commit as git abbreviates it; `-dirty` stays."""
    name, dash, rest = commit.partition("-")
    return name[:12] + dash + rest
