"""What cannot be read off a map directly is measured by instruments that are fitted on real training cases only.

Each is small and written out, so that anyone can follow why a case was read as it was; how well it reads real held-out
cases is reported beside every figure that rests on it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from guidegen.evaluate.cases import Case
from guidegen.evaluate.observe import Observation
from guidegen.labels import TUMOUR, LabelTable
from guidegen.statements import Phase, Sex

FEWEST = 4
"""Training cases that a landmark or a class needs."""
SMALLEST_SPREAD = 0.03
"""Lower bound of a landmark's standard deviation along the body axis (T1 to L5 = 1)."""
PHASE_ORGANS = ("aorta", "kidney", "liver", "inferior_vena_cava", "portal_and_splenic_vein", "spleen", "heart")
SEX_RIDGE = 3.0
CONTACT_PRIOR = 0.05
"""Weight, in tumours, of a uniform profile of contacts; a class never touched in training is unlikely, not excluded."""


@dataclass(frozen=True)
class BodyRuler:
    """Reads the covered range of a label map from where its organs end.

    Along the body axis (0 at the centre of T1, 1 at that of L5) each organ's upper and lower end has a usual place. A
    map shows some of these ends at known heights of its box; the range that explains them best, given how ranges are
    spread over the training cases, is the posterior mean of a linear Gaussian model.

    Attributes:
        place: usual place of each class's (lower, upper) end, shape (classes, 2); NaN where too rarely seen.
        spread: its standard deviation, same shape.
        prior_mean: mean (top, bottom) of the training cases, shape (2,).
        prior_covariance: shape (2, 2).
    """

    place: np.ndarray
    spread: np.ndarray
    prior_mean: np.ndarray
    prior_covariance: np.ndarray

    def read(self, seen: Observation) -> tuple[float, float] | None:
        """Return (top, bottom) on the body axis, or None where fewer than two ends are in sight."""
        usable = np.isfinite(seen.ends) & np.isfinite(self.place)
        if usable.sum() < 2:
            return None
        height = seen.ends[usable]
        design = np.stack([height, 1 - height], 1)
        weight = 1 / self.spread[usable] ** 2
        precision = np.linalg.inv(self.prior_covariance)
        left = design.T @ (design * weight[:, None]) + precision
        right = design.T @ (weight * self.place[usable]) + precision @ self.prior_mean
        top, bottom = np.linalg.solve(left, right)
        return float(top), float(bottom)

    def covers(self, seen: Observation, class_id: int) -> bool:
        """Tell whether the middle of the usual place of a class lies inside the range that the map shows."""
        found = self.read(seen)
        middle = float(self.place[class_id].mean())
        return found is not None and found[0] <= middle <= found[1]


def fit_ruler(cases: Sequence[Case], table: LabelTable) -> BodyRuler:
    """Fit the ruler on real training cases with known coverage."""
    known = [case for case in cases if case.coverage is not None]
    coverage = np.array([case.coverage for case in known], float).reshape(-1, 2)
    ends = np.stack([case.seen.ends for case in known]) if known else np.empty((0, len(table), 2))
    top, bottom = coverage[:, 0, None, None], coverage[:, 1, None, None]
    places = top + (bottom - top) * (1 - ends)
    places[:, [0, table.ids[TUMOUR]]] = np.nan
    count = np.isfinite(places).sum(0)
    enough = count >= FEWEST
    centre = np.divide(np.nansum(places, 0), count, out=np.full(count.shape, np.nan), where=enough)
    squares = np.nansum((places - centre) ** 2, 0)
    spread = np.sqrt(np.divide(squares, count - 1, out=np.full(count.shape, np.nan), where=enough))
    if len(known) < 2:
        return BodyRuler(np.full((len(table), 2), np.nan), spread, np.zeros(2), np.eye(2))
    covariance = np.cov(coverage.T) + np.eye(2) * SMALLEST_SPREAD**2
    return BodyRuler(centre, np.maximum(spread, SMALLEST_SPREAD), coverage.mean(0), covariance)


@dataclass(frozen=True)
class PhaseReader:
    """Reads the contrast phase from the median HU of vessels and organs.

    Each phase is a diagonal Gaussian over the organs with the spread pooled over phases; an organ that is not in sight
    is left out of the comparison. Phases count as equally likely beforehand.
    """

    organs: tuple[int, ...]
    phases: tuple[Phase, ...]
    centre: np.ndarray
    spread: np.ndarray

    def read(self, seen: Observation) -> Phase | None:
        """Return the likeliest phase, or None where no organ of the list is in sight."""
        hu = seen.hu[list(self.organs)]
        if not self.phases or not np.isfinite(hu).any():
            return None
        distance = ((hu - self.centre) / self.spread) ** 2
        return self.phases[int(np.nanmean(distance, 1).argmin())]


