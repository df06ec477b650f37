"""Label statistics of a case as plain arrays, and how far two groups of cases lie apart in them."""

from dataclasses import dataclass

import numpy as np

from guidegen.evaluate.bootstrap import average
from guidegen.evaluate.observe import HU_HIGH, HU_LOW, repeat_to

HU_BIN = 8
BINS = (HU_HIGH - HU_LOW) // HU_BIN + 1


@dataclass(frozen=True)
class Anatomy:
    """Statistics of one case, or of several stacked along a new first axis.

    Attributes:
        volume: of each class in ml, shape (classes,); NaN where absent.
        centre: of each class along (x, y, z) as a share of the grid, shape (classes, 3); NaN where absent.
        contact: share of each class's surface (voxel faces) that touches each other class, shape (classes, classes);
            a row is NaN where the class is absent.
        hu: share of each class's voxels in each bin of 8 HU, shape (classes, bins); a row is NaN where it is absent.
    """

    volume: np.ndarray
    centre: np.ndarray
    contact: np.ndarray
    hu: np.ndarray

    @classmethod
    def stack(cls, cases: "list[Anatomy]") -> "Anatomy":
        """Stack the statistics of several cases."""
        names = ("volume", "centre", "contact", "hu")
        return cls(*(np.stack([getattr(case, name) for case in cases]) for name in names))

    def choose(self, rows: np.ndarray) -> "Anatomy":
        """Return some of the stacked cases."""
        return Anatomy(self.volume[rows], self.centre[rows], self.contact[rows], self.hu[rows])


def describe_anatomy(labels: np.ndarray, ct: np.ndarray, spacing_mm: np.ndarray, classes: int) -> Anatomy:
    """Measure one case: label map (n, n, n), CT in HU (2n, 2n, 2n), spacing of the label grid."""
    counts = np.bincount(labels.ravel(), minlength=classes).astype(float)
    there = counts > 0
    centre = np.full((classes, 3), np.nan)
    for axis, size in enumerate(labels.shape):
        places = ((np.arange(size) + 0.5) / size).reshape([-1 if a == axis else 1 for a in range(3)])
        total = np.bincount(labels.ravel(), np.broadcast_to(places, labels.shape).ravel(), classes)
        centre[there, axis] = total[there] / counts[there]
    volume = np.where(there, counts * np.prod(spacing_mm) / 1000, np.nan)
    return Anatomy(volume, centre, _count_contacts(labels, classes), _count_hu(labels, ct, classes))


def _count_contacts(labels: np.ndarray, classes: int) -> np.ndarray:
    faces = np.zeros(classes**2)
    for axis in range(3):
        one, other = (np.delete(labels, end, axis).astype(np.int64).ravel() for end in (-1, 0))
        faces += np.bincount(one * classes + other, minlength=classes**2)
    faces = faces.reshape(classes, classes)
    faces = faces + faces.T
    np.fill_diagonal(faces, 0)
    with np.errstate(invalid="ignore"):
        return faces / faces.sum(1, keepdims=True)


def _count_hu(labels: np.ndarray, ct: np.ndarray, classes: int) -> np.ndarray:
    bins = (np.clip(np.rint(ct), HU_LOW, HU_HIGH).astype(np.int64) - HU_LOW) // HU_BIN
    place = repeat_to(labels, ct.shape).astype(np.int64) * BINS + bins
    counts = np.bincount(place.ravel(), minlength=classes * BINS).reshape(classes, BINS).astype(float)
    with np.errstate(invalid="ignore"):
        return counts / counts.sum(1, keepdims=True)


def compare_volumes(one: Anatomy, other: Anatomy) -> np.ndarray:
    """Return |log ratio| of the geometric mean volumes, per class (classes,); NaN where one group lacks the class."""
    return np.abs(_mean(np.log(one.volume)) - _mean(np.log(other.volume)))


def compare_centres(one: Anatomy, other: Anatomy) -> np.ndarray:
    """Return the distance of the mean centres as a share of the box's width, per class (classes,)."""
    return np.linalg.norm(_mean(one.centre) - _mean(other.centre), axis=1)


def compare_contacts(one: Anatomy, other: Anatomy) -> np.ndarray:
    """Return the share of its surface with which a class touches others than it does in the other group, (classes,)."""
    return np.abs(_mean(one.contact) - _mean(other.contact)).sum(1) / 2


def compare_hu(one: Anatomy, other: Anatomy) -> np.ndarray:
    """Return Wasserstein's distance (HU) of the mean HU distributions, per class (classes,)."""
    return np.abs((_mean(one.hu) - _mean(other.hu)).cumsum(1)).sum(1) * HU_BIN


def compare_presence(one: Anatomy, other: Anatomy) -> np.ndarray:
    """Return by how much the share of cases that show a class differs, (classes,)."""
    shares = [np.isfinite(group.volume).mean(0) for group in (one, other)]
    return np.abs(shares[0] - shares[1])


def _mean(values: np.ndarray) -> np.ndarray:
    return average(values, np.ones((1, len(values))))[0]
