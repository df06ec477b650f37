"""Weights come whole or not at all, from where TotalSegmentator's own client fetches them, and are checked for ever."""

import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from guidegen.errors import GuideGenError
from guidegen.mask.settings import TotalSegmentatorSettings
from guidegen.mask.weights import check_weights, fetch_weights, list_models, locate_weights
from guidegen.tables import read_tsv

pytestmark = pytest.mark.segmentation


def make_settings(home: Path, speed: str = "fastest") -> TotalSegmentatorSettings:
    return TotalSegmentatorSettings(device="cpu", speed=speed, home=home)  # type: ignore[arg-type]


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def release(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A server of this machine with the model, as on TotalSegmentator's release page; requests go there."""
    from totalsegmentator import libs  # pyright: ignore[reportMissingImports]

    folder = tmp_path / "release"
    folder.mkdir()
    dataset = next((home / "nnunet" / "results").iterdir())
    shutil.make_archive(str(folder / dataset.name), "zip", dataset.parent, dataset.name)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    get = libs.requests.get

    def get_here(url: str, **options: object) -> object:
        assert urlsplit(url).hostname == "github.com"
        return get(f"http://127.0.0.1:{server.server_port}/{Path(urlsplit(url).path).name}", **options)

    monkeypatch.setattr(libs.requests, "get", get_here)
    yield folder
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("speed", ["normal", "fast", "fastest"])
def test_missing_weights_name_the_command_and_the_file(tmp_path: Path, speed: str) -> None:
    with pytest.raises(GuideGenError, match=rf"guidegen mask --fetch-weights --study {tmp_path}$") as caught:
        check_weights(tmp_path, make_settings(Path("weights"), speed))
    assert str(tmp_path / "weights" / "nnunet" / "results") in str(caught.value)
    assert not (tmp_path / "weights").exists()


def test_weights_are_fetched_stated_and_found_again(release: Path, home: Path, tmp_path: Path) -> None:
    settings = make_settings(tmp_path / "home")
    table = fetch_weights(tmp_path / "study", settings)
    assert [path.read_bytes() for path in locate_weights(tmp_path, settings)] == [
        path.read_bytes() for path in locate_weights(tmp_path, make_settings(home))
    ]
    assert {row["speed"] for row in read_tsv(table)} == {"fastest"}
    digest = check_weights(tmp_path / "study", settings)
    before = table.read_bytes()
    fetch_weights(tmp_path / "study", settings)
    assert table.read_bytes() == before
    assert check_weights(tmp_path / "study", settings) == digest


def test_half_a_model_is_fetched_again(release: Path, tmp_path: Path) -> None:
    settings = make_settings(tmp_path / "home")
    fetch_weights(tmp_path, settings)
    digest = check_weights(tmp_path, settings)
    victim = locate_weights(tmp_path, settings)[-1]
    victim.unlink()
    with pytest.raises(GuideGenError, match="are missing"):
        check_weights(tmp_path, settings)
    fetch_weights(tmp_path, settings)
    assert check_weights(tmp_path, settings) == digest


def test_weights_that_another_machine_got_differently_are_refused(release: Path, tmp_path: Path) -> None:
    settings = make_settings(tmp_path / "home")
    fetch_weights(tmp_path, settings)
    victim = locate_weights(tmp_path, settings)[-1]
    content = victim.read_bytes()
    victim.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    wrong = r"checkpoint_final\.pth: sha256 is [0-9a-f]{64}, .*weights\.tsv states"
    for act in (fetch_weights, check_weights):
        with pytest.raises(GuideGenError, match=wrong):
            act(tmp_path, settings)


@pytest.mark.parametrize("damage", ["absent", "truncated"])
def test_a_download_that_fails_leaves_nothing(damage: str, release: Path, tmp_path: Path) -> None:
    settings = make_settings(tmp_path / "home")
    archive = next(release.glob("*.zip"))
    if damage == "absent":
        archive.unlink()
    else:
        archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    with pytest.raises(GuideGenError, match="could not be fetched"):
        fetch_weights(tmp_path, settings)
    dataset = next(iter(list_models(settings).values())).split("/")[0]
    assert [path for path in (tmp_path / "home").rglob("*") if dataset in path.name] == []
    assert not (tmp_path / "data").exists()
