import numpy as np
import pytest
from fabricated_study import CONFIG, SPACING, make_volume

from guidegen.labels import load_labels
from guidegen.synthesize.gates import Reference, check_pair, list_failed, measure_volumes
from guidegen.synthesize.settings import GateSettings

TABLE = load_labels(CONFIG)
SETTINGS = GateSettings()  # type: ignore[call-arg]
WHOLE = {"coverage_first": "chest", "coverage_last": "pelvis"}


@pytest.fixture(scope="module")
def reference() -> Reference:
    rng = np.random.default_rng(0)
    volumes = [measure_volumes(make_volume(rng)[1], SPACING, len(TABLE)) for _ in range(6)]
    return Reference(np.array(volumes), (("chest", "pelvis"),) * 6)


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    return make_volume(np.random.default_rng(9))


def run(ct: np.ndarray | None, labels: np.ndarray, reference: Reference | None = None, **statements) -> dict:
    results = check_pair(labels, ct, SPACING, TABLE, SETTINGS, reference, {**WHOLE, **statements})
    return {name: result.passed for name, result in results.items()}


def test_a_plausible_pair_passes_every_gate(pair, reference: Reference) -> None:
    ct, labels = pair
    assert run(ct, labels, reference) == {"volume": True, "left_right": True, "order": True, "hu": True}


def test_mirror_image_fails_left_right_and_nothing_else(pair, reference: Reference) -> None:
    ct, labels = pair
    expected = {"volume": True, "left_right": False, "order": True, "hu": True}
    assert run(ct[::-1], labels[::-1], reference) == expected


def test_upside_down_fails_order(pair, reference: Reference) -> None:
    ct, labels = pair
    result = run(ct[:, :, ::-1], labels[:, :, ::-1], reference)
    assert result["order"] is False
    assert result["left_right"] is True


def test_swapped_organs_fail(pair, reference: Reference) -> None:
    ct, labels = pair
    swapped = labels.copy()
    swapped[labels == 3], swapped[labels == 1] = 1, 3
    assert run(ct, swapped, reference)["left_right"] is False


def test_wrong_hu_fails_the_image_gate_only(pair, reference: Reference) -> None:
    ct, labels = pair
    assert run(ct - 400, labels, reference) == {"volume": True, "left_right": True, "order": True, "hu": False}
    assert run(np.zeros_like(ct), labels, reference)["hu"] is False


def test_empty_map_fails_and_says_so(pair, reference: Reference) -> None:
    ct, labels = pair
    results = check_pair(np.zeros_like(labels), ct, SPACING, TABLE, SETTINGS, reference, WHOLE)
    assert any("volume" in text and "0 ml" in text for text in list_failed(results))


def test_shrunken_organs_fail_volume(pair, reference: Reference) -> None:
    ct, labels = pair
    small = labels.copy()
    keep = np.zeros(labels.shape, bool)
    keep[::3, ::3, ::2] = True
    small[~keep] = 0
    assert run(ct, small, reference)["volume"] is False


def test_organ_said_to_be_absent_is_not_expected(pair, reference: Reference) -> None:
    strict = SETTINGS.model_copy(update={"volume_share": 1.0})
    ct, labels = pair
    without = np.where(labels == 1, 0, labels).astype(np.uint8)
    expected = check_pair(without, ct, SPACING, TABLE, strict, reference, WHOLE)
    stated = check_pair(without, ct, SPACING, TABLE, strict, reference, {**WHOLE, "absent": ["spleen"]})
    assert expected["volume"].passed is False
    assert stated["volume"].passed is True


def test_partial_scan_is_compared_with_its_like() -> None:
    """A chest scan has no bladder, and is not asked for one while there are other chest scans to compare with."""
    rng = np.random.default_rng(0)
    whole = [measure_volumes(make_volume(rng)[1], SPACING, 21) for _ in range(6)]
    chest = [measure_volumes(make_volume(rng, chest=True)[1], SPACING, 21) for _ in range(6)]
    coverage = (("chest", "pelvis"),) * 6 + (("chest", "upper abdomen"),) * 6
    reference = Reference(np.array(whole + chest), coverage)
    ct, labels = make_volume(np.random.default_rng(9), chest=True)
    result = run(ct, labels, reference, coverage_last="upper abdomen")
    assert result["volume"] is True
    assert run(ct, labels, reference)["volume"] is False


def test_gates_that_cannot_judge_say_neither_yes_nor_no() -> None:
    labels = np.zeros((16, 16, 16), np.uint8)
    labels[4:8, 4:8, 4:8] = 9
    assert run(None, labels) == {"volume": None, "left_right": None, "order": None, "hu": None}


def test_ct_may_be_twice_as_fine(pair) -> None:
    ct, labels = pair
    fine = ct.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    assert run(fine, labels)["hu"] is True
