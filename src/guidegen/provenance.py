"""Lineage: each job writes what it read, what it made, and with which code, config and machine."""

import hashlib
import json
import os
import platform
import re
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import distributions
from pathlib import Path

from guidegen import __version__
from guidegen.atomic import hash_file, write_text
from guidegen.codehash import PACKAGE, code_hash
from guidegen.study import Study


@contextmanager
def record_job(
    study: Study, phase: str, job: Mapping[str, str], inputs: Sequence[Path], outputs: Sequence[Path]
) -> Iterator[None]:
    """Write one lineage row when the block ends well; a failed block leaves none.

    The row lies in `results/provenance/<run id>/<phase>-<job>.json`; no two jobs of a run write to one file. The run
    id comes from `GUIDEGEN_RUN_ID` (set by `guidegen run`), else from the day, and never enters a manifest.

    Args:
        study: the study.
        phase: name of the phase.
        job: the wildcards that tell this job from others, e.g. `{"collection": …, "shard": …}`.
        inputs: small files that were read (manifests, tables).
        outputs: declared outputs.
    """
    start = time.time()
    yield
    run = os.environ.get("GUIDEGEN_RUN_ID") or time.strftime("manual-%Y%m%d", time.gmtime())
    row = {
        "phase": phase,
        "job": dict(job),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "guidegen": __version__,
        "code_commit": describe_code(),
        "study_commit": describe_commit(study.root),
        "code": code_hash(phase),
        "config": hash_file(study.root / "config" / "config.yaml"),
        "environment": hash_environment(),
        "python": platform.python_version(),
        "seed": study.config.study.seed,
        "threads": study.config.study.threads,
        "inputs": _hash_files(study.root, inputs),
        "outputs": _hash_files(study.root, outputs),
        "host": socket.gethostname(),
        "scheduler_job": os.environ.get("SLURM_JOB_ID", ""),
        "start": _format_time(start),
        "end": _format_time(time.time()),
    }
    name = _clean_name("-".join([phase, *job.values()]))
    write_text(
        study.root / "results" / "provenance" / _clean_name(run) / f"{name}.json",
        json.dumps(row, indent=1, sort_keys=True),
    )


def describe_commit(folder: Path) -> str:
    """Return the git commit of a folder, with `-dirty` where tracked files are changed, "" outside a repository."""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    # Many jobs ask at once; without optional locks none of them stands in the way of a commit.
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    return done.stdout.strip()


def describe_code() -> str:
    """Return the git commit of the code (with `-dirty`), or `v<version>` where it was installed without git."""
    command = ["git", "-C", str(PACKAGE), "ls-files", "--error-unmatch", "__init__.py"]
    # A package inside a foreign repository (a virtual environment in a study, say) is not tracked by it.
    tracked = subprocess.run(command, capture_output=True, check=False).returncode == 0
    return describe_commit(PACKAGE) if tracked else f"v{__version__}"


def hash_environment() -> str:
    """Return a hash over names and versions of all installed distributions, 16 hex digits.

    Only the environment's own folders count: setuptools, once imported, adds copies of its own to the search path.
    """
    folders = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    names = sorted({f"{d.metadata['Name']}=={d.version}".lower() for d in distributions(path=folders)})
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


def _clean_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip(".") or "unnamed"


def _hash_files(root: Path, paths: Sequence[Path]) -> dict[str, str]:
    return {os.path.relpath(path, root): hash_file(path) for path in paths if path.is_file()}


def _format_time(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
