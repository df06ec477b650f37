"""A snapshot as a page of a terminal."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from guidegen.status.snapshot import SILENT_S, JobStatus, PhaseStatus, Snapshot

COLOURS = {"done": "green", "running": "cyan", "queued": "blue", "failed": "red", "interrupted": "yellow"}
MOST_JOBS = 20


def render_snapshot(snapshot: Snapshot) -> RenderableType:
    """Return what `guidegen status` shows."""
    parts: list[RenderableType] = [_render_head(snapshot)]
    if snapshot.phases:
        parts.append(_render_phases(snapshot.phases))
    active = [job for job in snapshot.jobs if job.state in ("running", "queued")]
    if active:
        parts.append(_render_jobs(active))
    for job in (job for job in snapshot.jobs if job.state in ("failed", "interrupted")):
        parts.append(_render_failure(job))
    parts += [Text(f"problem: {problem}", "red") for problem in snapshot.problems]
    return Group(*parts)


def format_seconds(seconds: float | None) -> str:
    """Return a duration for people: `42 s`, `3 min`, `5.2 h`; "" for None."""
    if seconds is None:
        return ""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _render_head(snapshot: Snapshot) -> Text:
    total = sum(sum(phase.jobs.values()) for phase in snapshot.phases)
    done = sum(phase.jobs["done"] for phase in snapshot.phases)
    text = Text(f"{snapshot.study}  ", "bold").append(snapshot.root, "dim").append("\n")
    text.append(f"Snakemake: {snapshot.runner}; ").append(f"{done} of {total} jobs have their outputs")
    if total and done == total:
        text.append("; whether they are current: guidegen run -- -n")
    elif snapshot.left_s is not None:
        untimed = f"{', '.join(snapshot.untimed)} (no finished job to judge by)" if snapshot.untimed else ""
        if not untimed or snapshot.left_s >= 1:
            text.append(f"; about {format_seconds(snapshot.left_s)} left")
            text.append(f", without {untimed}" if untimed else "")
        else:
            text.append(f"; time left unknown: {untimed}")
    return text


def _render_phases(phases: list[PhaseStatus]) -> Table:
    table = Table("phase", "jobs", "done", "running", "queued", "failed", "items failed", "s/job", "left", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for phase in phases:
        jobs, total = phase.jobs, sum(phase.jobs.values())
        failed = jobs["failed"] + jobs["interrupted"]
        finished = total > 0 and jobs["done"] == total
        table.add_row(
            Text(phase.phase, "green" if finished else "red" if failed else ""),
            str(total),
            str(jobs["done"]),
            str(jobs["running"] or ""),
            str(jobs["queued"] or ""),
            Text(str(failed or ""), "red"),
            Text(str(phase.items.get("failed", 0) or ""), "red"),
            "" if phase.mean_s is None else f"{phase.mean_s:.1f}",
            "" if finished else format_seconds(phase.left_s),
        )
    return table


def _render_jobs(jobs: list[JobStatus]) -> Table:
    slurm = any(job.scheduler_job for job in jobs)
    places = ("SLURM", "node") if slurm else ()
    table = Table("job", "state", *places, "age", "left", "last line of its log", box=None)
    for column in table.columns[:-1]:
        column.no_wrap = True
    for job in sorted(jobs, key=lambda job: job.state != "running")[:MOST_JOBS]:
        line = Text(job.reason if job.state == "queued" else job.last_line)
        if job.state == "running" and job.silent_s is not None and job.silent_s > SILENT_S:
            line = Text(f"silent for {format_seconds(job.silent_s)}: ", "yellow") + line
        table.add_row(
            f"{job.phase} {job.name}",
            Text(job.state + (f" (attempt {job.attempts})" if job.attempts > 1 else ""), COLOURS[job.state]),
            *((job.scheduler_job, job.node) if slurm else ()),
            format_seconds(job.age_s),
            format_seconds(job.left_s),
            line,
        )
    if len(jobs) > MOST_JOBS:
        table.add_row(f"and {len(jobs) - MOST_JOBS} more")
    return table


def _render_failure(job: JobStatus) -> Text:
    text = Text(f"{job.state}: {job.phase} {job.name}", COLOURS[job.state])
    if job.state == "interrupted":
        text.append(": Snakemake ended before the job did; `guidegen run` goes on with it", "")
    if job.reason:
        text.append(f"\n  {job.reason}", "")
    if job.last_line:
        text.append(f"\n  {job.last_line}", "")
    return text.append(f"\n  {job.log}", "dim")
