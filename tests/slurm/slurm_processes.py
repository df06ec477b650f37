"""Processes of the test cluster, found and ended by their ids."""

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from slurm_files import PROGRAMS

PR_SET_PDEATHSIG = 1
"""From Linux's sys/prctl.h: the signal that a process gets when its parent ends."""


def die_with_parent() -> None:
    """Let the kernel kill this process when its parent ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def wait_until(ready: Callable[[], bool], seconds: float) -> bool:
    """Return whether something became true in time."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def is_alive(pid: int) -> bool:
    """Tell whether a process is one of the cluster's programs and runs."""
    if pid <= 0:
        return False
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        title = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return any(program.encode() in title for program in PROGRAMS)


def list_tree(pid: int) -> list[int]:
    """Return a process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(path.parent.name))
    tree = [pid]
    for parent in tree:
        tree.extend(children.get(parent, []))
    return tree


def send_signal(pid: int, how: signal.Signals) -> None:
    """Signal a process that may have ended; 0 stands for none."""
    if pid > 0:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, how)


def list_steps(root: Path, node: str = "*") -> list[int]:
    """Return the process ids of the job steps on a node; slurmstepd has a socket `<node>_<job>.<step>` in its spool."""
    jobs = {path.name.split("_")[1].split(".")[0] for path in (root / "spool").glob(f"{node}/{node}_*.*")}
    titles = tuple(f"slurmstepd: [{job}." for job in jobs)
    marker = f"SLURM_CONF={root}/etc/slurm.conf".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_bytes().decode(errors="replace")
            ours = title.startswith(titles) and marker in (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if ours:
            found.append(int(folder.name))
    return found


def list_job_processes(root: Path) -> list[int]:
    """Return the process ids of what jobs of this cluster started and left behind."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            variables = path.read_bytes().split(b"\0")
        except OSError:
            continue
        ours = any(value.startswith(f"PATH={root}/bin:".encode()) for value in variables)
        if ours and any(value.startswith(b"SLURM_JOB_ID=") for value in variables):
            found.append(int(path.parent.name))
    return found
