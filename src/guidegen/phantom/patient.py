"""Who the phantom's patients are: drawn from the seed, one by one, with distributions plausible for the collection."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

import numpy as np

import guidegen
from guidegen.errors import GuideGenError
from guidegen.phantom.tissue import Enhancement, draw_enhancement
from guidegen.seeds import derive_rng
from guidegen.statements import Phase, Region, Sex, Side
from guidegen.tables import read_tsv

T = TypeVar("T")
DEFAULT_SET = "paper12"
T1_LEVEL, L5_LEVEL = 453.0, 18.0
"""Canonical height w of the centres of T1 and L5, mm."""

RANGES: dict[str, tuple[Region, Region, float, float]] = {
    "chest": (Region.CHEST, Region.CHEST, 478.0, 196.0),
    "chest to upper abdomen": (Region.CHEST, Region.UPPER_ABDOMEN, 478.0, 92.0),
    "abdomen": (Region.UPPER_ABDOMEN, Region.ABDOMEN, 292.0, 12.0),
    "abdomen to pelvis": (Region.UPPER_ABDOMEN, Region.PELVIS, 292.0, -138.0),
    "chest to pelvis": (Region.CHEST, Region.PELVIS, 478.0, -138.0),
}
"""Covered ranges: first and last region, canonical height w of the top and the bottom in mm."""

RANGE_SHARES: dict[str, dict[str, float]] = {
    "lung": {"chest": 0.4, "chest to upper abdomen": 0.4, "chest to pelvis": 0.2},
    "colon": {"abdomen to pelvis": 0.6, "chest to pelvis": 0.4},
    "rectum": {"abdomen to pelvis": 0.6, "chest to pelvis": 0.4},
    "kidney": {"abdomen": 0.3, "abdomen to pelvis": 0.4, "chest to pelvis": 0.3},
    "liver": {"abdomen": 0.4, "abdomen to pelvis": 0.25, "chest to upper abdomen": 0.15, "chest to pelvis": 0.2},
    "pancreas": {"abdomen": 0.4, "abdomen to pelvis": 0.4, "chest to pelvis": 0.2},
}
PHASE_SHARES: dict[str, tuple[float, float, float, float]] = {
    "lung": (0.35, 0.2, 0.4, 0.05),
    "colon": (0.12, 0.03, 0.8, 0.05),
    "rectum": (0.12, 0.03, 0.8, 0.05),
    "kidney": (0.12, 0.33, 0.43, 0.12),
    "liver": (0.1, 0.35, 0.45, 0.1),
    "pancreas": (0.05, 0.4, 0.5, 0.05),
}
"""Shares of the phases non-contrast, arterial, portal venous, delayed."""

DIAMETERS: dict[str, tuple[float, float]] = {
    "lung": (34.0, 0.42),
    "colon": (42.0, 0.28),
    "rectum": (40.0, 0.25),
    "kidney": (46.0, 0.38),
    "liver": (44.0, 0.42),
    "pancreas": (33.0, 0.28),
}
"""Median of the tumour's diameter in mm and standard deviation of its logarithm, by site."""

AGES = {"lung": 67, "colon": 66, "rectum": 63, "kidney": 60, "liver": 62, "pancreas": 66}
MEN = {"lung": 0.6, "colon": 0.52, "rectum": 0.55, "kidney": 0.65, "liver": 0.68, "pancreas": 0.55}
NO_TUMOUR_SHARE = 0.3
DIAMETER_LIMITS = (15.0, 80.0)


@dataclass(frozen=True)
class Tumour:
    """A tumour to paint: where in its organ (`place`, three numbers in 0..1), and how large (mm)."""

    site: str
    side: Side | None
    diameter_mm: float
    place: tuple[float, float, float]
    seed: int


@dataclass(frozen=True)
class Patient:
    """Everything a phantom is made from."""

    collection: str
    collection_name: str
    site: str
    index: int
    seed: int
    patient_id: str
    sex: Sex
    age: int
    height_cm: float
    frame: float
    """Width and depth of the frame relative to the average of the sex."""
    fat_mm: float
    """Thickness of the subcutaneous fat at the side of the waist."""
    phase: Phase
    range_name: str
    """Key of `RANGES`."""
    top: float
    bottom: float
    """Canonical height w of the covered range, mm."""
    tumour: Tumour | None
    absent: tuple[str, ...]
    enhancement: Enhancement

    @property
    def coverage(self) -> tuple[Region, Region]:
        """First and last covered region."""
        return RANGES[self.range_name][:2]

    @property
    def coverage_scale(self) -> tuple[float, float]:
        """Top and bottom of the range: 0 at the centre of T1, 1 at the centre of L5."""
        top, bottom = ((T1_LEVEL - level) / (T1_LEVEL - L5_LEVEL) for level in (self.top, self.bottom))
        return top, bottom


@dataclass(frozen=True)
class CollectionEntry:
    """What the phantoms need to know of a collection."""

    id: str
    name: str
    site: str
    licence: str
    doi: str


