"""Gates on what the prompt asked for, seen on the label map; contrast phase and sex are measured by evaluate."""

import numpy as np
from scipy import ndimage

from guidegen.labels import TUMOUR, LabelTable
from guidegen.mask.measure import find_largest_part, measure_diameter
from guidegen.mask.sites import name_class
from guidegen.pair.vocabulary import SITES
from guidegen.statements import Side
from guidegen.synthesize.pair import GateResult, Pair
from guidegen.synthesize.reference import Reference
from guidegen.synthesize.settings import GateSettings

COVERAGE_SHARE = 0.9
"""Share of the classes that training cases of a covered range always or never show and that must be so here."""


def check_tumour(pair: Pair, table: LabelTable, settings: GateSettings) -> GateResult:
    """Tell whether a tumour is there exactly where the prompt asks for one."""
    if pair.said.tumour is None or TUMOUR not in table.ids:
        return GateResult(None, ("the prompt does not say whether there is a tumour",))
    voxels = int(np.count_nonzero(pair.labels == table.ids[TUMOUR]))
    least = 1 if pair.said.tumour else settings.min_voxels  # real tumours may be as small as a voxel
    if (voxels >= least) == pair.said.tumour:
        return GateResult(True, (), voxels)
    wrong = "asked for, not there" if pair.said.tumour else f"not asked for, {voxels} voxels there"
    return GateResult(False, (wrong,), voxels)


def check_prompt_agreement(
    pair: Pair, table: LabelTable, settings: GateSettings, reference: Reference | None
) -> GateResult:
    """Compare place and size of the tumour, absent organs and covered range with what the prompt says."""
    checks = [
        *(_check_tumour_place(pair, table, settings) if TUMOUR in table.ids else []),
        *_check_absent(pair, table, settings),
        *_check_coverage(pair, table, settings, reference),
    ]
    if not checks:
        return GateResult(None, ("the prompt says nothing that can be checked",))
    wrong = tuple(text for text in checks if text)
    return GateResult(not wrong, wrong)


def _check_tumour_place(pair: Pair, table: LabelTable, settings: GateSettings) -> list[str]:
    """One text per statement about the tumour, empty where it is met; nothing without a tumour."""
    said, mask = pair.said, pair.labels == table.ids[TUMOUR]
    if not said.tumour or not mask.any():
        return []
    largest, checks = find_largest_part(mask), []
    if said.side and said.site in SITES and SITES[said.site].paired:
        middle = float(np.argwhere(largest)[:, 0].mean())
        side = Side.RIGHT if middle > _find_midline(pair, table) else Side.LEFT
        checks.append("" if side is said.side else f"tumour on the {side} instead of the {said.side}")
    site = name_class(said.site or "")
    if site in table.ids:
        shell = np.asarray(ndimage.binary_dilation(largest, np.ones((3, 3, 3))), bool)
        touches = bool((pair.labels[shell] == table.ids[site]).any())
        checks.append("" if touches else f"tumour does not touch the {said.site}")
    if said.tumour_size_mm:
        size = measure_diameter(largest, np.diag([*pair.spacing, 1.0]))
        low = said.tumour_size_mm / settings.size_factor - max(pair.spacing)
        high = said.tumour_size_mm * settings.size_factor + max(pair.spacing)
        wrong = f"tumour of {size:.0f} mm instead of {said.tumour_size_mm:.0f}"
        checks.append("" if low <= size <= high else wrong)
    return checks


def _find_midline(pair: Pair, table: LabelTable) -> float:
    profile = (pair.labels == table.ids["vertebrae"]).sum((1, 2))
    places = np.arange(len(profile))
    return float(places @ profile / profile.sum()) if profile.any() else float(places.mean())


def _check_absent(pair: Pair, table: LabelTable, settings: GateSettings) -> list[str]:
    checks = []
    for organ in pair.said.absent:
        side, _, name = organ.rpartition(" ")
        if name not in table.ids:
            continue
        places = np.nonzero(pair.labels == table.ids[name])[0]
        right = places > _find_midline(pair, table)
        voxels = int({"left": ~right, "right": right}.get(side, right | ~right).sum())
        checks.append("" if voxels < settings.min_voxels else f"{organ} is there ({voxels} voxels)")
    return checks


def _check_coverage(pair: Pair, table: LabelTable, settings: GateSettings, reference: Reference | None) -> list[str]:
    """Compare which classes are there with what training cases of the covered range always and never show."""
    real = reference.select_covering(pair.said) if reference else np.zeros((0, len(table)))
    if len(real) < settings.reference_cases:
        return []
    shares = (real > 0).mean(0)
    absent = {name.split()[-1] for name in pair.said.absent}
    counts = np.bincount(pair.labels.ravel(), minlength=len(table))
    checked, wrong = 0, []
    for entry in table.classes[1:]:
        always, never = shares[entry.id] >= settings.expected_share, shares[entry.id] == 0
        if entry.name == TUMOUR or entry.name in absent or not (always or never):
            continue
        checked += 1
        if (counts[entry.id] >= settings.min_voxels) != always:
            wrong.append(f"no {entry.name}" if always else entry.name)
    if not checked:
        return []
    covered = f"{pair.said.coverage_first} to {pair.said.coverage_last}"
    fits = len(wrong) <= (1 - COVERAGE_SHARE) * checked + 1e-9
    return ["" if fits else f"{', '.join(wrong)}: not what a scan of {covered} shows"]
