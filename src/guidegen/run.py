"""Run a study: what the workflow needs first, then Snakemake with a progress display."""

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from guidegen.assets import ASSETS
from guidegen.atomic import write_text
from guidegen.errors import GuideGenError
from guidegen.locks import hold_lock
from guidegen.run_display import follow_workflow
from guidegen.study import STATE_FOLDER, Study

LOCAL_PROFILE = "workflow/profiles/local"


def run_study(root: Path, cores: int, options: Sequence[str]) -> int:
    """Run the study in `root`; return Snakemake's exit code.

    Args:
        root: study folder.
        cores: CPU cores for local jobs, 0 for all.
        options: further options and targets for Snakemake.

    Raises:
        GuideGenError: the config is wrong, the archive or a collection is missing, or another run is alive.
    """
    study = Study.load(root)
    with hold_lock(study.root / STATE_FOLDER / "run.lock", f"{study.root}: another `guidegen run` works on this study"):
        environment = os.environ | {"GUIDEGEN_RUN_ID": _get_run_id(study.root)}
        _prepare_index(study, environment)
        command = _build_command(study.root, cores, options)
        _unlock(study.root, command)
        code = follow_workflow(command, study.root, environment)
    page = study.root / "results" / "report" / "index.html"
    if code == 0 and page.is_file() and not _is_dry(options):
        print(f"Report: {page}")
    return code


def _is_dry(options: Sequence[str]) -> bool:
    return any(option in ("-n", "--dry-run", "--dryrun") for option in options)


def _get_run_id(root: Path) -> str:
    """Return the id of the run since the last `guidegen version commit`; a run that is resumed keeps its id."""
    path = root / STATE_FOLDER / "run_id"
    if not path.is_file():
        write_text(path, time.strftime("%Y%m%d-%H%M%S-", time.gmtime()) + secrets.token_hex(2))
    return path.read_text(encoding="utf-8").strip()


def _prepare_index(study: Study, environment: dict[str, str]) -> None:
    settings = study.config.index
    if all(study.index_table(name).is_file() for name in study.collections):
        return
    guidegen = [sys.executable, "-m", "guidegen"]
    archive = study.root / settings.archive
    wanted = ",".join(name for name, entry in study.collections.items() if entry.source == "archive")
    if wanted and settings.phantom and not (archive / "idc_index.parquet").is_file():
        patients, seed = settings.phantom.patients, settings.phantom.seed
        make = ["phantom", "--out", str(archive), "--patients", str(patients), "--seed", str(seed)]
        _run_step([*guidegen, *make, "--collections", wanted], environment)
    _run_step([*guidegen, "index", "--study", str(study.root)], environment)


def _run_step(command: list[str], environment: dict[str, str]) -> None:
    code = subprocess.run(command, env=environment, check=False).returncode
    if code:
        sys.exit(code)


def _build_command(root: Path, cores: int, options: Sequence[str]) -> list[str]:
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ASSETS / "Snakefile"), "--directory", str(root)]
    options = [_name_profile(option) for option in options]
    profile = next((o for o in options if o.split("=")[0] in ("--workflow-profile", "--profile", "--executor")), None)
    if profile is None:
        command += ["--workflow-profile", str(ASSETS / LOCAL_PROFILE)]
    # On a cluster, `--cores` would be the limit of all its jobs together.
    if profile is None or cores:
        command += ["--cores", str(cores or os.cpu_count() or 1)]
    return [*command, *options]


def _name_profile(option: str) -> str:
    """Turn `workflow/profiles/NAME` into the path of our profile; a study folder itself has none."""
    key, equals, value = option.rpartition("=")
    inside = value.startswith("workflow/profiles/") and (ASSETS / value).is_dir()
    return f"{key}{equals}{ASSETS / value}" if inside else option


def _unlock(root: Path, command: list[str]) -> None:
    """Remove Snakemake's lock if the run that left it is dead."""
    if not any((root / ".snakemake" / "locks").glob("*")):
        return
    alive = find_snakemake(root)
    if alive:
        raise GuideGenError(f"{root}: Snakemake (process {alive}) works on this study; wait for it or stop it")
    subprocess.run([*command[:7], "--unlock"], check=True, capture_output=True)


def find_snakemake(root: Path) -> int | None:
    """Return the process id of the Snakemake that works on a study on this machine, None where there is none."""
    for process in psutil.process_iter(["pid", "cmdline", "cwd"]):
        words = process.info["cmdline"] or []
        # A job that Snakemake started on a cluster is a Snakemake with `--mode`.
        ours = any("snakemake" in word for word in words[:3]) and "--mode" not in words
        if ours and process.info["cwd"] == str(root):
            return process.info["pid"]
    return None
