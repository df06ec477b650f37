"""Networks are built once per process, and the labels are those of TotalSegmentator left to itself."""

from contextlib import nullcontext
from multiprocessing.context import SpawnProcess
from pathlib import Path

import numpy as np
import pytest

from guidegen.errors import GuideGenError
from guidegen.mask import networks, totalsegmentator
from guidegen.mask.networks import keep_networks
from guidegen.mask.settings import TotalSegmentatorSettings

pytestmark = pytest.mark.segmentation


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The model folders that a network was built from, in order."""
    import nnunetv2.inference.predict_from_raw_data as predict  # pyright: ignore[reportMissingImports]

    totalsegmentator.load_torchvision()
    monkeypatch.setattr(networks, "_KEPT", {})
    built: list[str] = []
    build = predict.nnUNetPredictor.initialize_from_trained_model_folder

    def count(self: object, folder: str, *words: object, **named: object) -> None:
        built.append(folder)
        build(self, folder, *words, **named)

    monkeypatch.setattr(predict.nnUNetPredictor, "initialize_from_trained_model_folder", count)
    return built


def test_two_cases_build_one_network_and_start_no_python(
    home: Path, ct: Path, builds: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = TotalSegmentatorSettings(device="cpu", speed="fastest", home=home)
    started: list[object] = []
    start = SpawnProcess.start

    def count(self: SpawnProcess) -> None:
        started.append(self)
        start(self)

    monkeypatch.setattr(SpawnProcess, "start", count)
    kept = [totalsegmentator.segment_volume(ct, home, settings)[0] for _ in range(2)]
    assert (len(builds), len(started)) == (1, 0)
    monkeypatch.setattr(totalsegmentator, "keep_networks", nullcontext)
    stock, _ = totalsegmentator.segment_volume(ct, home, settings)
    assert (len(builds), len(started)) == (2, 2), "left to itself it builds again and starts two processes"
    for labels in kept:
        np.testing.assert_array_equal(labels, stock)
    assert len(np.unique(stock)) > 3


def test_other_weights_in_the_same_place_are_read(home: Path, ct: Path, builds: list[str]) -> None:
    settings = TotalSegmentatorSettings(device="cpu", speed="fastest", home=home)
    totalsegmentator.segment_volume(ct, home, settings)
    checkpoint = next(home.rglob("checkpoint_final.pth"))
    checkpoint.touch()
    totalsegmentator.segment_volume(ct, home, settings)
    assert len(builds) == 2


def test_a_totalsegmentator_that_works_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    totalsegmentator.load_torchvision()
    from totalsegmentator import nnunet  # pyright: ignore[reportMissingImports]

    monkeypatch.delattr(nnunet, "nnUNetPredictor")
    with pytest.raises(GuideGenError, match=r"envs/segmentation\.txt pins"), keep_networks():
        pass
