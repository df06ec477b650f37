"""A file system of two megabytes, for tests of a disk that is full or read-only."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MEGABYTES = 2


@contextmanager
def mount_small_disk(place: Path) -> Iterator[Path]:
    """Mount it at `place` where the tests may; else the test is skipped and says so."""
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(place)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a file system needs root")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def fill_disk(place: Path, left: int) -> Path:
    """Fill the disk but for `left` bytes; returns the file to delete again."""
    filler = place / "filler"
    status = os.statvfs(place)
    filler.write_bytes(bytes(max(0, status.f_bavail * status.f_frsize - left)))
    return filler
