"""Locks that die with their process, however it dies."""

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from guidegen.errors import GuideGenError


@contextmanager
def hold_lock(path: Path, busy: str, *, wait: bool = False) -> Iterator[int]:
    """Hold an exclusive lock on `path` (made if missing); it works between nodes where the file system has locks.

    Args:
        path: the lock file; it keeps the process id and host of its last holder.
        busy: what to say when somebody else holds it.
        wait: wait for the other instead of failing.

    Yields:
        The file descriptor. A child process that inherits it keeps the lock for as long as it lives.

    Raises:
        GuideGenError: somebody else holds the lock and `wait` is not set.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.seek(0)
            holder = stream.read().strip() or "unknown process"
            if not wait:
                raise GuideGenError(f"{busy} ({holder}, lock {path})") from None
            print(f"{busy} ({holder}); waiting for it to end", file=sys.stderr, flush=True)
            fcntl.flock(stream, fcntl.LOCK_EX)
        stream.truncate(0)
        stream.write(f"process {os.getpid()} on {os.uname().nodename}")
        stream.flush()
        yield stream.fileno()
