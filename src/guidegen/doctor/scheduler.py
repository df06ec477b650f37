"""What SLURM's own commands say about a cluster."""

import getpass
import re
import shutil
import subprocess
from dataclasses import dataclass, field

from guidegen.doctor.check import Check, fail, ok, warn

PROGRAMS = ("sbatch", "srun", "squeue", "sinfo", "scontrol", "scancel")
TIMEOUT_S = 60
UNLIMITED_MIN = float("inf")
LONGEST_INTERVAL_S = 180
"""The plugin's longest pause between two status queries."""


@dataclass
class PartitionFacts:
    """One partition as `sinfo` describes it."""

    up: bool = False
    minutes: float = 0.0
    """Time limit of a job."""
    memory_mb: int = 0
    """Memory of its largest node."""
    cpus: int = 0
    """Cores of its largest node."""
    nodes: int = 0
    gpus: dict[str, int] = field(default_factory=dict)
    """Most GPUs of one node, by model; the model is "" where the site names none."""
    all_gpus: dict[str, int] = field(default_factory=dict)
    """GPUs of all nodes, by model."""


def call_slurm(*command: str) -> tuple[str, str]:
    """Run one of SLURM's commands; return (output, error); the error is "" where it succeeded."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", str(error)
    return done.stdout, "" if done.returncode == 0 else (done.stderr or done.stdout).strip() or str(done.returncode)


def read_partitions() -> dict[str, PartitionFacts]:
    """Return the partitions of the cluster; empty where sinfo fails."""
    text, _ = call_slurm("sinfo", "--noheader", "--exact", "--format=%P|%a|%l|%m|%c|%D|%G")
    found: dict[str, PartitionFacts] = {}
    for line in text.splitlines():
        name, state, limit, memory, cpus, nodes, gres = line.split("|", 6)
        facts = found.setdefault(name.rstrip("*"), PartitionFacts())
        facts.up = state == "up"
        facts.minutes = parse_minutes(limit)
        facts.memory_mb = max(facts.memory_mb, int(memory.rstrip("+")))
        facts.cpus = max(facts.cpus, int(cpus.rstrip("+")))
        facts.nodes += int(nodes)
        for model, count in re.findall(r"gpu(?::([^:,(]+))?:(\d+)", gres):
            facts.gpus[model] = max(facts.gpus.get(model, 0), int(count))
            facts.all_gpus[model] = facts.all_gpus.get(model, 0) + int(nodes) * int(count)
    return found


def parse_minutes(text: str) -> float:
    """Return the minutes of SLURM's `[days-]hours:minutes:seconds`, `minutes:seconds` or `infinite`."""
    if text in ("infinite", "UNLIMITED", "n/a"):
        return UNLIMITED_MIN
    days, _, clock = text.rpartition("-")
    parts = [0, 0, *(int(part) for part in clock.split(":"))][-3:]
    return int(days or 0) * 1440 + parts[0] * 60 + parts[1] + parts[2] / 60


def read_accounts() -> dict[str, set[str]] | None:
    """Return the user's accounts, each with its QOS; None where the cluster keeps no accounts."""
    where = ("where", f"user={getpass.getuser()}")
    text, error = call_slurm("sacctmgr", "--noheader", "--parsable2", "show", "assoc", *where, "format=account,qos")
    if error or not shutil.which("sacctmgr"):
        return None
    accounts: dict[str, set[str]] = {}
    for line in text.splitlines():
        account, _, names = line.partition("|")
        accounts.setdefault(account, set()).update(filter(None, names.split(",")))
    return accounts


def read_settings() -> dict[str, str]:
    """Return `scontrol show config` as a dictionary; empty where it fails."""
    text, _ = call_slurm("scontrol", "show", "config")
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def check_scheduler() -> Check:
    """Check that SLURM's commands are there and its controller answers."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return fail("slurm", f"not found: {', '.join(missing)}", "run this on a login node of the cluster")
    _, error = call_slurm("squeue", "--noheader", "--me")
    if error:
        return fail("slurm", f"the controller does not answer: {error}", "`scontrol ping`; wait, or ask the site")
    text, _ = call_slurm("sinfo", "--version")
    return ok("slurm", f"{text.strip()}, the controller answers")


def check_settings(settings: dict[str, str], first_query_s: int) -> list[Check]:
    """Check the cluster's own settings against what the profile counts on.

    Args:
        settings: from `read_settings`.
        first_query_s: `slurm-init-seconds-before-status-checks` of the profile.
    """
    return [_check_job_age(settings, first_query_s), _check_memory_limits(settings)]


def _check_job_age(settings: dict[str, str], first_query_s: int) -> Check:
    age = int(re.match(r"\d*", settings.get("MinJobAge", ""))[0] or 0)  # type: ignore[index]
    told = f"MinJobAge={age} s: so long a finished job stays in squeue"
    if age < 3 * first_query_s:
        return fail(
            "job age",
            f"{told}; the plugin then asks sacct, with which a job that was cancelled is waited for without end",
            f"ask the site for MinJobAge of at least {max(300, 3 * first_query_s)}",
        )
    if age <= LONGEST_INTERVAL_S:
        return warn(
            "job age",
            f"{told}; status queries come up to {LONGEST_INTERVAL_S} s apart, and a job that vanished in between is "
            "waited for without end",
            "ask the site for MinJobAge=300; a run that hangs with an empty queue: Ctrl-C, start it again",
        )
    return ok("job age", told)


def _check_memory_limits(settings: dict[str, str]) -> Check:
    enforced = "cgroup" in settings.get("TaskPlugin", "") or "OverMemoryKill" in settings.get("JobAcctGatherParams", "")
    if enforced:
        return ok("memory limits", "a job over its memory is stopped, and tried again with more")
    return warn(
        "memory limits",
        "the cluster does not stop a job that takes more memory than it asked for",
        "such a job may take down its node and others' jobs with it: watch `sacct -o JobID,ReqMem,MaxRSS`",
    )
