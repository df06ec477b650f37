"""The jobs of a study in SLURM's queue.

The plugin names every job `<prefix>_<run id>` and lets it work in the study folder.
"""

import getpass
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from guidegen.errors import GuideGenError

JOB_NAME_PREFIX = "guidegen_"
"""`slurm-jobname-prefix` of the profile, and the underscore that the plugin adds."""
FORMAT = "%i|%j|%Z|%T|%N|%M|%r"


@dataclass(frozen=True)
class QueuedJob:
    """One pending or running job."""

    id: str
    state: str
    """SLURM's word in capitals, e.g. `PENDING`."""
    node: str
    """Where it runs, "" while it is pending."""
    seconds: int
    """How long it has been running."""
    reason: str
    """Why it is pending, in SLURM's words; "" where it runs."""


def list_queued(study: Path) -> list[QueuedJob]:
    """Return GuideGen's jobs in the queue whose working folder is `study`, in the order of submission.

    Returns an empty list on a machine without SLURM, and where no run of this study that left jobs behind ever used it
    (the plugin keeps their logs in `.snakemake/slurm_logs`).

    Raises:
        GuideGenError: squeue fails, so that it is unknown which jobs there are.
    """
    if shutil.which("squeue") is None or not (study / ".snakemake" / "slurm_logs").is_dir():
        return []
    command = ["squeue", "--noheader", "--sort=i", f"--user={getpass.getuser()}", f"--format={FORMAT}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise GuideGenError(
            f"{' '.join(command)}: exit {done.returncode}: {done.stderr.strip()}; without the queue it is unknown "
            "whether jobs of an earlier run still write to this study: wait until SLURM answers"
        )
    rows = [line.split("|", 6) for line in done.stdout.splitlines()]
    return [
        QueuedJob(job, state, node, parse_elapsed(elapsed), "" if reason == "None" else reason)
        for job, name, folder, state, node, elapsed, reason in rows
        if name.startswith(JOB_NAME_PREFIX) and Path(folder) == study.resolve()
    ]


def parse_elapsed(text: str) -> int:
    """Return the seconds of SLURM's `[days-][hours:]minutes:seconds`; 0 for anything else (`INVALID`)."""
    days, _, clock = text.rpartition("-")
    try:
        parts = [int(part) for part in clock.split(":")]
        seconds = sum(value * unit for value, unit in zip(reversed(parts), (1, 60, 3600), strict=False))
        return seconds + 86400 * int(days or 0)
    except ValueError:
        return 0
