"""Progress of long work: a live bar at a terminal, plain lines with rate and time left in a log file."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 10.0


class Advance(Protocol):
    """Callback of `track_progress`: `advance(amount, note)`."""

    def __call__(self, amount: int = 1, note: str = "") -> None: ...


@contextmanager
def track_progress(title: str, total: int, unit: str = "cases", kept: int = 0) -> Iterator[Advance]:
    """Show the progress of `total` units of work on standard error.

    Args:
        title: what is being done, e.g. `"convert tcga_luad/s000"`.
        total: number of units.
        unit: what is counted, in the plural.
        kept: units that were done before; they count as done, but not for the rate.

    Yields:
        A function to call after each piece of work.
    """
    if sys.stderr.isatty():
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        columns = (*columns, TimeRemainingColumn(), TextColumn("{task.fields[note]}"))
        with Progress(*columns, console=Console(stderr=True)) as bars:
            task = bars.add_task(title, total=total, completed=kept, note="")
            yield lambda amount=1, note="": bars.update(task, advance=amount, note=note)
        return
    start = last = time.monotonic()
    done = kept

    def advance(amount: int = 1, note: str = "") -> None:
        nonlocal done, last
        done += amount
        now = time.monotonic()
        if done < total and now - last < SECONDS_BETWEEN_LINES:
            return
        last = now
        rate = (done - kept) / max(now - start, 1e-9)
        left = (total - done) / rate if rate else float("inf")
        print(
            f"{title}: {done}/{total} {unit}, {rate:.3g}/s, {left:.0f} s left {note}".rstrip(),
            file=sys.stderr,
            flush=True,
        )

    yield advance
