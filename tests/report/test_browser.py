"""The page in a real browser, offline."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from guidegen.report.page import output_file
from guidegen.study import Study

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
PROBE = """
<script>
addEventListener("load", () => {
  const wide = document.documentElement.scrollWidth;
  const name = document.querySelector("#cohort th button");
  const read = () => [...name.closest("table").tBodies[0].rows].map((row) => row.cells[0].textContent);
  name.click();
  const up = read();
  name.click();
  const down = read();
  const box = document.querySelector("#quality [data-layers]");
  const layer = document.querySelector("#quality img.labels");
  const shown = getComputedStyle(layer).visibility;
  box.click();
  const images = [...document.images];
  const found = { wide, view: innerWidth, up, down, shown, hidden: getComputedStyle(layer).visibility,
    images: images.length, broken: images.filter((image) => !image.naturalWidth).length,
    background: getComputedStyle(document.body).backgroundColor };
  document.body.innerHTML = "<pre id=probe>" + JSON.stringify(found) + "</pre>";
});
</script>
"""


def open_page(page: Path, folder: Path, *options: str) -> tuple[str, str]:
    """Return the document after loading and what the browser's console said."""
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0"]
    command += [f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=20000", *options, "--dump-dom"]
    done = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, check=True)
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


def probe_page(study: Study, folder: Path, *options: str) -> dict:
    page = folder / "probe.html"
    text = output_file(study).read_text().replace(' loading="lazy"', "")
    page.write_text(text.replace("</body>", PROBE + "</body>"))
    document, console = open_page(page, folder, *options)
    assert console == ""
    return json.loads(document.split('<pre id="probe">')[1].split("</pre>")[0])


def test_page_opens_without_console_messages(reported_study: Study, tmp_path: Path) -> None:
    document, console = open_page(output_file(reported_study), tmp_path)
    assert console == ""
    assert 'id="segmentation"' in document


@pytest.fixture(scope="module")
def probed(reported_study: Study, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What the page did in a wide, light window."""
    return probe_page(reported_study, tmp_path_factory.mktemp("wide"), "--window-size=1400,900")


def test_tables_sort_layers_switch_and_pictures_decode(probed: dict) -> None:
    assert probed["up"] == ["TCGA-KIRC", "TCGA-LUAD", "all"]
    assert probed["down"] == ["TCGA-LUAD", "TCGA-KIRC", "all"]
    assert (probed["shown"], probed["hidden"]) == ("visible", "hidden")
    assert probed["images"] > 50
    assert probed["broken"] == 0
    assert probed["wide"] <= probed["view"]


def test_dark_page_in_a_narrow_window_is_dark_and_never_scrolls_sideways(
    reported_study: Study, tmp_path: Path, probed: dict
) -> None:
    narrow = probe_page(reported_study, tmp_path, "--window-size=500,900", "--blink-settings=preferredColorScheme=0")
    assert narrow["wide"] <= narrow["view"] <= 500
    light, dark = (sum(int(part) for part in found["background"][4:-1].split(",")) for found in (probed, narrow))
    assert light > 600 > 200 > dark
