"""One uncompressed tar per series, whose bytes depend on nothing but its files."""

import io
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from guidegen.errors import ItemError

COPY_BYTES = 1 << 20
"""A CT slice goes to the disk in one write."""


def write_tar(path: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Write files in the given order; times, owners and modes are fixed."""
    with tarfile.TarFile(path, "w", format=tarfile.USTAR_FORMAT, copybufsize=COPY_BYTES) as archive:
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o644
            archive.addfile(member, io.BytesIO(data))


def read_tar(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield (name, bytes) of each file of a series, in order (`00001.dcm`, …, or `00001.nii.gz`).

    Raises:
        ItemError: the file is missing or no whole tar.
    """
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                stream = archive.extractfile(member)
                if stream is not None:
                    yield member.name, stream.read()
    except (OSError, tarfile.TarError) as error:
        raise ItemError(f"{path}: not a readable tar: {error}") from None
