from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guidegen.errors import GuideGenError
from guidegen.prepare.splits import SPLITS, Stratum, assign_splits, read_splits, write_splits

SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}
strata = st.builds(
    Stratum,
    collection=st.sampled_from(["tcga_kirc", "tcga_lihc", "cptac_pda"]),
    sex=st.sampled_from(["female", "male", ""]),
    coverage=st.sampled_from(["chest-pelvis", "chest-upper abdomen", "-"]),
)
cohorts = st.dictionaries(st.from_regex(r"[A-Z0-9-]{1,8}", fullmatch=True), strata, min_size=1, max_size=60)


@given(cohorts, st.integers(0, 2**32))
def test_fresh_cohort_fills_every_split_once_there_are_enough_patients(patients: dict, seed: int) -> None:
    splits = assign_splits(patients, {}, SHARES, seed)
    assert set(splits) == set(patients)
    assert len(set(splits.values())) == min(len(patients), 3)


@given(cohorts, cohorts, st.integers(0, 2**32))
def test_adding_patients_never_moves_an_old_one(old: dict, new: dict, seed: int) -> None:
    first = assign_splits(old, {}, SHARES, seed)
    placed = {patient: (split, old[patient]) for patient, split in first.items()}
    second = assign_splits({**new, **old}, placed, SHARES, seed)
    assert {patient: second[patient] for patient in old} == first


@given(cohorts, cohorts)
def test_a_patient_who_left_and_came_back_is_where_they_were(old: dict, other: dict) -> None:
    first = assign_splits(old, {}, SHARES, 1)
    placed = {patient: (split, old[patient]) for patient, split in first.items()}
    assign_splits(other, placed, SHARES, 1)
    assert assign_splits(old, placed, SHARES, 1) == first


@given(cohorts, st.randoms())
def test_order_of_the_patients_does_not_matter(patients: dict, random) -> None:
    shuffled = list(patients.items())
    random.shuffle(shuffled)
    assert assign_splits(dict(shuffled), {}, SHARES, 7) == assign_splits(patients, {}, SHARES, 7)


def test_shares_hold_overall_and_within_each_collection_and_sex() -> None:
    patients = {
        f"P{number:04d}": Stratum(f"c{number % 4}", "female" if number % 3 else "male", "chest-pelvis")
        for number in range(400)
    }
    splits = assign_splits(patients, {}, SHARES, 3)
    for group in ("c0", "c1", "c2", "c3", "female", "male"):
        members = [p for p, stratum in patients.items() if group in (stratum.collection, stratum.sex)]
        counts = Counter(splits[patient] for patient in members)
        for split in SPLITS:
            assert abs(counts[split] / len(members) - SHARES[split]) < 0.03, (group, counts)


def test_small_strata_do_not_all_go_to_one_split() -> None:
    """Ninety-six patients in strata of two or three: every collection still has training and held-out patients."""
    patients = {f"P{n:03d}": Stratum(f"c{n % 12}", ("female", "male")[n // 12 % 2], "chest-pelvis") for n in range(96)}
    splits = assign_splits(patients, {}, SHARES, 1)
    counts = Counter(splits.values())
    assert abs(counts["train"] - 67) <= 3
    assert abs(counts["test"] - 19) <= 3
    tested = {patients[patient].collection for patient, split in splits.items() if split == "test"}
    assert len(tested) >= 10


def test_a_split_with_no_share_stays_empty() -> None:
    patients = {f"P{number}": Stratum("c", "", "") for number in range(20)}
    splits = assign_splits(patients, {}, {"train": 0.8, "val": 0.0, "test": 0.2}, 1)
    assert Counter(splits.values())["val"] == 0


def test_state_file_comes_back_equal_and_is_refused_when_damaged(tmp_path: Path) -> None:
    path = tmp_path / "splits.json"
    entries = [("B", "test", Stratum("c", "male", "x")), ("A", "train", Stratum("c", "", "-"))]
    write_splits(path, entries)
    assert read_splits(path) == {patient: (split, stratum) for patient, split, stratum in entries}
    path.write_text(path.read_text().replace("train", "trian"))
    with pytest.raises(GuideGenError, match="trian"):
        read_splits(path)
    path.write_text("{")
    with pytest.raises(GuideGenError, match="restore it from git"):
        read_splits(path)
