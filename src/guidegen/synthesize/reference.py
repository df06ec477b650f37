"""What real training cases look like: the measure of the gates."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from guidegen.labels import LabelTable
from guidegen.prepare.cohort import CohortCase
from guidegen.statements import Statements
from guidegen.synthesize.image_measures import measure_noise, measure_seams, measure_sharpness
from guidegen.synthesize.pair import Pair

SAMPLE = 32
"""CTs are measured of so many training cases, spread over all."""


@dataclass(frozen=True)
class Reference:
    """Class volumes of real training cases, and noise, steps and sharpness of their CTs."""

    volumes: np.ndarray
    """ml, (N, classes)."""
    coverage: tuple[tuple[str, str], ...]
    """Covered range of each of the N cases."""
    noise: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """HU, of a sample of the cases that have a CT."""
    seams: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """Largest relative step between planes, of the same sample."""
    sharpness: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """Share of a border's difference that lies between its two voxels, of the same sample."""

    def select(self, said: Statements, fewest: int) -> np.ndarray:
        """Return the volumes of the cases that cover what is said, or of all where there are too few."""
        chosen = self.select_covering(said)
        return chosen if len(chosen) >= fewest else self.volumes

    def select_covering(self, said: Statements) -> np.ndarray:
        """Return the volumes of the cases that cover exactly what is said."""
        coverage = str(said.coverage_first or ""), str(said.coverage_last or "")
        return self.volumes[[index for index, covered in enumerate(self.coverage) if covered == coverage]]


def measure_reference(training: Sequence[CohortCase], table: LabelTable) -> Reference:
    """Measure the label maps of the training cases, and the CTs of some."""
    labelled = [case for case in training if case.labels_path]
    volumes = [measure_volumes(case.load_labels(), case.spacing, len(table)) for case in labelled]
    coverage = tuple((case.coverage_first, case.coverage_last) for case in labelled)
    both = [case for case in labelled if case.ct_path]
    places = np.unique(np.linspace(0, len(both) - 1, SAMPLE).astype(int)) if both else []
    noise, seams, sharpness = [], [], []
    for case in (both[place] for place in places):
        pair = Pair(case.load_labels(), case.load_ct(), case.spacing)
        noise += [value] if (value := measure_noise(pair)) is not None else []
        seams += [found[0]] if (found := measure_seams(pair, table)) else []
        sharpness += [value] if (value := measure_sharpness(pair)) is not None else []
    measured = (np.array(values) for values in (noise, seams, sharpness))
    return Reference(np.array(volumes).reshape(-1, len(table)), coverage, *measured)


def measure_volumes(labels: np.ndarray, spacing: Sequence[float], classes: int) -> np.ndarray:
    """Return the volume of each class in ml, shape (classes,)."""
    return np.bincount(labels.ravel(), minlength=classes) * (float(np.prod(spacing)) / 1000)
