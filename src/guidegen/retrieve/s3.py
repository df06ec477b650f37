"""Source `idc`: the objects of one series, through s5cmd, resumed by file and tried again after a pause."""

import ctypes
import hashlib
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

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
        objects = _list_objects(location, settings)
        if len(objects) != instances:
            raise TemporaryError(f"{location}: {len(objects)} of {instances} objects")
        missing = [entry for entry in objects if not entry.is_whole(folder)]
        if missing:
            manifest = "".join(f"cp {location}{entry.name} {shlex.quote(str(folder))}/\n" for entry in missing)
            _run_s5cmd(["run"], location, settings, manifest)
        differ = [entry.name for entry in missing if not entry.is_whole(folder)]
        if differ:
            raise TemporaryError(f"{location}: {len(differ)} file(s) are not what their MD5 says, e.g. {differ[0]}")
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


def _list_objects(location: str, settings: RetrieveSettings) -> list[_Object]:
    objects = []
    for line in _run_s5cmd(["ls", "--etag", f"{location}*"], location, settings).splitlines():
        entry = json.loads(line)
        name = entry["key"].removeprefix(location)
        if not OBJECT_NAME.fullmatch(name):
            raise ItemError(f"{location}: object '{name}' is refused: expected <uuid>.dcm")
        objects.append(_Object(name, entry["size"], entry.get("etag", "").strip('"')))
    return sorted(objects, key=lambda entry: entry.name)


def _make_md5() -> "hashlib._Hash":
    return hashlib.md5(usedforsecurity=False)


def _run_s5cmd(words: list[str], location: str, settings: RetrieveSettings, text: str = "") -> str:
    command = [find_s5cmd(), "--no-sign-request", "--json", "--retry-count", "3"]
    if settings.endpoint_url:
        command += ["--endpoint-url", settings.endpoint_url]
    command += ["--numworkers", str(settings.connections), *words]
    limit_s = settings.timeout_minutes * 60
    options = {"capture_output": True, "text": True, "check": False, "preexec_fn": _die_with_parent}
    try:
        done = subprocess.run(command, input=text, timeout=limit_s, **options)
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


def _die_with_parent() -> None:
    """Runs in the child: s5cmd ends with the job that started it, so that a rerun is the only writer."""
    if LIBC:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


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
