"""Python, its packages against the lock, and the programs that the phases call."""

import platform
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from guidegen import __version__
from guidegen.assets import ASSETS
from guidegen.doctor.check import Check, fail, ok, warn

LOCK = ASSETS / "envs" / "constraints.txt"
INSTALL = f"{sys.executable} -m pip install -c {LOCK} guidegen"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def check_environment() -> list[Check]:
    """Check the environment that this command runs in."""
    programs = [_check_program(name) for name in ("git", "dcm2niix", "s5cmd")]
    return [_check_python(), _check_packages(), *programs, _check_dvc(), _check_browser()]


def read_lock(path: Path = LOCK) -> dict[str, str]:
    """Return the pinned version of each package of a constraints file, by canonical name."""
    lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    pins = (line.split("==") for line in lines if "==" in line)
    return {canonicalize_name(name): pinned for name, pinned in pins}


def compare_packages(pins: dict[str, str]) -> tuple[list[str], list[str]]:
    """Return (missing, differing) packages that GuideGen itself requires; local tags such as `+cpu` do not count."""
    missing, differing = [], []
    for text in requires("guidegen") or []:
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(requirement.name).partition("+")[0]
        except PackageNotFoundError:
            missing.append(requirement.name)
            continue
        pinned = pins.get(canonicalize_name(requirement.name))
        if pinned and found != pinned:
            differing.append(f"{requirement.name} {found} (lock: {pinned})")
    return missing, differing


def find_program(name: str) -> str | None:
    """Return the path of a program, that of this environment first."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.is_file() else shutil.which(name)


def _check_python() -> Check:
    return ok("python", f"{platform.python_version()}, guidegen {__version__}, {sys.executable}")


def _check_packages() -> Check:
    pins = read_lock()
    missing, differing = compare_packages(pins)
    if missing:
        return fail("packages", f"not installed: {', '.join(missing)}", INSTALL)
    if differing:
        return warn("packages", f"not as in the lock: {', '.join(differing)}", f"for the tested versions: {INSTALL}")
    return ok("packages", f"all required ones are installed in the versions of {LOCK.name} ({len(pins)} pinned)")


def _check_program(name: str) -> Check:
    program = find_program(name)
    if program is None:
        how = "install git with the system's packages" if name == "git" else INSTALL
        return fail(name, "not found", how)
    flag = "version" if name == "s5cmd" else "--version"
    done = subprocess.run([program, flag], capture_output=True, text=True, check=False)
    lines = (done.stdout or done.stderr).strip().splitlines()
    # dcm2niix leaves with 3 after its version.
    if not lines or (done.returncode and name != "dcm2niix"):
        return fail(name, f"{program} does not run: {' '.join(lines)[:200]}", f"reinstall it: {INSTALL}")
    return ok(name, f"{lines[-1].strip()}, {program}")


def _check_dvc() -> Check:
    # It is called as a module of this Python; starting it takes seconds.
    try:
        return ok("dvc", version("dvc"))
    except PackageNotFoundError:
        return fail("dvc", "not installed", INSTALL)


def _check_browser() -> Check:
    program = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    return ok("browser", program or "none; only the tests of the report need chromium")
