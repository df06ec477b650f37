"""Packages come from a registry of one's own, are checked, and are fetched once."""

import base64
import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from guidegen.errors import GuideGenError
from guidegen.report.npm_package import REGISTRY, NpmPackage, cache_folder, find_registry


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    """A registry with one package, `@lab/tool` 1.0.0."""
    folder = tmp_path / "registry" / "@lab" / "tool" / "-"
    folder.mkdir(parents=True)
    with tarfile.open(folder / "tool-1.0.0.tgz", "w:gz") as archive:
        for name, text in {
            "package/LICENSE": b"free",
            "package/dist/tool.js": b"tool()",
            "package/other": b"x",
        }.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "registry")))
    server.asked = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{server.server_port}/")
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def package(registry: ThreadingHTTPServer, tmp_path: Path) -> NpmPackage:
    data = (tmp_path / "registry/@lab/tool/-/tool-1.0.0.tgz").read_bytes()
    return NpmPackage("@lab/tool", "1.0.0", f"sha512-{base64.b64encode(hashlib.sha512(data).digest()).decode()}")


def test_package_is_fetched_once_and_only_what_is_asked_for_unpacked(
    package: NpmPackage, registry: ThreadingHTTPServer
) -> None:
    for _ in range(2):
        assert package.read_members(["dist/tool.js", "LICENSE"]) == {"dist/tool.js": b"tool()", "LICENSE": b"free"}
    assert registry.asked == ["/@lab/tool/-/tool-1.0.0.tgz"]  # type: ignore[attr-defined]
    with pytest.raises(GuideGenError, match=r"no dist/missing\.js in @lab/tool 1\.0\.0"):
        package.read_members(["dist/missing.js"])


def test_another_tarball_than_the_pinned_one_is_refused_and_not_kept(package: NpmPackage) -> None:
    forged = NpmPackage(package.name, package.version, "sha512-AAAA")
    with pytest.raises(GuideGenError, match="the pinned one is sha512-AAAA; nothing was kept"):
        forged.read_members(["LICENSE"])
    assert not cache_folder().exists()


def test_a_damaged_copy_in_the_cache_is_fetched_again(package: NpmPackage) -> None:
    package.read_members(["LICENSE"])
    (cache_folder() / package.file_name).write_bytes(b"half")
    assert package.read_members(["LICENSE"]) == {"LICENSE": b"free"}


def test_registry_is_the_one_that_npm_would_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("npm_config_registry", "NPM_CONFIG_REGISTRY", "npm_config_userconfig", "NPM_CONFIG_USERCONFIG"):
        monkeypatch.delenv(name, raising=False)
    assert find_registry("@lab/tool") == REGISTRY
    (tmp_path / ".npmrc").write_text("; ours\nregistry = https://npm.lab/${TEAM}/\n@lab:registry=https://lab.lab\n")
    monkeypatch.setenv("TEAM", "ct")
    assert find_registry("tool") == "https://npm.lab/ct"
    assert find_registry("@lab/tool") == "https://lab.lab"
    monkeypatch.setenv("npm_config_registry", "https://other.lab/")
    assert find_registry("tool") == "https://other.lab"
