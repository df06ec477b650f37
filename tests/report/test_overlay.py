import io

import numpy as np
import pytest
from PIL import Image

from guidegen.assets import ASSETS
from guidegen.labels import load_labels
from guidegen.overlay import LUNG, SOFT_TISSUE, choose_slices, compose_row, draw_panels


@pytest.fixture(scope="module")
def table():
    return load_labels(ASSETS / "config")


@pytest.fixture
def marked(table) -> tuple[np.ndarray, np.ndarray]:
    """A volume with a liver at the right, anterior, superior corner and a spine in the middle."""
    labels = np.zeros((40, 30, 20), np.uint8)
    labels[28:40, 20:30, 14:20] = table.ids["liver"]
    labels[18:22, 3:7, :] = table.ids["vertebrae"]
    return np.where(labels > 0, 150, -1000).astype(np.int16), labels


def find_centre(png: bytes, colour: str) -> tuple[float, float]:
    """Centre of the pixels of a colour as shares of width and height; letters are not of that colour."""
    image = np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))[..., :3].astype(int)
    wanted = np.array(tuple(bytes.fromhex(colour.removeprefix("#"))))
    rows, columns = np.nonzero((image == wanted).all(-1))
    return columns.mean() / image.shape[1], rows.mean() / image.shape[0]


@pytest.mark.parametrize(
    ("plane", "left", "upper"), [("axial", True, True), ("coronal", True, True), ("sagittal", True, True)]
)
def test_right_anterior_superior_lie_where_a_radiologist_looks(marked, table, plane, left, upper, monkeypatch) -> None:
    _, labels = marked
    monkeypatch.setattr("guidegen.overlay.choose_slices", lambda *_: (32, 24, 16))
    (panel,) = draw_panels(None, labels, (1.0, 1.0, 2.0), table, [(plane, SOFT_TISSUE)])
    colour = table.classes[table.ids["liver"]].colour
    assert panel.labels
    x, y = find_centre(panel.labels, colour)
    assert (x < 0.5, y < 0.5) == (left, upper)


def test_proportions_follow_the_spacing(marked, table) -> None:
    ct, labels = marked
    views = [("axial", SOFT_TISSUE), ("coronal", LUNG), ("sagittal", SOFT_TISSUE)]
    axial, coronal, sagittal = draw_panels(ct, labels, (1.0, 1.0, 4.0), table, views, height=200)
    assert axial.width / axial.height == pytest.approx(40 / 30, rel=0.02)
    assert coronal.width / coronal.height == pytest.approx(40 / 80, rel=0.02)
    assert sagittal.width / sagittal.height == pytest.approx(30 / 80, rel=0.02)


def test_window_maps_its_ends_to_black_and_white() -> None:
    assert SOFT_TISSUE.apply(np.array([-160, 40, 240])).tolist() == [0, 128, 255]
    assert LUNG.apply(np.array([-2000, -1350, 150, 3000])).tolist() == [0, 0, 255, 255]


def test_cut_goes_through_the_tumour(marked, table) -> None:
    _, labels = marked
    labels[5:8, 10:13, 2:5] = table.ids["tumour"]
    assert choose_slices(labels, table) == (6, 11, 3)


def test_row_for_documents_is_the_same_bytes_each_time(marked, table) -> None:
    ct, labels = marked
    rows = [compose_row(draw_panels(ct, labels, (1, 1, 2), table, [("axial", SOFT_TISSUE)]), "case") for _ in range(2)]
    assert rows[0] == rows[1]
    assert Image.open(io.BytesIO(rows[0])).size[0] > 100


def test_labels_can_be_seen_through(marked, table) -> None:
    ct, labels = marked
    (panel,) = draw_panels(ct, labels, (1, 1, 2), table, [("axial", SOFT_TISSUE)])
    assert panel.labels
    alpha = np.asarray(Image.open(io.BytesIO(panel.labels)).convert("RGBA"))[..., 3]
    assert alpha.min() == 0
    assert {0 < value < 255 for value in np.unique(alpha)} == {True, False}
