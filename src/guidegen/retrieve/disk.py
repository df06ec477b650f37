"""Room on the disk: asked for before a shard starts, and explained where it ran out."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from guidegen.errors import GuideGenError
from guidegen.study import Study

DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}


def check_disk(study: Study, rows: list[dict[str, str]], bulk: Path) -> None:
    """Check that the series of a shard fit on the disk and under the cap.

    A series takes its bytes twice while it is brought in: as download and as tar.

    Args:
        study: the study.
        rows: index rows of the shard.
        bulk: where its tars go; what is there already is not needed again.

    Raises:
        GuideGenError: less than `retrieve.min_free_gb` would stay free, or `retrieve.max_disk_gb` would be exceeded.
    """
    settings = study.config.retrieve
    sizes = sorted((int(row["bytes"]) for row in rows), reverse=True)
    needed, at_once = sum(sizes) / 1e9, sum(sizes[: settings.series_at_once]) / 1e9
    have = measure_folder(bulk)
    free = shutil.disk_usage(study.root).free / 1e9
    if needed > have and free - (needed - have) - at_once < settings.min_free_gb:
        raise GuideGenError(
            f"{study.root}: {free:.1f} GB free, the shard needs {needed - have + at_once:.1f} GB and "
            f"{settings.min_free_gb:g} GB must stay free (retrieve.min_free_gb)"
        )
    if settings.max_disk_gb is not None:
        raw = study.root / "data" / "raw"
        used = measure_folder(raw)
        if used - have + max(needed, have) > settings.max_disk_gb:
            raise GuideGenError(
                f"{raw}: {used:.1f} GB and {max(0.0, needed - have):.1f} GB more exceed the cap of "
                f"{settings.max_disk_gb:g} GB (retrieve.max_disk_gb)"
            )


def measure_folder(folder: Path) -> float:
    """Return the size of all files of a folder in 10^9 bytes, 0 where there is none."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # another job may just have renamed its temporary file
            total += path.stat().st_size if path.is_file() else 0
    return total / 1e9


@contextmanager
def explain_disk_errors(root: Path) -> Iterator[None]:
    """Turn an error of the disk into one message that says what to do.

    Raises:
        GuideGenError: the disk is full, read-only, or broken.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        raise GuideGenError(
            f"{error.filename or root}: {error.strerror}. What was finished is kept; make room or make the folder "
            "writable and run again"
        ) from None
