"""Packages of the npm registry without node: fetched once, checked by their hash, kept in the user's cache."""

import base64
import hashlib
import io
import os
import re
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import requests

from guidegen.atomic import replace_file
from guidegen.errors import GuideGenError
from guidegen.services import ask_service, read_stream

REGISTRY = "https://registry.npmjs.org"
LONGEST_DOWNLOAD_S = 300.0


@dataclass(frozen=True)
class NpmPackage:
    """One version of a package."""

    name: str
    version: str
    integrity: str
    """`sha512-` and the hash of the tarball in base64, as the registry and every lock file of npm state it."""

    @property
    def file_name(self) -> str:
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"

    def read_members(self, names: Sequence[str]) -> dict[str, bytes]:
        """Return files of the package by their path in it; the tarball is downloaded on first use.

        Raises:
            ServiceError: it is not in the cache and the registry does not answer.
            GuideGenError: what the registry sent is not the pinned package, or lacks a file.
        """
        path = cache_folder() / self.file_name
        data = path.read_bytes() if path.is_file() else b""
        if _hash_integrity(data) != self.integrity:
            data = self._download()
            with replace_file(path) as temporary:
                temporary.write_bytes(data)
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
            wanted = {f"package/{name}": name for name in names}
            found = {wanted[part.name]: archive.extractfile(part) for part in archive if part.name in wanted}
            files = {name: stream.read() for name, stream in found.items() if stream is not None}
        if missing := sorted(set(names) - set(files)):
            raise GuideGenError(f"{path}: no {', '.join(missing)} in {self.name} {self.version}")
        return files

    def _download(self) -> bytes:
        url = f"{find_registry(self.name)}/{self.name}/-/{self.name.rpartition('/')[2]}-{self.version}.tgz"

        def take(response: requests.Response) -> bytes:
            return b"".join(read_stream(response, LONGEST_DOWNLOAD_S))

        data = ask_service("GET", url, take, attempts=2, retry_unreachable=False)
        if (found := _hash_integrity(data)) != self.integrity:
            raise GuideGenError(f"{url}: integrity is {found}, the pinned one is {self.integrity}; nothing was kept")
        return data


def cache_folder() -> Path:
    """Return `guidegen/npm` in the user's cache folder (`XDG_CACHE_HOME`, else `~/.cache`)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "guidegen" / "npm"


def find_registry(name: str) -> str:
    """Return the registry that npm would ask for a package: that of its scope, else the general one.

    Variables `npm_config_…` count before `~/.npmrc` (or the file that `npm_config_userconfig` names).
    """
    settings = {k.lower()[11:]: v for k, v in os.environ.items() if k.lower().startswith("npm_config_") and v}
    path = Path(settings.get("userconfig") or Path.home() / ".npmrc")
    if path.is_file():
        lines = re.findall(r"(?m)^\s*([^;#=\s]+)\s*=\s*(.*?)\s*$", path.read_text(encoding="utf-8", errors="replace"))
        settings = {key: os.path.expandvars(value.strip("\"'")) for key, value in lines} | settings
    scope = name.partition("/")[0]
    return (settings.get(f"{scope}:registry") or settings.get("registry") or REGISTRY).rstrip("/")


def _hash_integrity(data: bytes) -> str:
    return f"sha512-{base64.b64encode(hashlib.sha512(data).digest()).decode()}"
