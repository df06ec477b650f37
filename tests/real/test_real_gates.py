"""The gates of synthesize on a real torso CT: a real case passes, its mirror image and damaged copies do not."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from torch import nn

from guidegen.labels import LabelTable, load_labels
from guidegen.manifest import Item
from guidegen.mask.backends import Annotation, MaskCase
from guidegen.mask.resample import read_volume
from guidegen.mask.settings import MaskSettings
from guidegen.mask.shard import MaskWorker
from guidegen.segment.settings import SegmentSettings
from guidegen.synthesize.agreement import RealSegmenter
from guidegen.synthesize.gates import Gates
from guidegen.synthesize.image_measures import measure_noise, measure_seams
from guidegen.synthesize.pair import Pair
from guidegen.synthesize.reference import Reference, measure_volumes
from guidegen.synthesize.settings import GateSettings

pytestmark = pytest.mark.real
ROOT = Path(__file__).parents[2]
REALDATA = Path(os.environ.get("GUIDEGEN_REALDATA", ROOT.parent / "shared" / "realdata"))
TESTDATA = REALDATA / "TotalSegmentator_testdata"
MASKS = REALDATA / "TotalSegmentator_dataset_masks"
SPACING = (3.0, 3.0, 3.0)


@dataclass(frozen=True)
class Torso:
    """The torso CT with the label map of TotalSegmentator's fast model, its measurements, and its gates."""

    pair: Pair
    gates: Gates

    def list_failing(self, pair: Pair) -> set[str]:
        return {name for name, result in self.gates.check(pair).items() if result.passed is False}


class OtherModel(RealSegmenter):
    """TotalSegmentator's full model as the independent segmenter; its map covers the lowest 30 planes."""

    def predict(self, pair: Pair) -> np.ndarray:
        return self.found  # type: ignore[attr-defined]


def label(folder: Path, table: LabelTable, label_map: Path, ct: Path | None) -> tuple[np.ndarray, dict]:
    folder.mkdir()
    case = MaskCase("real__p__0", "real", folder, ct, "", (Annotation(label_map, "nifti", "1", "expert"),))
    outcome = MaskWorker(MaskSettings(), table)(Item(case.case, {}, case), folder)
    assert outcome.status == "ok", outcome.reason
    return read_volume(folder / outcome.files[""])[0], dict(outcome.columns)


def measure_others(folder: Path, table: LabelTable, top: float, bottom: float) -> list[np.ndarray]:
    """Class volumes of two other real patients between the same vertebrae."""
    volumes = []
    for name in ("s0327", "s0328"):
        path = MASKS / f"{name}_total117_1p5mm.nii.gz"
        torso, row = label(folder / name, table, path, None)
        first, last = float(row["coverage_top"]), float(row["coverage_bottom"])
        planes = np.linspace(last, first, torso.shape[2])
        inside = (planes >= top) & (planes <= bottom)
        volumes.append(measure_volumes(torso[:, :, inside], (1.5, 1.5, 1.5), len(table)))
    return volumes


@pytest.fixture(scope="module")
def torso(tmp_path_factory: pytest.TempPathFactory) -> Torso:
    if not REALDATA.is_dir():
        pytest.skip(f"no real CT series at {REALDATA}; set GUIDEGEN_REALDATA to the folder that holds them")
    folder, table = tmp_path_factory.mktemp("torso"), load_labels(ROOT / "config")
    path = TESTDATA / "example_ct.nii.gz"
    labels, row = label(folder / "torso", table, TESTDATA / "example_seg_fast_force_split.nii.gz", path)
    ct = np.asarray(nib.load(path).dataobj).astype(np.int16)
    said = {name: str(row[name]) for name in ("coverage_first", "coverage_last")}
    heart = nib.load(TESTDATA / "chest_ct_1p5mm_heart.nii.gz")
    chest = np.asarray(nib.load(TESTDATA / "chest_ct_1p5mm.nii.gz").dataobj).astype(np.int16)
    mask = np.where(np.asarray(heart.dataobj) > 0, table.ids["heart"], 0).astype(np.uint8)
    other = Pair(mask, chest, (1.5, 1.5, 1.5))
    noise, seam = measure_noise(other), measure_seams(other, table)
    assert seam
    volumes = measure_others(folder, table, float(row["coverage_top"]), float(row["coverage_bottom"]))
    reference = Reference(np.array(volumes), (("", ""),) * 2, np.array([noise]), np.array([seam[0]]))
    settings = GateSettings(volume_factor=3)  # type: ignore[call-arg]  # two people do not span the range of people
    return Torso(Pair(labels, ct, SPACING, {**said, "tumour": False}), Gates(table, settings, reference))


def test_a_real_torso_ct_passes_every_gate(torso: Torso) -> None:
    results = torso.gates.check(torso.pair)
    assert {name: result.details for name, result in results.items() if result.passed is False} == {}
    judged = {name for name, result in results.items() if result.passed}
    assert judged >= {"volume", "components", "left_right", "order", "tumour", "hu", "noise", "seams"}


def test_two_models_on_one_real_ct_pass_the_agreement_gate(torso: Torso, tmp_path: Path) -> None:
    found, _ = label(
        tmp_path / "full", torso.gates.table, TESTDATA / "example_seg.nii.gz", TESTDATA / "example_ct_sm.nii.gz"
    )
    assert torso.pair.ct is not None
    lowest = replace(torso.pair, labels=torso.pair.labels[:, :, :30], ct=torso.pair.ct[:, :, :30])
    segmenter = OtherModel(nn.Identity(), SegmentSettings(), 1.0)  # type: ignore[call-arg]
    object.__setattr__(segmenter, "found", found)
    gates = replace(torso.gates, segmenter=segmenter)
    assert gates.check(lowest)["agreement"].passed is True
    assert gates.check(replace(lowest, labels=np.roll(lowest.labels, 12, 0)))["agreement"].passed is False


def test_its_mirror_image_fails_left_right_and_nothing_else(torso: Torso) -> None:
    assert torso.pair.ct is not None
    mirrored = replace(torso.pair, labels=torso.pair.labels[::-1], ct=torso.pair.ct[::-1])
    assert torso.list_failing(mirrored) == {"left_right"}


def test_damaged_copies_fail_the_gate_that_should_notice(torso: Torso) -> None:
    pair, rng = torso.pair, np.random.default_rng(0)
    assert pair.ct is not None
    noise = rng.normal(0, 300, pair.ct.shape).astype(np.int16)
    seam = pair.ct.copy()
    seam[:, :, 56:] += 150
    assert "noise" in torso.list_failing(replace(pair, ct=pair.ct + noise))
    assert "hu" in torso.list_failing(replace(pair, ct=pair.ct + np.int16(400)))
    assert "seams" in torso.list_failing(replace(pair, ct=seam))
    assert "tumour" in torso.list_failing(replace(pair, labels=np.where(pair.labels == 3, 20, pair.labels)))
    assert "volume" in torso.list_failing(replace(pair, labels=np.zeros_like(pair.labels)))
