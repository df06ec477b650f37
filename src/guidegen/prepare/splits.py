"""Patient-disjoint, stratified splits that never move a patient once placed."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from guidegen.atomic import write_text
from guidegen.errors import GuideGenError

SPLITS = ("train", "val", "test")
ALL_PATIENTS = ("all",)


@dataclass(frozen=True)
class Stratum:
    """What a split is balanced over."""

    collection: str
    sex: str
    coverage: str
    """First and last covered region, e.g. `chest-pelvis`."""

    def list_levels(self) -> tuple[tuple[str, ...], ...]:
        """Return the groups that the patient counts in, from all patients down to the full stratum."""
        return (
            ALL_PATIENTS,
            ("collection", self.collection),
            ("sex", self.sex),
            ("coverage", self.coverage),
            ("stratum", self.collection, self.sex, self.coverage),
        )


def assign_splits(
    strata: Mapping[str, Stratum], placed: Mapping[str, tuple[str, Stratum]], shares: Mapping[str, float], seed: int
) -> dict[str, str]:
    """Place patients that have no split yet.

    New patients come in the order of the hash of seed and patient. Each goes where its groups (all, collection, sex,
    coverage, full stratum) together fall most short of the shares, as in minimisation (Pocock and Simon, Biometrics
    1975); so small strata do not all round to the same split. While a split is empty, the last new patients are kept
    for it.

    Args:
        strata: stratum of each patient of today's cohort.
        placed: split and stratum of each patient that was placed before; they are never moved.
        shares: wanted share of each split; a split with share 0 stays empty.
        seed: `study.seed`.

    Returns:
        Split of each patient in `strata`.
    """
    counts: Counter[tuple[tuple[str, ...], str]] = Counter()
    for split, stratum in placed.values():
        counts.update((level, split) for level in stratum.list_levels())
    new = sorted(set(strata) - set(placed), key=lambda patient: _hash_patient(seed, patient))
    result = {patient: placed[patient][0] for patient in strata if patient in placed}
    for index, patient in enumerate(new):
        used = [split for split in SPLITS if shares[split] > 0]
        empty = [split for split in used if not counts[ALL_PATIENTS, split]]
        allowed = empty if len(new) - index <= len(empty) else used
        levels = strata[patient].list_levels()
        best = max(allowed, key=lambda split: sum(_measure_lack(counts, level, split, shares) for level in levels))
        counts.update((level, best) for level in levels)
        result[patient] = best
    return result


def _measure_lack(counts: Counter, level: tuple[str, ...], split: str, shares: Mapping[str, float]) -> float:
    total = sum(counts[level, name] for name in SPLITS)
    return shares[split] * (total + 1) - counts[level, split]


def _hash_patient(seed: int, patient: str) -> str:
    return hashlib.sha256(f"{seed}\x1f{patient}".encode()).hexdigest()


def read_splits(path: Path) -> dict[str, tuple[str, Stratum]]:
    """Read the state file; empty where there is none yet. Raises GuideGenError where it cannot be trusted."""
    if not path.is_file():
        return {}
    try:
        patients = json.loads(path.read_text(encoding="utf-8"))["patients"]
        found = {name: (entry["split"], Stratum(*entry["stratum"])) for name, entry in patients.items()}
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise GuideGenError(
            f"{path}: not a splits file ({error}); restore it from git, because a new one would move patients"
        ) from None
    unknown = sorted({split for split, _ in found.values()} - set(SPLITS))
    if unknown:
        raise GuideGenError(f"{path}: unknown split '{unknown[0]}'; expected {', '.join(SPLITS)}")
    return found


def write_splits(path: Path, splits: Iterable[tuple[str, str, Stratum]]) -> None:
    """Write the state file, sorted by patient, one patient per line so that a diff shows who was added."""
    lines = [
        f"  {json.dumps(patient)}: "
        + json.dumps({"split": split, "stratum": [stratum.collection, stratum.sex, stratum.coverage]})
        for patient, split, stratum in sorted(splits, key=lambda entry: entry[0])
    ]
    write_text(path, '{"patients": {\n' + ",\n".join(lines) + "\n}}\n")
