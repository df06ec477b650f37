"""The selection rule: named criteria, a funnel that shows what each one leaves, and the ranking within a patient."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from guidegen.index.series import Series
from guidegen.index.settings import AnnotationRule, SelectionRule

SHARP_KERNEL = re.compile(r"\b(lung|bone|sharp|detail|edge)\b(?!.*soft)|\b[bi][5-9]\d[fs]?\b|high\s*res|\bhrct\b", re.I)
THICKNESS = re.compile(r"(\d{1,2}(?:\.\d+)?)\s*(?:mm|x\s*\d)", re.I)
WHOLE_TRUNK = re.compile(
    r"c\W?a\W?p\b|chest\W*(and|/|,|&)?\W*abd\w*\W*(and|/|,|&)?\W*pel|chestabdpelv|whole\s*body|torso", re.I
)
ABDOMEN_PELVIS = re.compile(r"\ba\W?p\b|abd\w*\W*(and|/|,|&)?\W*pel|abdomenpelvis", re.I)
THICK_MM = 5.0
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
        selection.excluded += [(series, name) for series in left if not passes(series)]
        left = [series for series in left if passes(series)]
        selection.funnel.append(_count(name, left))
    by_patient: dict[str, list[Series]] = {}
    for series in left:
        by_patient.setdefault(series.patient_id, []).append(series)
    for members in by_patient.values():
        members.sort(
            key=lambda s: (s.series_uid not in tumour_annotated, s.series_uid not in annotated, rank_series(s))
        )
        ranked = [(series, rank) for rank, series in enumerate(members, 1)]
        selection.chosen += ranked[:series_per_patient]
        selection.excluded += [(series, SERIES_PER_PATIENT) for series, _ in ranked[series_per_patient:]]
    selection.funnel.append(_count(SERIES_PER_PATIENT, [series for series, _ in selection.chosen]))
    return selection


def rank_series(series: Series) -> tuple[bool, bool, int, float, int, str, str]:
    """Return the sort key of a CT series within its patient by the image itself, best first.

    No sharp kernel, slices not over 5 mm, chest-abdomen-pelvis before abdomen-pelvis before others, estimated extent,
    image count, earliest date. No source states the kernel and the IDC's index no thickness; they are then read from
    the description where it names them.
    """
    found = THICKNESS.search(series.description)
    thickness = series.thickness_mm or (float(found.group(1)) if found else 0.0)
    text = f"{series.description} {series.body_part}"
    region = 0 if WHOLE_TRUNK.search(text) else 1 if ABDOMEN_PELVIS.search(text) else 2
    extent = series.instances * thickness
    sharp = bool(SHARP_KERNEL.search(series.description))
    return (
        sharp,
        thickness > THICK_MM,
        region,
        -extent,
        -series.instances,
        series.study_date or "9999",
        series.series_uid,
    )


def match_annotation(series: Series, rules: Sequence[AnnotationRule]) -> AnnotationRule | None:
    """Return the first entry of the allow-list that fits an annotation series, None where it is not accepted."""
    for rule in rules:
        if (
            rule.modality in ("any", series.modality)
            and re.fullmatch(rule.analysis_result, series.analysis_result, re.I)
            and re.fullmatch(rule.algorithm_type, series.algorithm_type, re.I)
            and re.search(rule.description, series.description, re.I)
        ):
            return rule
    return None


def _count(criterion: str, series: Sequence[Series]) -> FunnelStep:
    patients = len({s.patient_id for s in series})
    return FunnelStep(criterion, len(series), patients, sum(s.size for s in series) / 1e9)
