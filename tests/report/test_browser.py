"""The page in a real browser, opened from disk."""

import json
from collections.abc import Iterator

import numpy as np
import pytest
from chromium import CHROMIUM, Browser, Page
from PIL import Image

from guidegen.errors import GuideGenError
from guidegen.report.npm_package import NpmPackage
from guidegen.report.page import output_file
from guidegen.study import Study

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
AXE = NpmPackage(
    "axe-core",
    "4.14.1",
    "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
)
SECTIONS = "[...document.querySelectorAll('main section')].map((section) => section.id)"
SORTED = "[...document.querySelector('#cohort table').tBodies[0].rows].map((row) => row.cells[0].textContent)"
OPEN = "document.querySelector('[data-open]').click()"
READY = "document.getElementById('viewer').dataset.state === 'ready'"
PLACE = "document.querySelector('[data-place]').textContent"
SERIOUS = """
axe.run(document, { resultTypes: ["violations"] }).then((found) => found.violations
  .filter((entry) => ["serious", "critical"].includes(entry.impact))
  .map((entry) => `${entry.id}: ${entry.nodes.slice(0, 3).map((node) => node.html.slice(0, 160)).join(" | ")}`))
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("chromium") / "profile") as started:
        yield started


@pytest.fixture(scope="module")
def page(browser: Browser, reported_study: Study) -> Page:
    """The page in a wide, light window, as it is after loading."""
    opened = Page(browser)
    opened.open(output_file(reported_study).as_uri())
    return opened


@pytest.fixture
def viewer(page: Page, reported_study: Study) -> Iterator[Page]:
    """The page with the first case open in its viewer."""
    if not (output_file(reported_study).parent / "viewer" / "niivue.js").is_file():
        pytest.skip("NiiVue is not in the cache and the npm registry cannot be reached")
    page.evaluate(OPEN)
    page.wait(READY)
    yield page
    page.evaluate("document.getElementById('viewer').close()")


@pytest.fixture(scope="module")
def axe() -> str:
    try:
        return AXE.read_members(["axe.min.js"])["axe.min.js"].decode()
    except GuideGenError as error:
        pytest.skip(f"axe-core cannot be had: {error}")


def measure_colour(picture: Image.Image) -> tuple[float, float]:
    """Return brightness and colourfulness (mean spread of red, green, blue), both 0 to 255."""
    pixels = np.asarray(picture, np.float32)
    return float(pixels.mean()), float((pixels.max(-1) - pixels.min(-1)).mean())


def test_page_opens_without_console_messages_and_asks_nobody(page: Page, reported_study: Study) -> None:
    assert {"summary", "segmentation", "sources"} <= set(page.evaluate(SECTIONS))
    assert page.list_console() == []
    folder = output_file(reported_study).parent.as_uri()
    asked = page.list_requests()
    assert [address for address in asked if not address.startswith(folder)] == []
    assert {address.removeprefix(folder) for address in asked} == {"/index.html", "/run.js"}
    assert page.evaluate("typeof niivue") == "undefined"


def test_tables_sort_layers_switch_and_pictures_decode(page: Page) -> None:
    button = "document.querySelector('#cohort th button').click()"
    page.evaluate(button)
    assert page.evaluate(SORTED) == ["TCGA-KIRC", "TCGA-LUAD", "all"]
    page.evaluate(button)
    assert page.evaluate(SORTED) == ["TCGA-LUAD", "TCGA-KIRC", "all"]
    shown = "getComputedStyle(document.querySelector('#quality img.labels')).visibility"
    before = page.evaluate(shown)
    page.evaluate("document.querySelector('#quality [data-layers]').click()")
    assert (before, page.evaluate(shown)) == ("visible", "hidden")
    page.evaluate("for (const image of document.images) image.loading = 'eager'")
    page.wait("[...document.images].every((image) => image.complete)")
    assert page.evaluate("document.images.length") > 50
    assert page.evaluate("[...document.images].filter((image) => !image.naturalWidth).length") == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_viewer_shows_a_volume_and_obeys_keys(viewer: Page) -> None:
    viewer.press("2")
    with_cross = viewer.picture(".stage")
    viewer.press("x")
    assert np.abs(np.asarray(with_cross, int) - np.asarray(viewer.picture(".stage"), int)).max() > 60
    grey, colour = measure_colour(viewer.picture(".stage"))
    assert grey > 10
    assert colour > 5
    viewer.press("l")
    plain = viewer.picture(".stage")
    assert measure_colour(plain)[1] < 0.3 * colour
    assert viewer.evaluate("document.querySelector('[data-labels]').getAttribute('aria-pressed')") == "false"
    means = {}
    for key in "123":
        viewer.press(key)
        means[key] = measure_colour(viewer.picture(".stage"))[0]
    assert len({round(mean) for mean in means.values()}) == 3
    viewer.press("x")
    viewer.press("l")
    assert viewer.list_console() == []


def test_viewer_moves_through_the_patient_in_the_right_directions(viewer: Page) -> None:
    def read() -> list[float]:
        return viewer.evaluate("[...viewer.niiVue.frac2mm(viewer.niiVue.scene.crosshairPos, 0, true)]")

    for key, axis, sign in (
        *(("ArrowUp", 2, 1), ("ArrowDown", 2, -1), ("ArrowLeft", 0, 1), ("ArrowRight", 0, -1)),
        *(("PageUp", 1, 1), ("PageDown", 1, -1)),
    ):
        before, text = read(), viewer.evaluate(PLACE)
        viewer.press(key)
        moved = [b - a for a, b in zip(before, read(), strict=True)][:3]
        assert np.sign(moved[axis]) == sign, (key, moved)
        assert [moved[k] for k in range(3) if k != axis] == pytest.approx([0, 0], abs=1e-3)
        assert viewer.evaluate(PLACE) != text
    assert "HU" in viewer.evaluate(PLACE)


def test_the_patients_right_is_on_the_left_and_what_is_read_is_what_the_file_holds(
    viewer: Page, reported_study: Study
) -> None:
    import nibabel

    name = viewer.evaluate("document.querySelector('[data-title]').textContent")
    path = next(reported_study.root.glob(f"data/ct/*/*/{name}.nii.gz"))
    volume = np.asanyarray(nibabel.as_closest_canonical(nibabel.load(path)).dataobj)
    viewer.evaluate("viewer.niiVue.scene.crosshairPos = viewer.niiVue.vox2frac([30, 20, 10])")
    viewer.evaluate("viewer.niiVue.createOnLocationChange()")
    assert viewer.evaluate(PLACE).startswith(f"{volume[30, 20, 10]} HU".replace("-", "−"))
    viewer.evaluate("document.querySelector('[data-planes]').value = '1'")
    viewer.evaluate("document.querySelector('[data-planes]').dispatchEvent(new Event('change'))")
    left = viewer.evaluate(
        "(() => { const n = viewer.niiVue, c = n.canvas; n.drawScene();"
        " const f = n.screenXY2TextureFrac(c.width * 0.3, c.height * 0.5, 0); return f[0]; })()"
    )
    assert left > 0.5, "the left of the picture is the patient's right: large x in RAS+"
    viewer.evaluate("document.querySelector('[data-planes]').value = '0'")
    viewer.evaluate("document.querySelector('[data-planes]').dispatchEvent(new Event('change'))")


def test_escape_closes_the_viewer_and_gives_the_focus_back(viewer: Page) -> None:
    viewer.press("Escape")
    assert not viewer.evaluate("document.getElementById('viewer').open")
    assert viewer.evaluate("document.activeElement.dataset.open === document.querySelector('[data-open]').dataset.open")


def test_a_case_whose_file_is_gone_is_said_so_and_the_next_one_opens(viewer: Page) -> None:
    viewer.evaluate("viewer.show('nobody', 'viewer/nobody.js')")
    assert "viewer/nobody.js is not beside this page" in viewer.wait("document.querySelector('.wait').textContent")
    assert viewer.evaluate("document.getElementById('viewer').dataset.state") == "failed"
    viewer.evaluate("document.getElementById('viewer').close()")
    viewer.evaluate("document.querySelectorAll('[data-open]')[1].click()")
    viewer.wait(READY)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_page_and_viewer_have_no_serious_accessibility_findings(
    browser: Browser, reported_study: Study, axe: str, dark: bool
) -> None:
    page = Page(browser, dark=dark)
    page.open(output_file(reported_study).as_uri())
    page.evaluate(axe)
    assert page.evaluate(SERIOUS) == []
    if page.evaluate("!!document.querySelector('[data-open]')"):
        page.evaluate(OPEN)
        page.wait(READY)
        assert page.evaluate(SERIOUS) == []


def test_on_a_dark_phone_the_page_is_dark_and_never_scrolls_sideways(browser: Browser, reported_study: Study) -> None:
    phone = Page(browser, width=390, height=844, dark=True, phone=True)
    phone.open(output_file(reported_study).as_uri())
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    colour = phone.evaluate("getComputedStyle(document.body).backgroundColor")
    assert sum(json.loads(f"[{colour[4:-1]}]")) < 200
    if phone.evaluate("!!document.querySelector('[data-open]')"):
        phone.evaluate(OPEN)
        phone.wait(READY)
        assert phone.evaluate("document.getElementById('viewer').scrollWidth") <= 390
        assert measure_colour(phone.picture(".stage"))[0] > 5
