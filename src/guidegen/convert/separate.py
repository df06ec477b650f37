"""Which slices of an irregular series make one regular volume."""

from collections import defaultdict
from itertools import pairwise

import numpy as np

from guidegen.convert.slices import VOLUME_KEYS, Slice

SMALLEST_VOLUME = 2


def measure_places(slices: list[Slice], normal: np.ndarray) -> np.ndarray:
    """Return the places (N,) of slices along their normal in mm."""
    return np.array([item.position for item in slices]) @ normal


def is_even(places: np.ndarray, tolerance: float) -> bool:
    """Say whether each place is within `tolerance` mm of where even spacing from first to last puts it."""
    fitted = np.linspace(places[0], places[-1], len(places))
    gap = (places[-1] - places[0]) / max(1, len(places) - 1)
    return bool(np.max(np.abs(places - fitted)) <= tolerance and gap > tolerance)


def find_even_part(places: np.ndarray, tolerance: float) -> slice:
    """Return the longest run (in mm) of neighbouring slices with equal gaps; of equally long ones the lowest.

    Args:
        places: ascending places (N,) along the normal in mm.
        tolerance: how far a place may be from even spacing, in mm.
    """
    gaps = np.diff(places)
    runs, start = [], 0
    for number in range(1, len(gaps) + 1):
        if number == len(gaps) or abs(gaps[number] - gaps[start]) > 2 * tolerance:
            runs.append(slice(start, number + 1))
            start = number
    return max(runs, key=lambda run: (round(float(places[run][-1] - places[run][0]), 3), -run.start))


def is_interleaved(slices: list[Slice]) -> bool:
    """Say whether the acquisitions of sorted slices alternate along the stack instead of following each other."""
    numbers = [str(item.header.get("AcquisitionNumber")) for item in slices]
    changes = sum(a != b for a, b in pairwise(numbers))
    return changes > len(set(numbers)) - 1


def separate_volumes(
    slices: list[Slice], normal: np.ndarray, tolerance: float
) -> tuple[str, dict[str, list[Slice]]] | None:
    """Separate stacked volumes by the first attribute of `VOLUME_KEYS` that proves them apart.

    An attribute does so where every image has it and the images of each of its values are evenly spaced, one to a
    place.

    Args:
        slices: sorted along `normal`.
        normal: unit vector.
        tolerance: how far a place may be from even spacing, in mm.

    Returns:
        The attribute, and the volumes by its value in ascending order; None where no attribute does.
    """
    for key in VOLUME_KEYS:
        groups: defaultdict[str, list[Slice]] = defaultdict(list)
        for item in slices:
            value = item.header.get(key)
            groups["" if value is None else str(value)].append(item)
        if len(groups) == 1 or "" in groups or min(map(len, groups.values())) < SMALLEST_VOLUME:
            continue
        if all(is_even(measure_places(group, normal), tolerance) for group in groups.values()):
            # Numbers ascend by length first, times have one length.
            return key, {value: groups[value] for value in sorted(groups, key=lambda text: (len(text), text))}
    return None
