"""The attributes a prompt can control, and how well a case fits what a prompt asks for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from guidegen.evaluate.cases import Case
from guidegen.evaluate.instruments import (
    BodyRuler,
    PhaseReader,
    SexReader,
    SiteReader,
    fit_phase_reader,
    fit_ruler,
    fit_sex_reader,
    fit_site_reader,
)
from guidegen.evaluate.observe import Observation
from guidegen.evaluate.settings import EvaluateSettings
from guidegen.labels import TUMOUR, LabelTable
from guidegen.mask.coverage import name_regions
from guidegen.statements import Statements

SITE_CLASS = {"rectum": "colon", "bladder": "urinary_bladder", "esophagus": "oesophagus", "bowel": "small_bowel"}
"""Site words that are not themselves names of torso classes, with blanks as underscores."""


@dataclass(frozen=True)
class Reading:
    """What the instruments read on one case, in the words of the statements; None is not readable."""

    coverage: tuple[str, str] | None
    tumour: bool
    side: str | None
    site: str | None
    size_mm: float
    phase: str | None
    missing: frozenset[str]
    sex: str | None


@dataclass(frozen=True)
class Instruments:
    """All instruments, fitted on real training cases."""

    table: LabelTable
    settings: EvaluateSettings
    ruler: BodyRuler
    phase: PhaseReader
    site: SiteReader
    sex: SexReader

    def read(self, seen: Observation) -> Reading:
        """Read one case."""
        place = self.ruler.read(seen)
        tumour = seen.tumour_voxels >= self.settings.tumour_min_voxels
        phase, sex = self.phase.read(seen), self.sex.read(seen)
        first_last = name_regions(*place) if place else None
        return Reading(
            coverage=(str(first_last[0]), str(first_last[1])) if first_last else None,
            tumour=tumour,
            side=seen.tumour_side if tumour else None,
            site=self.site.read(seen) if tumour else None,
            size_mm=seen.tumour_mm if tumour else 0.0,
            phase=str(phase) if phase else None,
            missing=frozenset(name for name, gone in self._check_organs(seen).items() if gone),
            sex=str(sex) if sex else None,
        )

    def _check_organs(self, seen: Observation) -> dict[str, bool]:
        """Organs that a prompt can call absent: True where the place is covered and the organ is not there."""
        least = self.settings.organ_min_voxels
        kidney, gallbladder = self.table.ids["kidney"], self.table.ids["gallbladder"]
        kidneys_covered = self.ruler.covers(seen, kidney)
        return {
            "gallbladder": self.ruler.covers(seen, gallbladder) and seen.counts[gallbladder] < least,
            "left kidney": kidneys_covered and seen.kidney[0] < least,
            "right kidney": kidneys_covered and seen.kidney[1] < least,
        }


def fit_instruments(training: Sequence[Case], table: LabelTable, settings: EvaluateSettings) -> Instruments:
    """Fit all instruments on real training cases."""
    tumours = [
        (site, case.seen)
        for case in training
        if case.statements.tumour and (site := name_site(case.statements.site, table))
    ]
    return Instruments(
        table=table,
        settings=settings,
        ruler=fit_ruler(training, table),
        phase=fit_phase_reader(training, table),
        site=fit_site_reader(tumours, table),
        sex=fit_sex_reader(training, table),
    )


def name_site(site: str | None, table: LabelTable) -> str | None:
    """Return the torso class of a stated site, None where no class stands for it."""
    name = (site or "").lower().replace(" ", "_")
    name = SITE_CLASS.get(name, name)
    return name if name in table.ids and name != TUMOUR else None


@dataclass(frozen=True)
class Attribute:
    """One attribute of the prompt.

    Attributes:
        name: as in the tables.
        measure: how a requested value is compared with what was measured, for the reader.
        request: what a prompt asks for, None where it asks for nothing.
        fits: whether a reading fits a request.
        all_cases: shuffled requests go to all cases, not only to those that make such a request.
    """

    name: str
    measure: str
    request: Callable[[Statements, LabelTable], object | None]
    fits: Callable[[object, Reading], bool]
    all_cases: bool = False


def _ask_coverage(said: Statements, _: LabelTable) -> object | None:
    first, last = said.coverage_first, said.coverage_last
    return (str(first), str(last)) if first and last else None


def _ask_side(said: Statements, _: LabelTable) -> object | None:
    return str(said.side) if said.side and said.tumour else None


def _ask_absent(said: Statements, _: LabelTable) -> object | None:
    return frozenset(said.absent) & {"gallbladder", "left kidney", "right kidney"} or None


ATTRIBUTES = (
    Attribute(
        "coverage",
        "first and last region of the covered range both as asked",
        _ask_coverage,
        lambda asked, found: asked == found.coverage,
    ),
    Attribute(
        "tumour presence",
        "a tumour is in the label map exactly where the prompt asks for one",
        lambda said, _: bool(said.tumour),
        lambda asked, found: asked == found.tumour,
    ),
    Attribute(
        "tumour side",
        "the tumour lies on the patient's side that was asked",
        _ask_side,
        lambda asked, found: asked == found.side,
    ),
    Attribute(
        "tumour site",
        "organ of the tumour, read from what it touches",
        lambda said, table: name_site(said.site, table) if said.tumour else None,
        lambda asked, found: asked == found.site,
    ),
    Attribute(
        "contrast phase",
        "phase read from the median HU of vessels and organs",
        lambda said, _: str(said.phase) if said.phase else None,
        lambda asked, found: asked == found.phase,
    ),
    Attribute(
        "absent organs",
        "every organ that was asked away is missing although its place is covered",
        _ask_absent,
        lambda asked, found: asked <= found.missing,  # type: ignore[operator]
        all_cases=True,
    ),
    Attribute(
        "sex",
        "sex read from the label map",
        lambda said, _: str(said.sex) if said.sex else None,
        lambda asked, found: asked == found.sex,
    ),
)
SIZE = "tumour size"
SIZE_MEASURE = "rank correlation of asked and measured largest diameter, a missing tumour counted as 0 mm"


def arrange_scores(
    attribute: Attribute, statements: Sequence[Statements], readings: Sequence[Reading], table: LabelTable
) -> tuple[np.ndarray, np.ndarray, int]:
    """Compare every request with every case.

    Returns:
        The scores (requests, cases) as `estimate_contrast` takes them, the index of each column's case, shape
        (cases,), and how many different values were requested.
    """
    asked = [attribute.request(said, table) for said in statements]
    rows = [i for i, value in enumerate(asked) if value is not None]
    others = [i for i, value in enumerate(asked) if value is None] if attribute.all_cases else []
    columns = np.array(rows + others, int)
    scores = np.array([[attribute.fits(asked[i], readings[j]) for j in columns] for i in rows], float)
    return scores.reshape(len(rows), len(columns)), columns, len({asked[i] for i in rows})
