"""A flagged case has a picture: cut through what was flagged, right on the left, and named in the manifest."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from guidegen.manifest import Item, process_items
from guidegen.mask.backends import Annotation, MaskCase
from guidegen.mask.picture import draw_flagged, find_organ
from guidegen.mask.resample import Grid, write_labels
from guidegen.mask.settings import GateSettings, MaskSettings
from guidegen.mask.shard import COLUMNS, MaskWorker
from guidegen.study import Study

GRID = Grid((60, 50, 40), np.diag([4.0, 4.0, 6.0, 1.0]))


@pytest.fixture
def body(labels) -> np.ndarray:
    """Source labels: liver on the patient's right, spleen on the left, vertebrae in the middle."""
    source = np.zeros(GRID.shape, np.uint8)
    source[36:54, 20:40, 20:32] = labels.source_ids["liver"]
    source[6:14, 12:24, 22:30] = labels.source_ids["spleen"]
    source[28:34, 6:14, 4:38] = labels.source_ids["vertebrae_L1"]
    return source


def find_colour(png: bytes, colour: str) -> np.ndarray:
    """Return (N, 2) rows and columns of the pixels of a class's outline."""
    image = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    return np.argwhere((image == np.frombuffer(bytes.fromhex(colour.removeprefix("#")), np.uint8)).all(-1))


def test_the_first_organ_that_a_flag_names_is_shown(labels, body):
    torso = labels.source_to_torso[body]
    assert find_organ(torso, ["no_coverage", "volume:spleen=3.0 ml not in 30..2000"], labels) == labels.ids["spleen"]
    assert find_organ(torso, ["left_right:liver lies 40 mm left of spleen"], labels) == labels.ids["liver"]
    assert find_organ(torso, ["volume:pancreas=1", "unknown_segment:appendix"], labels) == 0
    assert find_organ(torso, ["tumour_place:9 mm from the nearest organ"], labels) == 0


def test_the_picture_is_cut_through_it_with_the_patients_right_on_the_left(labels, body):
    torso = labels.source_to_torso[body]
    ct = np.where(torso > 0, 60, -200).astype(np.int16)
    spleen, liver = (labels.classes[labels.ids[name]].colour for name in ("spleen", "liver"))
    through_spleen = draw_flagged("case", ct, torso, GRID, labels, ["volume:spleen=3 ml"])
    through_liver = draw_flagged("case", ct, torso, GRID, labels, ["volume:liver=3 ml"])
    assert len(find_colour(through_spleen, spleen)) > len(find_colour(through_liver, spleen))
    width = Image.open(io.BytesIO(through_liver)).width
    axial = [found[found[:, 1] < width / 3] for found in (find_colour(through_spleen, c) for c in (liver, spleen))]
    assert axial[0][:, 1].mean() < axial[1][:, 1].mean(), "the liver, on the patient's right, is on the picture's left"


def test_a_map_without_ct_and_an_empty_one_can_be_drawn(labels, body):
    torso = labels.source_to_torso[body]
    for shown in (torso, np.zeros_like(torso)):
        assert Image.open(io.BytesIO(draw_flagged("case", None, shown, GRID, labels, ["no_organs"]))).format == "PNG"


@pytest.mark.parametrize("grave", [False, True])
def test_the_manifest_names_the_picture_of_a_flagged_case_also_of_an_excluded_one(grave, labels, body, tmp_path: Path):
    """Flagged by its small spleen; a mirrored map is excluded besides."""
    write_labels(tmp_path / "map.nii.gz", body[::-1].copy() if grave else body, GRID)
    write_labels(tmp_path / "plain.nii.gz", body, GRID)
    config = Path(__file__).parents[2] / "config"
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "config").symlink_to(config)
    study = Study.load(tmp_path / "study")
    items = []
    for name in ("map", "plain"):
        annotation = Annotation(tmp_path / f"{name}.nii.gz", "nifti", "1", "expert")
        items.append(Item(name, {}, MaskCase(name, "c", tmp_path, None, "", (annotation,))))
    gates = GateSettings(volume_ml={"spleen": (900.0, 2000.0)}) if not grave else GateSettings(volume_ml={})
    rows = process_items(
        study.shard("data", "mask", "c", "s000"),
        items,
        MaskWorker(MaskSettings(gates=gates), labels),
        fingerprint="x",
        columns=COLUMNS,
    )
    by_case = {row["case"]: row for row in rows}
    assert by_case["map"]["status"] == ("excluded" if grave else "ok")
    picture = study.root / by_case["map"]["picture_path"]
    assert picture.name == "map.flags.png"
    assert Image.open(picture).width > 300
    assert bool(by_case["plain"]["picture_path"]) == (not grave)
