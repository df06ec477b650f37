"""Jobs that an earlier, killed Snakemake left in the queue.

A Snakemake that dies by SIGKILL or with its login node leaves its jobs running. The next Snakemake does not know them
and submits the same work again, and then two jobs write to one output. So they are cancelled before a run starts; what
they finished is kept, because items and checkpoints are written whole or not at all.
"""

import subprocess
import time
from pathlib import Path

from guidegen.cluster.queue import list_queued
from guidegen.errors import GuideGenError


def cancel_orphans(study: Path, seconds: float = 120) -> list[str]:
    """Cancel the orphans of a study and wait until they left the queue; returns their ids.

    Call it only where no other Snakemake runs in the study: jobs of a living run look the same.

    Raises:
        GuideGenError: jobs are still there after `seconds`, or SLURM does not answer.
    """
    orphans = [job.id for job in list_queued(study)]
    if not orphans:
        return []
    subprocess.run(["scancel", *orphans], check=True)
    end = time.monotonic() + seconds
    while left := [job.id for job in list_queued(study)]:
        if time.monotonic() > end:
            raise GuideGenError(
                f"{study}: jobs {', '.join(left)} of an earlier run were cancelled but are still in the queue after "
                f"{seconds:.0f} s; start again when `squeue --job={','.join(left)}` no longer lists them"
            )
        time.sleep(1)
    return orphans
