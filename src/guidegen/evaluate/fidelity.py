"""How close synthetic sets come to real held-out cases, and how varied they are, with real cases as the floor.

The protocol is written down in `docs/reference/metrics.md`. Every figure compares as many cases of a set as real
training cases are drawn for the floor, because a Fréchet distance grows as cases get fewer; a set is cut to half of the
training cases, so that the draws differ.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from guidegen.evaluate.anatomy import (
    Anatomy,
    compare_centres,
    compare_contacts,
    compare_hu,
    compare_presence,
    compare_volumes,
    describe_anatomy,
)
from guidegen.evaluate.bootstrap import Figure
from guidegen.evaluate.features import (
    RANDOM,
    RandomNetwork,
    extract_clips,
    extract_slices,
    extract_whole,
    load_network,
    window_ct,
)
from guidegen.evaluate.frechet import estimate_by_jackknife, measure_frechet
from guidegen.evaluate.published import describe_data, read_published
from guidegen.evaluate.similarity import compare_perceptually, measure_diversity
from guidegen.evaluate.volumes import Volume, list_real_volumes, list_synthetic_volumes
from guidegen.prepare.cohort import CohortCase
from guidegen.progress import track_progress
from guidegen.seeds import derive_rng
from guidegen.study import Study

PLANES = ("sagittal", "coronal", "axial")
DISTANCE = "squared feature distance"
UNITS = {
    **{f"fid_{plane}": DISTANCE for plane in PLANES},
    "fid_3d": DISTANCE,
    "fvd": DISTANCE,
    **{f"label_fid_{plane}": DISTANCE for plane in PLANES},
    "hu_distance": "HU",
    "presence": "share of cases",
    "volume": "log ratio",
    "centroid": "share of the box",
    "adjacency": "share of the surface",
}
"""Unit of each measure of two groups; 0 is best for all of them."""
PER_CLASS: dict[str, Callable[[Anatomy, Anatomy], np.ndarray]] = {
    "hu_distance": compare_hu,
    "presence": compare_presence,
    "volume": compare_volumes,
    "centroid": compare_centres,
    "adjacency": compare_contacts,
}


@dataclass(frozen=True)
class Group:
    """A group of cases, described. Arrays have the case as first axis.

    Attributes:
        patients: of each case.
        features: measure → features (cases, vectors per case, F).
        anatomy: stacked statistics.
    """

    patients: tuple[str, ...]
    features: dict[str, np.ndarray]
    anatomy: Anatomy

    def choose(self, rows: np.ndarray) -> "Group":
        """Return some of the cases."""
        features = {name: array[rows] for name, array in self.features.items()}
        return Group(tuple(np.asarray(self.patients, object)[rows]), features, self.anatomy.choose(rows))


def evaluate_fidelity(study: Study, cohort: Sequence[CohortCase], sets: Sequence[str]) -> dict[str, Any]:
    """Compare every synthetic set with the real test cases.

    Returns:
        `protocol_features`: what the distances rest on; `units`: measure → unit; `sets`: name → `cases`, `measures`
        (measure → `set` and `floor`, figures) and `classes` (class → measure → `set`, `floor`, plain numbers);
        `left_out`: set → why it has no figures.
    """
    settings, seed = study.config.evaluate, study.config.study.seed
    test = _draw(list_real_volumes(cohort, "test"), settings.fidelity_cases, seed, "real test")
    train = _draw(list_real_volumes(cohort, "train"), 2 * settings.fidelity_cases, seed, "real train")
    most = max(len(train) // 2, 2)
    chosen = {name: _draw(list_synthetic_volumes(study, name), most, seed, name) for name in sets}
    left_out = {name: f"{len(cases)} cases to look at" for name, cases in chosen.items() if len(cases) < 2}
    if min(len(test), len(train)) < 2:
        left_out = dict.fromkeys(sets, f"{len(train)} real training and {len(test)} real test cases with CT and labels")
    chosen = {name: cases for name, cases in chosen.items() if name not in left_out}
    found: dict[str, Any] = {}
    if chosen:
        describe = Describer(study)
        total = len(test) + len(train) + sum(map(len, chosen.values()))
        with track_progress("evaluate: fidelity", total) as advance:
            real_test, real_train = (describe(volumes, advance) for volumes in (test, train))
            groups = {name: describe(volumes, advance) for name, volumes in chosen.items()}
        usual = measure_diversity(study, "real test", test)
        sources = {volume.case: volume for volume in list_real_volumes(cohort, "train", "val", "test")}
        for name, group in groups.items():
            measured = compare_groups(group, real_test, real_train, study, name)
            measured["measures"]["ms_ssim"] = {
                "set": measure_diversity(study, name, chosen[name]).to_json(),
                "floor": usual.to_json(),
            }
            if study.config.evaluate.networks.lpips:
                compared = compare_perceptually(study, name, chosen[name], test, sources)
                measured["measures"]["lpips"] = compared
            found[name] = {"cases": len(group.patients), "real_test_cases": len(test), **measured}
    return {
        "protocol_features": describe_protocol(study),
        "units": UNITS,
        "sets": found,
        "left_out": left_out,
        "published": read_published("fidelity"),
        "data": describe_data(study, cohort),
    }


def describe_protocol(study: Study) -> dict[str, Any]:
    """What the figures rest on, as far as it is not plain from the settings."""
    networks, grid = study.config.evaluate.networks, study.config.prepare.grid
    return {
        "planes": networks.planes or RANDOM,
        "volume": networks.volume or RANDOM,
        "clips": networks.clips or RANDOM,
        "labels": RANDOM,
        "ct_grid": [2 * grid] * 3,
        "label_grid": [grid] * 3,
        "spacing": "each case's own: the covered trunk fills the grid",
        "interval": "95%, delete-one-patient jackknife; of a floor: spread over the draws of training cases",
    }


def _draw(volumes: list[Volume], count: int, seed: int, name: str) -> list[Volume]:
    """Draw cases without replacement, in the order of the list."""
    rng = derive_rng(seed, "evaluate", "fidelity", name)
    rows = rng.permutation(len(volumes))[:count]
    return [volumes[row] for row in sorted(rows)]


class Describer:
    """Turns volumes into groups by the networks of the settings."""

    def __init__(self, study: Study) -> None:
        self.settings = study.config.evaluate
        self.classes = len(study.labels)
        networks = self.settings.networks
        self.planes = load_network(networks.planes, study.root, 2)
        self.volume = load_network(networks.volume, study.root, 3)
        self.clips = load_network(networks.clips, study.root, 3)
        self.labels = RandomNetwork(2, self.classes)

    def __call__(self, volumes: Sequence[Volume], advance: Callable[[int, str], None]) -> Group:
        """Describe all volumes, one at a time."""
        features, anatomies = [], []
        for volume in volumes:
            ct, labels = volume.load_ct(), volume.load_labels()
            features.append(self._extract(ct, labels))
            anatomies.append(describe_anatomy(labels, ct, np.asarray(volume.spacing), self.classes))
            advance(1, volume.case)
        stacked = {name: np.stack([case[name] for case in features]) for name in features[0]}
        return Group(tuple(volume.group for volume in volumes), stacked, Anatomy.stack(anatomies))

    def _extract(self, ct: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
        settings = self.settings
        image = window_ct(ct, settings.hu_window)[None]
        onehot = torch.nn.functional.one_hot(torch.from_numpy(labels).long(), self.classes).movedim(-1, 0).float()
        slices = extract_slices(self.planes, image, settings.slices)
        shown = extract_slices(self.labels, onehot, settings.slices)
        return {
            **{f"fid_{plane}": slices[axis] for axis, plane in enumerate(PLANES)},
            "fid_3d": extract_whole(self.volume, image)[None],
            "fvd": extract_clips(self.clips, image, settings.clips, settings.clip_length),
            **{f"label_fid_{plane}": shown[axis] for axis, plane in enumerate(PLANES)},
        }


def compare_groups(group: Group, test: Group, train: Group, study: Study, name: str) -> dict[str, Any]:
    """Return `measures` and `classes` of a set, beside what equally many real training cases reach."""
    settings = study.config.evaluate
    rng = derive_rng(study.config.study.seed, "evaluate", "fidelity", name, "floor")
    size = min(len(group.patients), len(train.patients))
    draws = [train.choose(rng.permutation(len(train.patients))[:size]) for _ in range(settings.floor_draws)]
    measures = {}
    for measure, unit in UNITS.items():
        floor = np.array([measure_groups(measure, draw, test) for draw in draws])
        figure = estimate_by_jackknife(
            lambda one, other, measure=measure: measure_groups(measure, group.choose(one), test.choose(other)),
            group.patients,
            test.patients,
            unit,
        )
        measures[measure] = {"set": figure.to_json(), "floor": spread_figure(floor, size, unit).to_json()}
    return {"measures": measures, "classes": _list_classes(group, test, draws[0], study)}


def measure_groups(measure: str, one: Group, other: Group) -> float:
    """Return one measure of two groups: Fréchet distance of all vectors, or the mean over the classes both show."""
    if measure in PER_CLASS:
        values = PER_CLASS[measure](one.anatomy, other.anatomy)[1:]
        return float(values[np.isfinite(values)].mean()) if np.isfinite(values).any() else float("nan")
    vectors = [group.features[measure].reshape(-1, group.features[measure].shape[-1]) for group in (one, other)]
    return measure_frechet(*vectors)


def spread_figure(values: np.ndarray, n: int, unit: str) -> Figure:
    """Return the mean over draws with the middle 95 % of them."""
    if not np.isfinite(values).all():
        return Figure(None, None, None, n, unit)
    low, high = np.quantile(values, [0.025, 0.975])
    return Figure(float(values.mean()), float(low), float(high), n, unit)


def _list_classes(group: Group, test: Group, train: Group, study: Study) -> dict[str, Any]:
    """Class → measure → plain numbers of the set and of one draw of training cases; None where one lacks it."""
    found: Mapping[str, tuple[np.ndarray, np.ndarray]] = {
        measure: (compare(group.anatomy, test.anatomy), compare(train.anatomy, test.anatomy))
        for measure, compare in PER_CLASS.items()
    }

    def plain(value: float) -> float | None:
        return float(f"{value:.6g}") if np.isfinite(value) else None

    return {
        entry.name: {
            measure: {"set": plain(values[0][entry.id]), "floor": plain(values[1][entry.id])}
            for measure, values in found.items()
        }
        for entry in study.labels.classes[1:]
    }
