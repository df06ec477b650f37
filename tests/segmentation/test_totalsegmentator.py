"""The backend runs TotalSegmentator's real code, and never the network."""

import gzip
import os
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest

from guidegen.errors import GuideGenError
from guidegen.labels import load_labels
from guidegen.mask.backends import AnnotationError, MaskCase
from guidegen.mask.resample import read_volume
from guidegen.mask.settings import MaskSettings, TotalSegmentatorSettings
from guidegen.mask.totalsegmentator import label_case
from guidegen.mask.weights import use_weights

pytestmark = pytest.mark.segmentation
SOURCE_IDS = load_labels(Path(__file__).parents[2] / "config").source_ids


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*address: object) -> None:
        pytest.fail(f"the network was asked for {address}")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("HOME", str(tmp_path))


def make_case(ct: Path | None) -> MaskCase:
    return MaskCase("c__p__00000000", "c", Path("/nowhere"), ct, "", ())


def make_settings(home: Path, speed: str = "fastest") -> MaskSettings:
    return MaskSettings(totalsegmentator=TotalSegmentatorSettings(device="cpu", speed=speed, home=home))


def test_case_is_labelled_on_its_own_grid(home: Path, ct: Path, tmp_path: Path) -> None:
    _, grid = read_volume(ct)
    before = dict(os.environ)
    layer = label_case(make_case(ct), grid, make_settings(home), SOURCE_IDS)
    assert layer is not None
    assert layer.organs is not None
    assert layer.organs.shape == (44, 36, 28)
    assert layer.organs.dtype == np.uint8
    assert set(np.unique(layer.organs)) <= {0, *SOURCE_IDS.values()}
    assert len(np.unique(layer.organs)) > 3
    assert layer.tumour is None
    again = label_case(make_case(ct), None, make_settings(home), SOURCE_IDS)
    assert again is not None
    np.testing.assert_array_equal(again.organs, layer.organs)
    np.testing.assert_allclose(again.grid.affine, grid.affine, atol=1e-4)
    assert not (tmp_path / ".totalsegmentator").exists()
    assert {name: os.environ.get(name) for name in ("TOTALSEG_HOME_DIR", "TOTALSEG_WEIGHTS_PATH")} == {
        name: before.get(name) for name in ("TOTALSEG_HOME_DIR", "TOTALSEG_WEIGHTS_PATH")
    }


def test_totalsegmentator_finds_usage_statistics_off_in_a_folder_of_its_own(tmp_path: Path) -> None:
    from totalsegmentator.config import get_config, get_totalseg_dir

    with use_weights(tmp_path):
        folder, config = get_totalseg_dir(), get_config()
        assert config["send_usage_stats"] is False
        with use_weights(tmp_path):
            assert get_totalseg_dir() != folder
    assert not Path(folder).exists()


def test_case_without_ct_gets_nothing(home: Path) -> None:
    assert label_case(make_case(None), None, make_settings(home), SOURCE_IDS) is None


def test_unreadable_ct_fails_alone(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "broken.nii.gz"
    path.write_bytes(gzip.compress(b"no header"))
    with pytest.raises(AnnotationError, match=r"broken\.nii\.gz: TotalSegmentator failed"):
        label_case(make_case(path), None, make_settings(home), SOURCE_IDS)


def test_half_a_model_is_missing_weights(home: Path, ct: Path, tmp_path: Path) -> None:
    shutil.copytree(home, tmp_path / "half")
    victim = next((tmp_path / "half").rglob("plans.json"))
    victim.unlink()
    with pytest.raises(GuideGenError, match=r"plans\.json: weights of TotalSegmentator"):
        label_case(make_case(ct), None, make_settings(tmp_path / "half"), SOURCE_IDS)
