"""The study folder as a git and DVC repository of its own."""

import errno
import io
import logging
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from configparser import ConfigParser
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from guidegen.atomic import write_text
from guidegen.errors import GuideGenError
from guidegen.locks import hold_lock
from guidegen.study import STATE_FOLDER
from guidegen.version.settings import VersionSettings

log = logging.getLogger(__name__)
IGNORED = (
    f"/{STATE_FOLDER}/",
    "/.snakemake/",
    "/archive/",
    "/logs/",
    "/benchmarks/",
    "/results/provenance/*/",
    ".tmp-*",
)
"""What git leaves out: state, the archive, logs, single job records (they are gathered into lineage.jsonl)."""
DVC_OPTIONS = {
    "core": {"analytics": "false", "check_update": "false", "autostage": "false"},
    "cache": {"type": "copy"},
}
REMOTE_NAME = "store"
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Repository:
    """The git and DVC repository in `root`; child processes keep the study's version lock while they live."""

    root: Path
    lock: int | None = None

    def git(self, *arguments: str, check: bool = True, stdin: str | None = None) -> str:
        """Run git in the study; return its standard output. Raises GuideGenError where it fails and `check` is set."""
        command = ["git", "-c", "gc.autoDetach=false", "-c", "core.quotePath=false", *arguments]
        return self._run(command, check=check, stdin=stdin)

    def grep(self, revision: str, pattern: str, files: str, *options: str) -> str:
        """Return what `git grep` finds in text files of a revision, "" where nothing matches.

        Raises:
            GuideGenError: git could not look; an empty answer always means that there is nothing.
        """
        command = ("grep", "-I", "-E", *options, pattern, revision, "--", files)
        done = self.attempt(*command)
        if done.returncode > 1:
            raise GuideGenError(f"{self.root}: `git {' '.join(command)}` failed: {done.stderr.strip()}")
        return done.stdout

    def succeeds(self, *arguments: str) -> bool:
        """Tell whether a git command exits with 0."""
        return self.attempt(*arguments).returncode == 0

    def attempt(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run git in the study; return what it said on both streams and its exit code."""
        return subprocess.run(["git", *arguments], cwd=self.root, capture_output=True, text=True, check=False)

    def dvc(self, *arguments: str) -> str:
        """Run DVC in the study; return its standard output."""
        return self._run([sys.executable, "-m", "dvc", *arguments], check=True, show=sys.stderr.isatty())

    def _run(self, command: Sequence[str], *, check: bool, stdin: str | None = None, show: bool = False) -> str:
        environment = os.environ | {"DVC_NO_ANALYTICS": "true", "LC_ALL": "C.UTF-8"}
        done = subprocess.run(
            command,
            cwd=self.root,
            env=environment,
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=None if show else subprocess.PIPE,
            text=True,
            check=False,
            pass_fds=() if self.lock is None else (self.lock,),
        )
        if check and done.returncode:
            told = (done.stderr or done.stdout or "see above").strip()
            shown = " ".join(command[:8]) + (" …" if len(command) > 8 else "")
            raise GuideGenError(f"{self.root}: `{shown}` failed with exit code {done.returncode}:\n{told}")
        return done.stdout

    def list_tags(self) -> list[str]:
        """Names of the committed runs (`run/<id>`), oldest first."""
        return self.git("tag", "--list", "run/*", "--sort=creatordate").split()

    def resolve_tag(self, name: str) -> str:
        """Return the full name of a run, given as `run/<id>`, `<id>` or any git revision.

        Raises:
            GuideGenError: no such run; lists the known ones.
        """
        for candidate in (name, f"run/{name}"):
            if not name.startswith("-") and self.succeeds("rev-parse", "-q", "--verify", f"{candidate}^{{commit}}"):
                return candidate
        known = ", ".join(self.list_tags()) or "none yet; `guidegen version commit` makes the first"
        raise GuideGenError(f"{self.root}: no run '{name}'; known: {known}")


def refuse_code_checkout(root: Path) -> None:
    """Raise GuideGenError where `root` is the clone of GuideGen itself: a run in the clone never commits to it."""
    project = root / "pyproject.toml"
    if (
        project.is_file()
        and tomllib.loads(project.read_text(encoding="utf-8")).get("project", {}).get("name") == "guidegen"
    ):
        raise GuideGenError(
            f"{root} is the clone of the GuideGen code; its runs are not committed to it. "
            "Make a study folder of its own: `guidegen init DIR --preset demo`"
        )


def is_repository(root: Path) -> bool:
    """Tell whether the study folder is a git and DVC repository of its own."""
    return (root / ".git").exists() and (root / ".dvc" / "config").is_file()


@contextmanager
def hold_repository(root: Path) -> Iterator[Repository]:
    """Yield the study's repository, made where it is missing, alone: a second caller waits until the first is done.

    Locks that a killed git process left behind are removed. The lock lives as long as any child process of its holder,
    so that an orphaned `dvc push` is waited for, too.
    """
    refuse_code_checkout(root)
    busy = f"{root}: another `guidegen version` is at work"
    with hold_lock(root / STATE_FOLDER / "version.lock", busy, wait=True) as lock:
        repository = Repository(root, lock)
        try:
            _remove_dead_locks(root)
            if not is_repository(root):
                _make_repository(repository)
            yield repository
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            raise GuideGenError(f"{root}: {error}; free some space and call again, what is done is kept") from None


@contextmanager
def refuse_running(root: Path) -> Iterator[None]:
    """Keep `guidegen run` out of the study. Raises GuideGenError where a run is at work already."""
    busy = f"{root}: `guidegen run` works on this study; wait for it to end or stop it"
    with hold_lock(root / STATE_FOLDER / "run.lock", busy):
        yield


def init_repository(study_root: Path) -> None:
    """Make the study folder a git and DVC repository of its own; what is there already is kept."""
    with hold_repository(study_root.resolve()) as repository:
        _make_repository(repository)


def set_remote(repository: Repository, settings: VersionSettings) -> bool:
    """Tell DVC of the remote that the config names. Returns False where it names none."""
    if not settings.remote:
        return False
    has_scheme = re.match(r"^[a-z0-9]+://", settings.remote)
    url = settings.remote if has_scheme else str((repository.root / settings.remote).resolve())
    entry = {"url": url, "endpointurl": settings.endpoint_url or None}
    _configure_dvc(repository.root, {"core": {"remote": REMOTE_NAME}, f"'remote \"{REMOTE_NAME}\"'": entry})
    return True


def commit_staged(repository: Repository, message: str, paths: Sequence[str] = ()) -> None:
    """Commit what is staged, of the given paths only where there are any; under a stand-in name if git knows none."""
    known = repository.succeeds("var", "GIT_COMMITTER_IDENT")
    identity = () if known else ("-c", "user.name=guidegen", "-c", "user.email=guidegen@localhost")
    repository.git(*identity, "commit", "--quiet", "--file=-", "--", *paths, stdin=message)


def tag_head(repository: Repository, name: str, message: str, *, sign: bool = False) -> None:
    """Put an annotated tag on HEAD, signed with the user's key where asked: then it replaces an unsigned one."""
    known = repository.succeeds("var", "GIT_COMMITTER_IDENT")
    identity = () if known else ("-c", "user.name=guidegen", "-c", "user.email=guidegen@localhost")
    kind = ("--sign", "--force") if sign else ("--annotate",)
    repository.git(*identity, "tag", *kind, "--cleanup=verbatim", "--file=-", name, stdin=message)


def _make_repository(repository: Repository) -> None:
    root = repository.root
    if not (root / ".git").exists():
        repository.git("init", "--quiet", "--initial-branch=main")
    if not (root / ".dvc" / "config").is_file():
        repository.dvc("init", "--force")
    _configure_dvc(root, DVC_OPTIONS)
    ignored = root / ".gitignore"
    lines = ignored.read_text(encoding="utf-8").splitlines() if ignored.is_file() else []
    missing = [line for line in IGNORED if line not in lines]
    if missing:
        write_text(ignored, "\n".join([*lines, *missing]) + "\n")
    if not repository.succeeds("rev-parse", "-q", "--verify", "HEAD"):
        present = [name for name in (".gitignore", ".dvcignore", ".dvc", "config") if (root / name).exists()]
        repository.git("add", "--", *present)
        commit_staged(repository, "Start the study\n")


def _configure_dvc(root: Path, options: Mapping[str, Mapping[str, str | None]]) -> None:
    """Set options in `.dvc/config` in one step, and remove those that are None.

    DVC's own command takes a second for each and writes in place.
    """
    path = root / ".dvc" / "config"
    config = ConfigParser(interpolation=None)
    config.read(path, encoding="utf-8")
    for section, entries in options.items():
        config.read_dict({section: {key: value for key, value in entries.items() if value is not None}})
        for key in (key for key, value in entries.items() if value is None):
            config.remove_option(section, key)
    buffer = io.StringIO()
    config.write(buffer)
    if buffer.getvalue() != path.read_text(encoding="utf-8"):
        write_text(path, buffer.getvalue())


def _remove_dead_locks(root: Path) -> None:
    """Remove lock files that a killed git process left behind.

    Raises:
        GuideGenError: a git process of somebody else is at work in the study.
    """
    folder = root / ".git"
    locks = [path for path in (*folder.glob("*.lock"), *folder.glob("refs/**/*.lock")) if path.is_file()]
    if not locks:
        return
    busy = [process.pid for process in psutil.process_iter() if _works_in(process, root)]
    if busy:
        raise GuideGenError(f"{locks[0]}: git is at work in this study (process {busy[0]}); try again when it is done")
    for path in locks:
        log.warning("%s: left behind by a git process that is gone, removed", path)
        path.unlink(missing_ok=True)


def _works_in(process: psutil.Process, root: Path) -> bool:
    try:
        return process.name() == "git" and Path(process.cwd()).is_relative_to(root)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
