"""The profile's options that keep users out of the plugin's traps; docs/how-to/cluster-failures.md names these."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from guidegen.cluster.queue import JOB_NAME_PREFIX
from guidegen.doctor.check import Check, fail, ok, warn

SHORTEST_PATIENCE_S = 600


def read_profile(profile: Path, site_file: Path) -> tuple[dict[str, Any], Check | None]:
    """Read a profile as Snakemake does; return it with a problem if it cannot be read."""
    import yte

    path = profile / "config.yaml"
    before = os.environ.get("GUIDEGEN_SLURM")
    os.environ["GUIDEGEN_SLURM"] = str(site_file)
    try:
        with path.open(encoding="utf-8") as stream:
            options: Any = yte.process_yaml(stream, require_use_yte=True)
    except Exception as error:  # noqa: BLE001 - the profile runs Python of its own
        return {}, fail("profile", f"{path}: {error}", "use workflow/profiles/slurm, or correct yours")
    finally:
        os.environ.pop("GUIDEGEN_SLURM") if before is None else os.environ.update(GUIDEGEN_SLURM=before)
    return options, None


def check_profile(options: Mapping[str, Any]) -> list[Check]:
    """Check the options of a profile; one line for each that would lead into a trap."""
    checks = []
    if options.get("executor") != "slurm":
        checks.append(fail("profile", f"executor is {options.get('executor')!r}", "executor: slurm"))
    if options.get("slurm-status-command") != "squeue":
        checks.append(
            fail(
                "profile",
                "without `slurm-status-command: squeue` the plugin asks sacct and waits without end for a job that "
                "was cancelled",
                "slurm-status-command: squeue",
            )
        )
    patience = options.get("slurm-status-attempts", 5) / (options.get("max-status-checks-per-second") or 10)
    if patience < SHORTEST_PATIENCE_S:
        found = f"after {patience:.0f} s without an answer of the controller its jobs are forgotten, and the run hangs"
        checks.append(fail("profile", found, "slurm-status-attempts: 1800 and max-status-checks-per-second: 0.5"))
    if options.get("slurm-array-jobs"):
        found = "array jobs: where the plugin asks sacct, all tasks get the last one's state and a run can end green"
        checks.append(fail("profile", found, "take slurm-array-jobs out"))
    if options.get("groups") or options.get("group-components"):
        checks.append(fail("profile", "the CPUs of grouped jobs add up and are refused", "take groups out"))
    if not options.get("slurm-requeue"):
        found = "a job whose node died fails, and its node is left out for the rest of the run"
        checks.append(fail("profile", found, "slurm-requeue: true"))
    if f"{options.get('slurm-jobname-prefix')}_" != JOB_NAME_PREFIX:
        found = "jobs that a killed run leaves behind cannot be told from others, and would write beside the next run's"
        checks.append(fail("profile", found, f"slurm-jobname-prefix: {JOB_NAME_PREFIX.rstrip('_')}"))
    if options.get("scheduler") != "greedy":
        found = "Snakemake waits without end for a SIGTERM that comes while its solver chooses jobs"
        checks.append(warn("profile", found, "scheduler: greedy"))
    if not options.get("rerun-incomplete"):
        checks.append(fail("profile", "outputs of killed jobs would be trusted", "rerun-incomplete: true"))
    if not options.get("retries"):
        checks.append(warn("profile", "a job that dies once is not tried again", "retries: 2"))
    return checks or [ok("profile", "no option that is known to lead into a trap")]


def check_configuration_path() -> Check:
    """Check that a job's step finds SLURM's configuration: the plugin takes every SLURM_* variable from it."""
    configuration = os.environ.get("SLURM_CONF", "")
    if not configuration or Path("/etc/slurm/slurm.conf").exists():
        return ok("SLURM_CONF", "the configuration is where a job's step finds it")
    program = shutil.which("srun")
    if program and Path(program).read_bytes()[:2] == b"#!":
        return ok("SLURM_CONF", f"{configuration}, set again by the script {program}")
    return fail(
        "SLURM_CONF",
        f"set to {configuration}; the plugin removes it before it calls srun, which then finds no configuration",
        f'put a script `srun` first on PATH: #!/bin/sh, then SLURM_CONF={configuration} exec {program} "$@"',
    )
