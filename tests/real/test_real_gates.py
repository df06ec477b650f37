"""The gates of synthesize on a real torso CT: a real case passes, its mirror image and damaged copies do not."""

import os
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage
from torch import nn

from guidegen.labels import load_labels
from guidegen.segment.settings import SegmentSettings
from guidegen.synthesize.agreement import RealSegmenter
from guidegen.synthesize.gates import Gates
from guidegen.synthesize.image_measures import measure_noise, measure_seams, measure_sharpness
from guidegen.synthesize.pair import Pair
from guidegen.synthesize.reference import Reference, measure_volumes
from guidegen.synthesize.settings import GateSettings

pytestmark = pytest.mark.real
REALDATA = Path(os.environ.get("GUIDEGEN_REALDATA", Path(__file__).parents[2].parent / "shared" / "realdata"))
TESTDATA = REALDATA / "TotalSegmentator_testdata"
TABLE = load_labels(Path(__file__).parents[2] / "config")


class OtherModel(RealSegmenter):
    """TotalSegmentator's full model as the independent segmenter; its map covers the uppermost 30 planes."""

    def predict(self, pair: Pair) -> np.ndarray:
        return load_torso_map("TotalSegmentator_testdata/example_seg.nii.gz")


def load_canonical(name: str) -> np.ndarray:
    return np.asarray(nib.as_closest_canonical(nib.load(REALDATA / name)).dataobj)


def load_torso_map(name: str) -> np.ndarray:
    return TABLE.source_to_torso[load_canonical(name).astype(np.uint8)]


@pytest.fixture(scope="module")
def torso() -> Pair:
    """The torso CT with the label map of TotalSegmentator's fast model."""
    if not REALDATA.is_dir():
        pytest.skip(f"no real CT series at {REALDATA}; set GUIDEGEN_REALDATA to the folder that holds them")
    labels = load_torso_map("TotalSegmentator_testdata/example_seg_fast_force_split.nii.gz")
    ct = load_canonical("TotalSegmentator_testdata/example_ct.nii.gz").astype(np.int16)
    return Pair(labels, ct, (3.0, 3.0, 3.0), {"tumour": False})


@pytest.fixture(scope="module")
def gates(torso: Pair) -> Gates:
    """Two other patients, below the heart as the torso CT is, are the measure of volumes, a chest CT that of noise."""
    volumes = []
    for name in ("s0327", "s0328"):
        labels = load_torso_map(f"TotalSegmentator_dataset_masks/{name}_total117_1p5mm.nii.gz")
        below = labels[:, :, : int(np.argwhere(labels == TABLE.ids["heart"])[:, 2].min())]
        volumes.append(measure_volumes(below, (1.5, 1.5, 1.5), len(TABLE)))
    heart = load_canonical("TotalSegmentator_testdata/chest_ct_1p5mm_heart.nii.gz") > 0
    chest = load_canonical("TotalSegmentator_testdata/chest_ct_1p5mm.nii.gz").astype(np.int16)
    other = Pair(heart.astype(np.uint8) * np.uint8(TABLE.ids["heart"]), chest, (1.5, 1.5, 1.5))
    noise, seam, sharpness = measure_noise(other), measure_seams(other, TABLE), measure_sharpness(other)
    assert seam
    settings = GateSettings(volume_factor=3)  # type: ignore[call-arg]  # two people do not span the range of people
    measured = (np.array([value]) for value in (noise, seam[0], sharpness))
    return Gates(TABLE, settings, Reference(np.array(volumes), (("", ""),) * 2, *measured))


def list_failing(gates: Gates, pair: Pair) -> set[str]:
    return {name for name, result in gates.check(pair).items() if result.passed is False}


def test_a_real_torso_ct_passes_every_gate(torso: Pair, gates: Gates) -> None:
    results = gates.check(torso)
    assert {name: result.details for name, result in results.items() if result.passed is False} == {}
    judged = {name for name, result in results.items() if result.passed}
    assert judged == {"volume", "components", "left_right", "order", "tumour", "hu", "noise", "seams"}


def test_two_models_on_one_real_ct_pass_the_agreement_gate(torso: Pair, gates: Gates) -> None:
    assert torso.ct is not None
    upper = replace(torso, labels=torso.labels[:, :, -30:], ct=torso.ct[:, :, -30:])
    judged = replace(gates, segmenter=OtherModel(nn.Identity(), SegmentSettings(), 1.0))  # type: ignore[call-arg]
    assert judged.check(upper)["agreement"].passed is True
    assert judged.check(replace(upper, labels=np.roll(upper.labels, 12, 0)))["agreement"].passed is False


def test_its_mirror_image_fails_left_right_and_nothing_else(torso: Pair, gates: Gates) -> None:
    assert torso.ct is not None
    assert list_failing(gates, replace(torso, labels=torso.labels[::-1], ct=torso.ct[::-1])) == {"left_right"}


def test_damaged_copies_fail_the_gate_that_should_notice(torso: Pair, gates: Gates) -> None:
    assert torso.ct is not None
    noise = np.random.default_rng(0).normal(0, 300, torso.ct.shape).astype(np.int16)
    seam = torso.ct.copy()
    seam[:, :, 85:] += 300
    assert "noise" in list_failing(gates, replace(torso, ct=torso.ct + noise))
    assert "noise" in list_failing(gates, replace(torso, ct=ndimage.gaussian_filter(torso.ct, 2)))
    assert "hu" in list_failing(gates, replace(torso, ct=torso.ct + np.int16(400)))
    assert "seams" in list_failing(gates, replace(torso, ct=seam))
    assert "tumour" in list_failing(gates, replace(torso, labels=np.where(torso.labels == 3, 20, torso.labels)))
    assert "volume" in list_failing(gates, replace(torso, labels=np.zeros_like(torso.labels)))
