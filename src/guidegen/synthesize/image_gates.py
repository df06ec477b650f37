"""Gates on a CT: HU of the organs, noise, and seams between planes."""

import numpy as np

from guidegen.labels import LabelTable
from guidegen.synthesize.image_measures import measure_noise, measure_seams, measure_sharpness
from guidegen.synthesize.pair import GateResult, Pair
from guidegen.synthesize.reference import Reference
from guidegen.synthesize.settings import GateSettings


def check_hu(pair: Pair, table: LabelTable, settings: GateSettings, present: set[str]) -> GateResult:
    """Compare the median HU of each class with the range of the label table."""
    if pair.ct is None or not present:
        return GateResult(None, ("no CT" if pair.ct is None else "no structure",))
    inside = pair.fine_labels > 0
    classes, values = pair.fine_labels[inside], pair.ct[inside]
    order = np.argsort(classes, kind="stable")
    ends = np.cumsum(np.bincount(classes, minlength=len(table)))
    wrong = []
    for entry in table.classes[1:]:
        if entry.name in present:
            median = float(np.median(values[order[ends[entry.id - 1] : ends[entry.id]]]))
            if not entry.hu_low <= median <= entry.hu_high:
                wrong.append(f"{entry.name} {median:.0f} HU instead of {entry.hu_low:.0f} to {entry.hu_high:.0f}")
    return GateResult(len(wrong) <= (1 - settings.hu_share) * len(present) + 1e-9, tuple(wrong))


def check_noise(pair: Pair, settings: GateSettings, reference: Reference | None) -> GateResult:
    """Compare the noise within organs and the steepness of their borders with those of real cases.

    Blur lowers both; where organs are a few voxels wide it blends them into slopes, and only the borders show it.
    """
    if pair.ct is None or reference is None or not len(reference.noise):
        return GateResult(None, ("no CT" if pair.ct is None else "no real CT to compare with",))
    noise = measure_noise(pair)
    if noise is None:
        return GateResult(None, ("no organ is thick enough",))
    low, high = reference.noise.min() / settings.noise_factor, reference.noise.max() * settings.noise_factor
    wrong = [] if low <= noise <= high else [f"noise {noise:.1f} HU instead of {low:.1f} to {high:.1f}"]
    if len(reference.sharpness) and (sharpness := measure_sharpness(pair)) is not None:
        least = settings.edge_share * float(reference.sharpness.min())
        wrong += [] if sharpness >= least else [f"borders blurred: {sharpness:.2f} of the step, at least {least:.2f}"]
    return GateResult(not wrong, tuple(wrong), noise)


def check_seams(pair: Pair, table: LabelTable, settings: GateSettings, reference: Reference | None) -> GateResult:
    """Find planes at which the CT jumps, as where tiles were decoded apart."""
    if pair.ct is None or reference is None or not len(reference.seams):
        return GateResult(None, ("no CT" if pair.ct is None else "no real CT to compare with",))
    if not (found := measure_seams(pair, table)):
        return GateResult(None, ("no solid organ is thick enough",))
    ratio, place = found
    most = settings.seam_factor * float(reference.seams.max())
    wrong = () if ratio <= most else (f"step of {ratio:.1f} times its surroundings at {place}, at most {most:.1f}",)
    return GateResult(not wrong, wrong, ratio)
