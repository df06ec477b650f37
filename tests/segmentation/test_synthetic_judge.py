"""TotalSegmentator as the judge of a synthetic CT, by the command that `synthesize` calls in this environment."""

import shutil
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from guidegen.errors import GuideGenError
from guidegen.mask.settings import TotalSegmentatorSettings
from guidegen.mask.totalsegmentator import map_ids, read_registry, segment_volume
from guidegen.study import Study
from guidegen.synthesize.pair import Pair
from guidegen.synthesize.totalsegmentator import TotalSegmentator

pytestmark = pytest.mark.segmentation
CONFIG = """\
study: {{name: judged, collections: [tcga_luad]}}
environments: {{segmentation: {python} -m guidegen}}
mask: {{totalsegmentator: {{device: cpu, speed: fastest, home: {home}}}}}
"""


def make_study(root: Path, home: Path) -> Study:
    shutil.copytree(Path(__file__).parents[2] / "config", root / "config", ignore=shutil.ignore_patterns("presets"))
    (root / "config" / "config.yaml").write_text(CONFIG.format(python=sys.executable, home=home), encoding="utf-8")
    return Study.load(root)


def test_it_finds_in_the_ct_what_it_finds_when_called_directly(home: Path, tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", home)
    ct = np.random.default_rng(0).normal(0, 300, (32, 32, 32)).astype(np.int16)
    pair = Pair(np.zeros((16, 16, 16), np.uint8), ct, (12.0, 10.0, 14.0))
    found = TotalSegmentator(study).predict(pair)
    affine = np.diag([6.0, 5.0, 7.0, 1.0])
    affine[:3, 3] = -15.5 * np.diag(affine)[:3]
    nib.Nifti1Image(ct, affine).to_filename(tmp_path / "ct.nii.gz")
    settings = TotalSegmentatorSettings(device="cpu", speed="fastest", home=str(home))
    direct, _ = segment_volume(tmp_path / "ct.nii.gz", home, settings)
    classes = study.labels.source_to_torso[map_ids(read_registry(), study.labels.source_ids)[direct]]
    np.testing.assert_array_equal(found, classes)
    assert len(np.unique(found)) > 1


def test_missing_weights_are_named(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", tmp_path / "nowhere")
    pair = Pair(np.zeros((8, 8, 8), np.uint8), np.zeros((16, 16, 16), np.int16), (12.0, 10.0, 14.0))
    with pytest.raises(GuideGenError, match="weights of TotalSegmentator"):
        TotalSegmentator(study).predict(pair)
