"""The built documentation: no warnings, nothing from the internet, and a search that works from disk."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from guidegen.assets import ASSETS
from guidegen.cli import app
from guidegen.config import StudyConfig

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ASSETS, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def test_no_page_loads_anything_from_the_internet(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    loaded = re.compile(r'<(?:script|link|img|iframe)\b[^>]*?\b(?:src|href)="?((?:https?:)?//[^">\s]+)')
    assert {url for page in pages for url in loaded.findall(page.read_text(encoding="utf-8"))} == set()


def test_every_section_of_the_config_and_every_command_has_its_place(site: Path) -> None:
    config = (site / "reference" / "config.html").read_text(encoding="utf-8")
    assert [name for name in StudyConfig.model_fields if f'id="{name}"' not in config] == []
    commands = (site / "reference" / "cli.html").read_text(encoding="utf-8")
    names = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert [name for name in names if f'id="guidegen-{name}"' not in commands] == []


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_search_finds_a_page_from_disk_without_console_messages(site: Path, tmp_path: Path) -> None:
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0"]
    command += [f"--user-data-dir={tmp_path}", "--virtual-time-budget=10000", "--dump-dom"]
    page = (site / "how-to" / "audits.html").as_uri()
    shown = subprocess.run([*command, f"{page}?q=pseudonym"], capture_output=True, text=True, check=True)
    assert [line for line in shown.stderr.splitlines() if "CONSOLE" in line] == []
    found = re.findall(r'href="([^"]+)" class="md-search-result__link"', shown.stdout)
    assert any("how-to/own-data.html" in address for address in found), found
