"""Source `idc`: the objects of one series, through s5cmd, resumed by file and tried again after a pause."""

import logging
import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from guidegen.errors import ItemError
from guidegen.retrieve.settings import RetrieveSettings

LOCATION = re.compile(r"s3://[a-z0-9.-]+/[0-9a-f-]{36}/")
OBJECT_NAME = re.compile(r"[0-9a-f-]{36}\.dcm")
LONGEST_PAUSE_S = 60.0
log = logging.getLogger(__name__)


def download_series(location: str, instances: int, folder: Path, settings: RetrieveSettings) -> list[Path]:
    """Download `<bucket>/<crdc_series_uuid>/*` and return the files; those already there whole are kept.

    Args:
        location: `s3://<bucket>/<crdc_series_uuid>/`.
        instances: how many objects the index says there are.
        folder: where partial downloads survive a killed job.
        settings: endpoint, attempts, connections.

    Raises:
        ItemError: still incomplete after the last attempt; says what s5cmd reported.
    """
    if not LOCATION.fullmatch(location):
        raise ItemError(f"'{location}' is no series in the IDC; expected s3://<bucket>/<crdc_series_uuid>/")
    folder.mkdir(parents=True, exist_ok=True)
    message = ""
    for attempt in range(settings.attempts):
        if attempt:
            pause = min(LONGEST_PAUSE_S, 2.0 ** (attempt - 1)) * random.uniform(0.5, 1.5)
            log.warning("%s: attempt %d failed (%s), again in %.1f s", location, attempt, message, pause)
            time.sleep(pause)
        code, message = _run_s5cmd(location, folder, settings)
        files = sorted(path for path in folder.iterdir() if OBJECT_NAME.fullmatch(path.name))
        if code == 0 and len(files) == instances:
            return files
        message = message or f"{len(files)} of {instances} objects"
    raise ItemError(f"{location}: not downloaded after {settings.attempts} attempts: {message}")


def _run_s5cmd(location: str, folder: Path, settings: RetrieveSettings) -> tuple[int, str]:
    command = [find_s5cmd(), "--no-sign-request", "--log", "error", "--retry-count", "3"]
    if settings.endpoint_url:
        command += ["--endpoint-url", settings.endpoint_url]
    command += ["--numworkers", str(settings.connections), "cp", "--if-size-differ", f"{location}*", f"{folder}/"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=settings.timeout_minutes * 60, check=False
        )
    except subprocess.TimeoutExpired:
        return 1, f"no end after {settings.timeout_minutes:g} minutes"
    lines = (done.stderr or done.stdout).strip().splitlines()
    return done.returncode, lines[0][:300] if lines else ""


def find_s5cmd() -> str:
    """Return the path of the s5cmd command that belongs to this environment.

    Raises:
        ItemError: s5cmd is not installed.
    """
    beside = Path(sys.executable).with_name("s5cmd")
    found = str(beside) if beside.is_file() else shutil.which("s5cmd")
    if not found:
        raise ItemError("s5cmd is not installed; it is in the package s5cmd of the core environment")
    return found
