"""Names are safe as file names, tell patients apart, and never change."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from guidegen.errors import GuideGenError
from guidegen.ids import LONGEST_PATIENT, assign_shard, clean_patient, make_case_id, make_pseudonym

PATIENT = st.text(max_size=250).filter(str.strip)


@given(PATIENT)
@example("../../etc/passwd")
@example("-rf")
@example("..")
@example("x" * 200)
@example("Müller^Jürgen")
@example("患者")
@example("TCGA_34_2605\x00")
@example("\ud800")
def test_a_patient_part_is_safe_everywhere(patient_id: str) -> None:
    clean = clean_patient(patient_id)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*", clean)
    assert len(clean) <= LONGEST_PATIENT
    assert clean_patient(clean) == clean


@given(PATIENT, PATIENT)
@example("a/b", "a b")
@example("x" * 200, "x" * 201)
@example(".a", "a")
def test_two_patients_never_become_one(first: str, second: str) -> None:
    assert (clean_patient(first) == clean_patient(second)) == (first == second)


@pytest.mark.parametrize("patient_id", ["TCGA-34-2605", "C3L-00189", "CRLM-CT-1006", "s0327", "1.2.840"])
def test_ordinary_ids_stay_as_they_are(patient_id: str) -> None:
    assert clean_patient(patient_id) == patient_id


@pytest.mark.parametrize("patient_id", ["", " ", "\t\n"])
def test_an_empty_id_is_refused(patient_id: str) -> None:
    with pytest.raises(GuideGenError, match="PatientID is empty"):
        clean_patient(patient_id)


def test_a_case_id_is_collection_patient_and_series() -> None:
    case = make_case_id("tcga_lusc", "TCGA-34-2605", "1.3.6.1.4.1.14519.5.2.1.1")
    assert re.fullmatch(r"tcga_lusc__TCGA-34-2605__[0-9a-f]{8}", case)
    assert case == make_case_id("tcga_lusc", "TCGA-34-2605", "1.3.6.1.4.1.14519.5.2.1.1")
    assert case != make_case_id("tcga_lusc", "TCGA-34-2605", "1.3.6.1.4.1.14519.5.2.1.2")
    assert case.split("__") == ["tcga_lusc", clean_patient("TCGA-34-2605"), case[-8:]]


@given(PATIENT, st.integers(1, 2000))
def test_a_shard_depends_on_patient_and_count_only(patient_id: str, count: int) -> None:
    shard = assign_shard(clean_patient(patient_id), count)
    assert re.fullmatch(r"s\d{3,}", shard)
    assert int(shard[1:]) < count


def test_shards_are_of_even_size() -> None:
    sizes = [0] * 5
    for number in range(1000):
        sizes[int(assign_shard(f"P-{number}", 5)[1:])] += 1
    assert min(sizes) > 160


def test_shards_stay_where_they_were() -> None:
    """Golden: a changed hash would move the patients of every study there is."""
    assert [assign_shard(p, 7) for p in ("TCGA-34-2605", "C3L-00189", "s0327")] == ["s002", "s001", "s001"]


def test_a_pseudonym_needs_its_key() -> None:
    name = make_pseudonym(b"key", "Doe^Jane")
    assert re.fullmatch(r"[0-9a-f]{12}", name)
    assert name == make_pseudonym(b"key", "Doe^Jane") != make_pseudonym(b"other", "Doe^Jane")
