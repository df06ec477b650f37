"""Every measure is tried on real cases that were spoilt on purpose: the one that should notice does."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.metrics.fid import FIDMetric
from scipy import ndimage

from guidegen.errors import GuideGenError
from guidegen.evaluate.features import RandomNetwork, load_network
from guidegen.evaluate.fidelity import UNITS, Describer, Group, measure_groups
from guidegen.evaluate.frechet import estimate_by_jackknife, measure_frechet
from guidegen.evaluate.memorisation import (
    evaluate_memorisation,
    find_memorised,
    find_neighbours,
    find_thresholds,
    mark_copies,
    shrink,
)
from guidegen.evaluate.similarity import compare_perceptually, draw_pairs, measure_diversity
from guidegen.evaluate.volumes import Volume, list_real_volumes, list_synthetic_volumes
from guidegen.prepare.cohort import read_cohort
from guidegen.study import Study

Change = Callable[[np.ndarray], np.ndarray]
LABEL_MEASURES = {"label_fid_axial", "label_fid_coronal", "presence", "volume", "centroid", "adjacency"}


def keep(array: np.ndarray) -> np.ndarray:
    return array


@dataclass(frozen=True)
class Spoilt(Volume):
    """A case that is spoilt when it is read."""

    change_ct: Change = keep
    change_labels: Change = keep

    def load_ct(self) -> np.ndarray:
        return self.change_ct(super().load_ct())

    def load_labels(self) -> np.ndarray:
        return self.change_labels(super().load_labels())


def spoil(volumes: list[Volume], ct: Change = keep, labels: Change = keep) -> list[Volume]:
    return [Spoilt(v.case, v.group, v.ct, v.labels, v.spacing, ct, labels) for v in volumes]


def add_noise(ct: np.ndarray) -> np.ndarray:
    return ct + np.random.default_rng(0).normal(0, 80, ct.shape)


def blur(ct: np.ndarray) -> np.ndarray:
    return ndimage.gaussian_filter(ct.astype(float), 2)


def mirror(array: np.ndarray) -> np.ndarray:
    return array[::-1].copy()


def take_away(organ: int) -> Change:
    return lambda labels: np.where(labels == organ, 0, labels).astype(np.uint8)


def shuffle_classes(labels: np.ndarray) -> np.ndarray:
    """Give every class the place of another."""
    return np.where(labels > 0, labels % 20 + 1, 0).astype(np.uint8)


@dataclass(frozen=True)
class Bench:
    """What spoilt cases are compared with."""

    study: Study
    train: list[Volume]
    test: Group
    describe: Describer

    def measure(self, volumes: list[Volume]) -> dict[str, float]:
        group = self.describe(volumes, lambda *_: None)
        return {name: measure_groups(name, group, self.test) for name in UNITS}


@pytest.fixture(scope="module")
def bench(obedient_study: Study) -> Bench:
    config = obedient_study.config
    evaluate = config.evaluate.model_copy(update={"slices": 4, "clips": 2, "diversity_pairs": 6})
    study = Study(obedient_study.root, config.model_copy(update={"evaluate": evaluate}))
    cohort, describe = read_cohort(study), Describer(study)
    test = describe(list_real_volumes(cohort, "test"), lambda *_: None)
    return Bench(study, list_real_volumes(cohort, "train")[:8], test, describe)


@pytest.fixture(scope="module")
def floor(bench: Bench) -> dict[str, float]:
    return bench.measure(bench.train)


@pytest.mark.parametrize(
    ("ct", "labels", "noticed"),
    [
        (add_noise, keep, {"fid_axial": 2, "fid_sagittal": 2, "fid_3d": 2, "fvd": 2, "hu_distance": 1.5}),
        (blur, keep, {"fid_axial": 2, "fid_coronal": 2, "fid_3d": 2, "fvd": 2, "hu_distance": 1.5}),
        (lambda ct: ct + 150, keep, {"fid_axial": 2, "fid_3d": 2, "fvd": 2, "hu_distance": 3}),
        (mirror, mirror, {"fid_axial": 1.1, "label_fid_axial": 1.1, "label_fid_coronal": 1.1, "centroid": 1.5}),
        (keep, take_away(3), {"presence": 1.1, "adjacency": 1.02}),
        (keep, np.zeros_like, {"label_fid_axial": 2, "presence": 3}),
        (keep, shuffle_classes, {"label_fid_axial": 1.5, "presence": 2, "hu_distance": 2}),
    ],
    ids=["noise", "blur", "wrong HU", "swapped sides", "organ missing", "empty masks", "swapped labels"],
)
def test_spoilt_cases_are_farther_from_real_ones_than_the_floor(
    bench: Bench, floor: dict[str, float], ct: Change, labels: Change, noticed: dict[str, float]
) -> None:
    found = bench.measure(spoil(bench.train, ct, labels))
    for measure, factor in noticed.items():
        assert found[measure] > factor * floor[measure], (measure, found[measure], floor[measure])
    if labels is keep:
        assert all(found[measure] == floor[measure] for measure in LABEL_MEASURES)


def test_shift_of_the_hu_is_read_in_hu(bench: Bench, floor: dict[str, float]) -> None:
    shifted = bench.measure(spoil(bench.train, lambda ct: ct + 400))
    assert abs(shifted["hu_distance"] - 400) < 40 + floor["hu_distance"]


def test_one_case_again_and_again_is_no_variety(bench: Bench) -> None:
    first = bench.train[0]
    same = [replace(first, case=f"copy-{i}", group=f"prompt-{i}") for i in range(4)]
    assert measure_diversity(bench.study, "same", same).value == pytest.approx(1, abs=1e-5)
    usual = measure_diversity(bench.study, "real", bench.train[:4]).value
    assert usual is not None
    assert usual < 0.9


def test_noisy_copies_of_training_cases_are_memorised_and_strangers_are_not(bench: Bench) -> None:
    settings, cohort = bench.study.config.evaluate, read_cohort(bench.study)
    strangers = list_real_volumes(cohort, "val", "test")
    known = shrink(bench.train, settings)
    usual = find_neighbours(shrink(strangers, settings), known)
    thresholds = find_thresholds(usual, settings.memorised_below)
    copies = find_neighbours(shrink(spoil(bench.train[:3], add_noise), settings), known)
    assert mark_copies(copies, thresholds).all()
    assert copies.nearest["ct"].tolist() == [0, 1, 2]
    assert mark_copies(usual, thresholds).mean() <= 0.1
    blurred = find_neighbours(shrink(spoil(strangers[:4], blur), settings), known)
    assert mark_copies(blurred, thresholds).sum() <= mark_copies(usual, thresholds)[:4].sum()


def test_copied_case_in_a_set_is_listed_with_its_original(bench: Bench, tmp_path: Path) -> None:
    shutil.copytree(bench.study.root, tmp_path / "study")
    study = Study.load(tmp_path / "study")
    cohort = read_cohort(study)
    before = find_memorised(study, cohort, "train")
    copy = next(volume for volume in list_synthetic_volumes(study, "train") if volume.case not in before)
    stolen = list_real_volumes(cohort, "train")[2]
    nibabel.save(nibabel.Nifti1Image(stolen.load_ct(), np.eye(4)), copy.ct)
    found = evaluate_memorisation(study, cohort, ["train"])
    assert set(found["sets"]["train"]["memorised_cases"]) == before | {copy.case}
    row = next(row for row in found["cases"] if row["case"] == copy.case)
    assert row["ct_nearest"] == stolen.case
    assert row["ct_distance"] == 0


def test_frechet_distance_is_that_of_monai_and_exact_with_few_vectors() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.normal(size=(200, 16)), rng.normal(0.3, 1.4, size=(150, 16))
    expected = float(FIDMetric()(torch.from_numpy(one), torch.from_numpy(other)))
    assert measure_frechet(one, other) == pytest.approx(expected, rel=1e-6)
    few = rng.normal(size=(5, 16))
    assert measure_frechet(few, few) == pytest.approx(0, abs=1e-9)
    assert measure_frechet(few, few + 2) == pytest.approx(16 * 4)


def test_jackknife_leaves_out_whole_patients() -> None:
    values = np.random.default_rng(2).normal(5, 1, 60)
    twice = np.concatenate([values, values])
    names = [str(i) for i in range(60)]

    def difference(one: np.ndarray, other: np.ndarray) -> float:
        return float(twice[one].mean() - other.size * 0)

    figure = estimate_by_jackknife(difference, names + names, ["x", "y"], "HU")
    half = 1.96 * values.std(ddof=1) / np.sqrt(60)
    assert figure.high is not None
    assert figure.value is not None
    assert figure.high - figure.value == pytest.approx(half, rel=0.2)


def test_pairs_are_of_different_patients(bench: Bench) -> None:
    volumes = [replace(bench.train[0], group=name) for name in "aabb"]
    pairs = draw_pairs(volumes, 100, np.random.default_rng(0))
    assert pairs == [(0, 2), (0, 3), (1, 2), (1, 3)]


def test_random_network_is_the_same_everywhere_and_tells_left_from_right() -> None:
    image = torch.linspace(0, 1, 32).repeat(32, 1).T[None, None]
    features = RandomNetwork(2)(image)
    assert torch.equal(features, RandomNetwork(2)(image))
    assert float(features[0, 0]) == pytest.approx(0.0270947, abs=1e-5)
    assert (features - RandomNetwork(2)(image.flip(2))).abs().max() > 0.1


def test_network_from_a_file_is_used_and_a_missing_one_is_named(tmp_path) -> None:
    class Mean(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([x, x * 2], 1)

    torch.jit.script(Mean()).save(tmp_path / "mean.pt")
    network = load_network("mean.pt", tmp_path, 2)
    assert network(torch.ones(3, 1, 4, 4)).tolist() == [[1, 2]] * 3
    with pytest.raises(GuideGenError, match=r"other\.pt: no such file"):
        load_network("other.pt", tmp_path, 2)
    (tmp_path / "bad.pt").write_text("no network")
    with pytest.raises(GuideGenError, match=r"bad\.pt: no TorchScript"):
        load_network("bad.pt", tmp_path, 2)


def test_perceptual_distance_grows_with_noise_and_is_less_to_the_own_case_than_to_others(
    bench: Bench, tmp_path: Path
) -> None:
    class Difference(torch.nn.Module):
        def forward(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
            return (one - other).abs().mean([1, 2, 3])

    torch.jit.script(Difference()).save(tmp_path / "lpips.pt")
    evaluate = bench.study.config.evaluate
    networks = evaluate.networks.model_copy(update={"lpips": str(tmp_path / "lpips.pt")})
    settings = bench.study.config.model_copy(update={"evaluate": evaluate.model_copy(update={"networks": networks})})
    study = Study(bench.study.root, settings)
    own = [replace(volume, group=volume.case) for volume in bench.train[:3]]
    sources = {volume.case: volume for volume in own}
    same = compare_perceptually(study, "same", own, bench.train, sources)
    noisy = compare_perceptually(study, "noisy", spoil(own, add_noise), bench.train, sources)
    assert same["set"]["value"] == 0
    assert noisy["set"]["value"] > 0
    assert noisy["floor"]["value"] > 0.05
