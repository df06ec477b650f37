"""All checks in their order."""

from pathlib import Path

from guidegen.assets import ASSETS
from guidegen.cluster.site import find_site_file
from guidegen.doctor.check import Check, fail, warn
from guidegen.doctor.environment import check_environment
from guidegen.doctor.machine import check_disk, check_gpus
from guidegen.doctor.profile import check_configuration_path, check_profile, read_profile
from guidegen.doctor.scheduler import check_scheduler, check_settings, read_accounts, read_partitions, read_settings
from guidegen.doctor.site import check_account, check_needs, check_partitions, read_needs, read_site
from guidegen.doctor.study_parts import check_study
from guidegen.doctor.trial import try_jobs
from guidegen.errors import GuideGenError
from guidegen.study import STATE_FOLDER, Study


def check_all(root: Path) -> list[Check]:
    """Check environment and machine, and the study in `root` if there is one."""
    checks = [*check_environment(), check_gpus()]
    if not (root / "config" / "config.yaml").is_file():
        advice = "name a study with --study; `guidegen init DIR` makes one"
        return [*checks, warn("study", f"{root.resolve()} is no study folder: only the machine was checked", advice)]
    try:
        study = Study.load(root)
    except GuideGenError as error:
        return [*checks, fail("config", str(error), "correct the config")]
    return [*checks, *check_study(study), check_disk(study)]


def check_slurm(root: Path, profile: Path) -> list[Check]:
    """Check the cluster, the site file and the profile, and send a trivial CPU job and a GPU job.

    Args:
        root: study folder; its `config/slurm.yaml` is checked, or the file that GUIDEGEN_SLURM names.
        profile: folder of the Snakemake profile; `workflow/profiles/NAME` is one of ours.
    """
    ours = ASSETS / profile
    profile = (ours if not profile.is_absolute() and ours.is_dir() else profile).resolve()
    site_file = find_site_file(root)
    checks = [check_scheduler()]
    if checks[0].level == "problem":
        return checks
    site, unreadable = read_site(site_file)
    if unreadable:
        return [*checks, unreadable]
    options, unusable = read_profile(profile, site_file)
    if unusable:
        return [*checks, unusable]
    partitions = read_partitions()
    checks += [check_account(site, read_accounts()), *check_partitions(site, partitions)]
    checks += check_needs(read_needs(root), site, partitions, 1 + int(options.get("retries") or 0))
    checks += check_profile(options)
    checks += check_settings(read_settings(), int(options.get("slurm-init-seconds-before-status-checks", 40)))
    checks.append(check_configuration_path())
    gpu = any(int((limits or {}).get("max_gpu", 0)) for limits in site["partitions"].values())
    if not gpu:
        checks.append(fail("GPU job", "no partition of the site file has GPUs", "set max_gpu of the one that does"))
    if any(check.level == "problem" for check in checks):
        advice = "solve the problems above first"
        return [*checks, warn("trial jobs", "not sent", advice)]
    return checks + try_jobs(root / STATE_FOLDER, profile, site_file, gpu=gpu)