def fit_phase_reader(cases: Sequence[Case], table: LabelTable) -> PhaseReader:
    """Fit on real training cases whose phase is stated; organs seen too rarely in any phase are left out."""
    known = [case for case in cases if case.statements.phase and np.isfinite(case.seen.hu).any()]
    phases = tuple(p for p in Phase if sum(case.statements.phase is p for case in known) >= FEWEST)
    ids = np.array([table.ids[name] for name in PHASE_ORGANS])
    groups = [np.stack([c.seen.hu[ids] for c in known if c.statements.phase is p]) for p in phases]
    if not groups:
        return PhaseReader(tuple(ids.tolist()), (), np.empty((0, len(ids))), np.ones(len(ids)))
    usable = np.array([all(np.isfinite(group[:, k]).sum() >= FEWEST for group in groups) for k in range(len(ids))])
    groups = [group[:, usable] for group in groups]
    centre = np.stack([np.nanmedian(group, 0) for group in groups])
    rest = np.concatenate([group - middle for group, middle in zip(groups, centre, strict=True)])
    spread = np.maximum(1.4826 * np.nanmedian(np.abs(rest), 0), 1.0)
    return PhaseReader(tuple(ids[usable].tolist()), phases, centre, spread)


@dataclass(frozen=True)
class SiteReader:
    """Reads the organ that a tumour belongs to from what it touches.

    A tumour may fill its organ and then touches the neighbours most; so each site has the profile of contacts that its
    training tumours have, and the site whose profile makes the contacts likeliest is read (multinomial).

    Attributes:
        sites: torso class of each site.
        log_profile: log share of each class among the contacts, shape (sites, classes).
    """

    sites: tuple[str, ...]
    log_profile: np.ndarray

    def read(self, seen: Observation) -> str | None:
        """Return the site, or None where the tumour touches nothing or no site is known."""
        contact = seen.tumour_contact[1:]
        if not self.sites or not contact.any():
            return None
        return self.sites[int((self.log_profile[:, 1:] @ contact).argmax())]


def fit_site_reader(cases: Sequence[tuple[str, Observation]], table: LabelTable) -> SiteReader:
    """Fit on (site, observation) of real training cases with a tumour."""
    profiles: dict[str, np.ndarray] = {}
    for site, seen in cases:
        contact = seen.tumour_contact.astype(float)
        if contact[1:].any():
            profiles[site] = profiles.get(site, np.zeros(len(table))) + contact / contact[1:].sum()
    sites = tuple(sorted(profiles))
    if not sites:
        return SiteReader((), np.empty((0, len(table))))
    shares = np.stack([profiles[site] for site in sites]) + CONTACT_PRIOR
    shares[:, 0] = 0
    return SiteReader(sites, np.log(shares / shares.sum(1, keepdims=True) + 1e-12))


@dataclass(frozen=True)
class SexReader:
    """Reads the sex from the shares of the classes in a label map by ridge regression; spacing is not used."""

    centre: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    offset: float

    def read(self, seen: Observation) -> Sex | None:
        if not self.weights.any():
            return None
        score = float((_describe_shape(seen) - self.centre) / self.scale @ self.weights + self.offset)
        return Sex.FEMALE if score > 0 else Sex.MALE


def fit_sex_reader(cases: Sequence[Case], table: LabelTable) -> SexReader:
    """Fit on real training cases whose sex is stated."""
    known = [case for case in cases if case.statements.sex]
    features = np.stack([_describe_shape(case.seen) for case in known]) if known else np.empty((0, 5 * len(table)))
    target = np.array([1.0 if case.statements.sex is Sex.FEMALE else -1.0 for case in known])
    width = features.shape[1]
    if min((target > 0).sum(), (target < 0).sum()) < FEWEST:
        return SexReader(np.zeros(width), np.ones(width), np.zeros(width), 0.0)
    centre, scale = features.mean(0), np.maximum(features.std(0), 1e-3)
    scaled = (features - centre) / scale
    kernel = scaled @ scaled.T / width
    dual = np.linalg.solve(kernel + SEX_RIDGE / len(known) * np.eye(len(known)), target - target.mean())
    return SexReader(centre, scale, scaled.T @ dual / width, float(target.mean()))


def _describe_shape(seen: Observation) -> np.ndarray:
    """Log share of each class in the foreground and its centre and lower end; the usual value where it is absent."""
    counts = seen.counts.astype(float).copy()
    counts[0] = 0
    shares = np.log((counts + 1) / (counts.sum() + 1))
    return np.concatenate([shares, np.nan_to_num(seen.centre, nan=0.5).ravel(), np.nan_to_num(seen.ends[:, 0])])
