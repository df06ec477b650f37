"""The selection rule: named criteria, a funnel that shows what each one leaves, and the ranking within a patient."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from statistics import median

from guidegen.index.series import Series
from guidegen.index.settings import AnnotationRule, SelectionRule

SHARP_KERNEL = re.compile(r"\b(lung|bone|sharp|detail|edge)\b(?!.*soft)|\b[bi][5-9]\d[fs]?\b|high\s*res|\bhrct\b", re.I)
THICKNESS = re.compile(r"(?<![\d.])(?:(\d{1,2}\.\d+)(?![\d.])|(\d{1,2})\s*(?:mm|x\s*\d))", re.I)
"""`5mm`, `5x5`, or a decimal number alone, as in `Abdomen  5.0  B30f`."""
THICKNESSES_MM = (0.3, 20.0)
WHOLE_TRUNK = re.compile(r"c\W?a\W?p\b|chest\W*(and|/|,|&)?\W*abd|chestabdpelv|whole\s*body|torso|\bwb\b", re.I)
ABDOMEN_PELVIS = re.compile(r"\ba\W?p\b|abd\w*\W*(and|/|,|&)?\W*pel|abdomenpelvis", re.I)
THICK_MM = 5.0
LONGEST_SCAN_MM = 2000.0
MISSING_PATIENT = "patient_id"
LICENCE = "licence"
SERIES_PER_PATIENT = "series_per_patient"


@dataclass
class FunnelStep:
    """What is left of a collection's CT series after one criterion; `gigabytes` are 10^9 bytes."""

    criterion: str
    series: int
    patients: int
    gigabytes: float


@dataclass
class Selection:
    """Outcome of the rule on one collection: used CTs with their rank, and the others with the criterion."""

    chosen: list[tuple[Series, int]] = field(default_factory=list)
    excluded: list[tuple[Series, str]] = field(default_factory=list)
    funnel: list[FunnelStep] = field(default_factory=list)


def list_criteria(rule: SelectionRule, licences: Sequence[str] | None) -> list[tuple[str, Callable[[Series], bool]]]:
    """Return the named criteria of a rule in order; each tells whether a CT series passes.

    Args:
        rule: thresholds and patterns of the source.
        licences: allowed licences, None where licences are not checked (a lab's own data).
    """
    description = re.compile(rule.exclude_description, re.I | re.X)
    body_part = re.compile(rule.exclude_body_part, re.I | re.X)
    sop_classes = {*rule.sop_class, ""}

    def has_plain_slices(series: Series) -> bool:
        if series.is_jpeg or not series.instances:
            return True
        per_slice = series.size / 1e6 / series.instances
        return (rule.min_slice_mb or 0) <= per_slice <= (rule.max_slice_mb or float("inf"))

    criteria: list[tuple[str, Callable[[Series], bool]]] = [
        (MISSING_PATIENT, lambda s: bool(s.patient_id.strip())),
        ("sop_class", lambda s: s.format == "nifti" or s.sop_class in sop_classes),
        ("instances", lambda s: s.format == "nifti" or rule.min_instances <= s.instances <= rule.max_instances),
        ("description", lambda s: not description.search(s.description)),
        ("slice_size", lambda s: s.format == "nifti" or has_plain_slices(s)),
        ("body_part", lambda s: not body_part.search(s.body_part.strip())),
    ]
    if licences is not None:
        criteria.append((LICENCE, lambda s: s.licence in licences))
    return criteria


