"""Jobs that an earlier, killed Snakemake left in the queue.

A Snakemake that dies by SIGKILL or with its login node leaves its jobs running. The next Snakemake does not know them
and submits the same work again, and then two jobs write to one output. So they are cancelled before a run starts; what
they finished is kept, because items and checkpoints are written whole or not at all.
"""

import getpass
import shutil
import subprocess
import time
from pathlib import Path

from guidegen.errors import GuideGenError

JOB_NAME_PREFIX = "guidegen_"
"""`slurm-jobname-prefix` of the profile, and the underscore that the plugin adds."""


def find_orphans(study: Path) -> list[str]:
    """Return the ids of GuideGen's jobs in the queue whose working folder is `study`, in the order of submission.

    Returns an empty list on a machine without SLURM.

    Raises:
        GuideGenError: squeue fails, so that it is unknown whether an earlier run's jobs still write.
    """
    if shutil.which("squeue") is None:
        return []
    command = ["squeue", "--noheader", f"--user={getpass.getuser()}", "--format=%i|%j|%Z"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise GuideGenError(
            f"{' '.join(command)}: exit {done.returncode}: {done.stderr.strip()}; without the queue it is unknown "
            "whether jobs of an earlier run still write to this study: wait until SLURM answers"
        )
    rows = [line.split("|", 2) for line in done.stdout.splitlines()]
    return [job for job, name, folder in rows if name.startswith(JOB_NAME_PREFIX) and Path(folder) == study.resolve()]


def cancel_orphans(study: Path, seconds: float = 120) -> list[str]:
    """Cancel the orphans of a study and wait until they left the queue; returns their ids.

    Call it only where no other Snakemake runs in the study: jobs of a living run look the same.

    Raises:
        GuideGenError: jobs are still there after `seconds`, or SLURM does not answer.
    """
    orphans = find_orphans(study)
    if not orphans:
        return []
    subprocess.run(["scancel", *orphans], check=True)
    end = time.monotonic() + seconds
    while left := find_orphans(study):
        if time.monotonic() > end:
            raise GuideGenError(
                f"{study}: jobs {', '.join(left)} of an earlier run were cancelled but are still in the queue after "
                f"{seconds:.0f} s; start again when `squeue --job={','.join(left)}` no longer lists them"
            )
        time.sleep(1)
    return orphans