def find_config() -> Path:
    """Return the folder of the packaged tables: `config/` of the checkout, or the copy that the wheel carries."""
    checkout = Path(__file__).parents[3] / "config"
    return checkout if checkout.is_dir() else Path(guidegen.__file__).parent / "_workflow" / "config"


@cache
def list_collections(config_folder: Path | None = None) -> dict[str, CollectionEntry]:
    """Return the collections that phantoms can be made of, by id: those whose site the phantoms have a tumour for."""
    columns = ("collection", "name", "sets", "site", "licence", "doi")
    rows = read_tsv((config_folder or find_config()) / "collections.tsv", columns)
    return {
        row["collection"]: CollectionEntry(row["collection"], row["name"], row["site"], row["licence"], row["doi"])
        for row in rows
        if row["site"] in RANGE_SHARES
    }


def list_default_collections(config_folder: Path | None = None) -> list[str]:
    """Return the ids of the set `paper12`."""
    rows = read_tsv((config_folder or find_config()) / "collections.tsv", ("collection", "sets"))
    return [row["collection"] for row in rows if DEFAULT_SET in row["sets"].split(",")]


def make_patient(collection: str, index: int, seed: int, config_folder: Path | None = None) -> Patient:
    """Draw one patient; the same arguments give the same patient, whatever else is made.

    Raises:
        GuideGenError: the collection is unknown or of a site without a phantom tumour.
    """
    known = list_collections(config_folder)
    if collection not in known:
        raise GuideGenError(f"phantom: unknown collection '{collection}'; known are {', '.join(known)}")
    entry = known[collection]
    rng = derive_rng(seed, "phantom", collection, index)
    sex = Sex.MALE if rng.random() < MEN[entry.site] else Sex.FEMALE
    range_name = _pick(rng, RANGE_SHARES[entry.site])
    top, bottom = RANGES[range_name][2] + rng.uniform(-5, 8), RANGES[range_name][3] + rng.uniform(-8, 5)
    phases = dict(zip(Phase, PHASE_SHARES[entry.site], strict=True))
    absent = _draw_absent(rng)
    return Patient(
        collection=collection,
        collection_name=entry.name,
        site=entry.site,
        index=index,
        seed=seed,
        patient_id=_make_patient_id(collection, index, seed),
        sex=sex,
        age=int(np.clip(rng.normal(AGES[entry.site], 11), 24, 89)),
        height_cm=float(np.clip(rng.normal(176 if sex is Sex.MALE else 163, 6.5), 148, 198)),
        frame=float(np.clip(rng.normal(1.0, 0.045), 0.9, 1.11)),
        fat_mm=float(np.clip(rng.gamma(5.0, 3.6 if sex is Sex.MALE else 4.3), 6, 42)),
        phase=_pick(rng, phases),
        range_name=range_name,
        top=float(top),
        bottom=float(bottom),
        tumour=_draw_tumour(rng, entry.site, absent) if rng.random() >= NO_TUMOUR_SHARE else None,
        absent=absent,
        enhancement=draw_enhancement(rng, collection, entry.site),
    )


def _pick(rng: np.random.Generator, shares: dict[T, float]) -> T:
    keys = list(shares)
    return keys[int(rng.choice(len(keys), p=list(shares.values())))]


def _draw_absent(rng: np.random.Generator) -> tuple[str, ...]:
    absent = []
    if rng.random() < 0.12:
        absent.append("gallbladder")
    if rng.random() < 0.04:
        absent.append("left kidney" if rng.random() < 0.5 else "right kidney")
    return tuple(absent)


def _draw_tumour(rng: np.random.Generator, site: str, absent: tuple[str, ...]) -> Tumour:
    median, deviation = DIAMETERS[site]
    diameter = float(np.clip(median * np.exp(rng.normal(0, deviation)), *DIAMETER_LIMITS))
    side = None
    if site in ("lung", "kidney"):
        side = Side.RIGHT if rng.random() < (0.56 if site == "lung" else 0.5) else Side.LEFT
        if site == "kidney" and f"{side} kidney" in absent:
            side = Side.LEFT if side is Side.RIGHT else Side.RIGHT
    a, b, c = rng.random(3)
    return Tumour(site, side, diameter, (float(a), float(b), float(c)), int(rng.integers(2**31)))


def _make_patient_id(collection: str, index: int, seed: int) -> str:
    """Return an id in the style of the collection's programme; unique within it because the index is part of it."""
    rng = derive_rng(seed, "phantom", collection, "patient ids")
    if collection.startswith("tcga"):
        letters = "ABCDEFGHJKLMNPQRSTUVWXYZ"
        return (
            f"TCGA-P{letters[int(rng.integers(len(letters)))]}-{(int(rng.integers(1, 9000)) + 37 * index) % 10000:04d}"
        )
    return f"C3{'LN'[int(rng.integers(2))]}-{(int(rng.integers(1, 90000)) + 137 * index) % 100000:05d}"