def select_series(
    candidates: Iterable[Series],
    rule: SelectionRule,
    *,
    licences: Sequence[str] | None,
    series_per_patient: int,
    tumour_annotated: set[str],
    annotated: set[str],
) -> Selection:
    """Apply the rule to the CT series of one collection and rank what is left within each patient.

    Args:
        candidates: CT series (`role` ct).
        rule: the source's rule.
        licences: allowed licences, None: not checked.
        series_per_patient: how many of a patient's series are used, best first.
        tumour_annotated: UIDs of CT series with an accepted tumour annotation; they rank first.
        annotated: UIDs of CT series with any accepted annotation or label map; they rank next.
    """
    left = sorted(candidates, key=lambda s: s.series_uid)
    selection = Selection()
    selection.funnel.append(_count("all CT", left))
    for name, passes in list_criteria(rule, licences):
        offered, left = left, []
        for series in offered:
            if passes(series):
                left.append(series)
            else:
                selection.excluded.append((series, name))
        selection.funnel.append(_count(name, left))
    by_patient: dict[str, list[Series]] = {}
    for series in left:
        by_patient.setdefault(series.patient_id, []).append(series)
    for members in by_patient.values():
        extents = estimate_extents(members)
        members.sort(
            key=lambda s: (
                s.series_uid not in tumour_annotated,
                s.series_uid not in annotated,
                rank_series(s, extents[s.series_uid]),
            )
        )
        ranked = [(series, rank) for rank, series in enumerate(members, 1)]
        selection.chosen += ranked[:series_per_patient]
        selection.excluded += [(series, SERIES_PER_PATIENT) for series, _ in ranked[series_per_patient:]]
    selection.funnel.append(_count(SERIES_PER_PATIENT, [series for series, _ in selection.chosen]))
    return selection


def rank_series(series: Series, extent_mm: float) -> tuple[bool, bool, int, float, int, str, str]:
    """Return the sort key of a CT series within its patient by the image itself, best first.

    No sharp kernel, slices not over 5 mm, chest with abdomen before abdomen with pelvis before others, estimated
    extent, image count, earliest date. No source states the kernel; it is read from the description.

    Args:
        series: the series.
        extent_mm: from `estimate_extents`.
    """
    text = f"{series.description} {series.body_part}".replace("_", " ")
    region = 0 if WHOLE_TRUNK.search(text) else 1 if ABDOMEN_PELVIS.search(text) else 2
    return (
        bool(SHARP_KERNEL.search(series.description)),
        find_thickness(series) > THICK_MM,
        region,
        -extent_mm,
        -series.instances,
        series.study_date or "9999",
        series.series_uid,
    )


def find_thickness(series: Series) -> float:
    """Return the slice thickness in mm that the source or the description states, 0 where neither does."""
    if series.thickness_mm:
        return series.thickness_mm
    found = THICKNESS.search(series.description)
    thickness = float(found[1] or found[2]) if found else 0.0
    return thickness if THICKNESSES_MM[0] <= thickness <= THICKNESSES_MM[1] else 0.0


def estimate_extents(members: Iterable[Series]) -> dict[str, float]:
    """Return the estimated extent in mm of a patient's series, by UID.

    It is image count times thickness; nobody is longer than two metres, so more says nothing (overlapping slices, or
    several volumes). Series of one study mostly cover the same part of the body: one without an extent of its own gets
    the median of those of its study, and 0 where none of them has one.
    """
    members = list(members)
    products = {series.series_uid: series.instances * find_thickness(series) for series in members}
    extents = {uid: extent if extent <= LONGEST_SCAN_MM else 0.0 for uid, extent in products.items()}
    of_study: dict[str, list[float]] = {}
    for series in members:
        of_study.setdefault(series.study_uid, []).append(extents[series.series_uid])
    usual = {uid: median([e for e in found if e] or [0.0]) for uid, found in of_study.items()}
    return {series.series_uid: extents[series.series_uid] or usual[series.study_uid] for series in members}


def match_annotation(series: Series, rules: Sequence[AnnotationRule]) -> AnnotationRule | None:
    """Return the first entry of the allow-list that fits an annotation series, None where it is not accepted."""
    for rule in rules:
        if (
            rule.modality in ("any", series.modality)
            and _compile(rule.analysis_result).fullmatch(series.analysis_result)
            and _compile(rule.algorithm_type).fullmatch(series.algorithm_type)
            and _compile(rule.description).search(series.description)
        ):
            return rule
    return None


@cache
def _compile(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.I)


def _count(criterion: str, series: Sequence[Series]) -> FunnelStep:
    patients = len({s.patient_id for s in series})
    return FunnelStep(criterion, len(series), patients, sum(s.size for s in series) / 1e9)
