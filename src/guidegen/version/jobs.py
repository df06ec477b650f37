"""Whether the jobs that made a study fit together: inputs, times, environment, config."""

import calendar
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from guidegen.atomic import hash_file
from guidegen.provenance import hash_environment
from guidegen.version.findings import Finding

Row = dict[str, Any]
FROZEN = ("data/index/", "config/")
"""Inputs that may change without making a job stale: their rows are followed one by one."""
SKEW_S = 60
"""Seconds by which the clocks of two nodes may differ."""


def name_job(row: Row) -> str:
    """Return what people call a job: `<run>/<phase>-<job>`."""
    return f"{row['run']}/{row['file'].removesuffix('.json')}"


def check_jobs(root: Path, makers: Mapping[str, list[Row]]) -> Iterator[Finding]:
    """Yield what does not fit.

    Args:
        root: the study.
        makers: the jobs that made each table or manifest, oldest first; the last one counts.
    """
    last = {path: made_by[-1] for path, made_by in makers.items()}
    yield from _check_inputs(root, last)
    yield from _check_times(last, makers)
    yield from _check_settings(root, last)


def _check_inputs(root: Path, makers: Mapping[str, Row]) -> Iterator[Finding]:
    hashes: dict[str, str] = {}
    for path, row in sorted(makers.items()):
        for name, stated in row["inputs"].items():
            file = root / name
            if name.startswith(FROZEN) or not file.is_file():
                continue
            if name not in hashes:
                hashes[name] = hash_file(file)
            if hashes[name] != stated:
                yield Finding("lineage", path, f"{name_job(row)} made it from another {name} than lies there")


def _check_times(last: Mapping[str, Row], makers: Mapping[str, list[Row]]) -> Iterator[Finding]:
    """A job ends after it began, and begins after its inputs were made; else a clock was wrong or a row was edited."""
    jobs = {id(row): row for row in last.values()}
    for row in sorted(jobs.values(), key=name_job):
        place = next(iter(sorted(row["outputs"])), "")
        try:
            start, end = _parse_time(row["start"]), _parse_time(row.get("end", row["start"]))
            made = {name: (_parse_time(end), end) for name, end in _find_first(row, makers).items()}
        except ValueError as error:
            yield Finding("clock", place, f"{name_job(row)}: {error}")
            continue
        if end < start - 1:
            yield Finding("clock", place, f"{name_job(row)} ended at {row['end']}, before it began at {row['start']}")
        for name, (moment, told) in made.items():
            if moment > start + SKEW_S:
                text = f"{name_job(row)} began at {row['start']}, before its input {name} was made ({told})"
                yield Finding("clock", place, f"{text}; a clock was set back, or a row was edited")
    newest = max((row.get("end", row["start"]) for row in jobs.values()), default="")
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + SKEW_S))
    if newest > now:
        text = f"this machine's clock says {now}, but a job ended at {newest}"
        yield Finding("clock", "results/provenance", text, warning=True)


def _find_first(row: Row, makers: Mapping[str, list[Row]]) -> dict[str, str]:
    """When each input of a job was first made as the job read it; a later job may have made the same bytes again."""
    found = {}
    for name, stated in row["inputs"].items():
        if not name.startswith(FROZEN):
            ends = [made["end"] for made in makers.get(name, []) if made["outputs"][name] == stated and "end" in made]
            found |= {name: min(ends)} if ends else {}
    return found


def _parse_time(text: str) -> int:
    try:
        return calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ"))
    except ValueError:
        raise ValueError(f"'{text}' is no time, expected e.g. 2026-03-01T12:00:00Z") from None


def _check_settings(root: Path, makers: Mapping[str, Row]) -> Iterator[Finding]:
    """Jobs of another config or environment; that may be right (only some settings concern a phase), hence warnings."""
    here = {"config": hash_file(root / "config" / "config.yaml"), "environment": hash_environment()}
    told = {"config": "another config.yaml; `guidegen run -- -n` says what that changes"}
    told["environment"] = "other packages than are installed here; a rerun may give other bytes"
    for kind, present in here.items():
        phases: dict[str, set[int]] = defaultdict(set)
        for row in makers.values():
            if row.get(kind, present) != present and row["phase"] != "index":
                phases[row["phase"]].add(id(row))
        if phases:
            jobs = ", ".join(f"{len(found)} × {phase}" for phase, found in sorted(phases.items()))
            yield Finding(
                kind, "config/config.yaml" if kind == "config" else "", f"{jobs} ran with {told[kind]}", warning=True
            )
