from dataclasses import replace

import numpy as np
import pytest
from fabricated_study import CONFIG, SPACING, make_volume
from scipy import ndimage
from torch import nn

from guidegen.labels import load_labels
from guidegen.segment.settings import SegmentSettings
from guidegen.synthesize.agreement import RealSegmenter
from guidegen.synthesize.gates import Gates, list_failed
from guidegen.synthesize.image_measures import measure_noise, measure_seams, measure_sharpness
from guidegen.synthesize.pair import GateResult, Pair
from guidegen.synthesize.reference import Reference, measure_volumes
from guidegen.synthesize.settings import GateSettings

TABLE = load_labels(CONFIG)
SETTINGS = GateSettings()  # type: ignore[call-arg]
WHOLE = {"coverage_first": "chest", "coverage_last": "pelvis"}
GATES = ("volume", "components", "left_right", "order", "tumour", "hu", "noise", "seams", "agreement", "prompt")


class PerfectSegmenter(RealSegmenter):
    """Says what was in the label map that belongs to the CT."""

    def predict(self, pair: Pair) -> np.ndarray:
        return self.truth  # type: ignore[attr-defined]


def make_reference(chest: int = 0) -> Reference:
    rng = np.random.default_rng(0)
    pairs = [make_volume(rng) for _ in range(6)] + [make_volume(rng, chest=True) for _ in range(chest)]
    coverage = (("chest", "pelvis"),) * 6 + (("chest", "upper abdomen"),) * chest
    volumes = [measure_volumes(labels, SPACING, len(TABLE)) for _, labels in pairs]
    made = [Pair(labels, ct, SPACING) for ct, labels in pairs]
    noise, seams = [measure_noise(pair) for pair in made], [measure_seams(pair, TABLE) for pair in made]
    steps, sharpness = [seam[0] for seam in seams if seam], [measure_sharpness(pair) for pair in made]
    return Reference(np.array(volumes), coverage, *(np.array(each, float) for each in (noise, steps, sharpness)))


@pytest.fixture(scope="module")
def reference() -> Reference:
    return make_reference()


@pytest.fixture
def pair() -> Pair:
    ct, labels = make_volume(np.random.default_rng(9))
    return Pair(labels, ct, SPACING, WHOLE)


def judge(truth: np.ndarray) -> RealSegmenter:
    segmenter = PerfectSegmenter(nn.Identity(), SegmentSettings(), 0.8)  # type: ignore[call-arg]
    object.__setattr__(segmenter, "truth", truth)
    return segmenter


def check(pair: Pair, reference: Reference | None = None, segmenter: RealSegmenter | None = None, **changed) -> dict:
    return Gates(TABLE, SETTINGS.model_copy(update=changed), reference, segmenter).check(pair)


def failing(pair: Pair, reference: Reference | None = None, **changed) -> set[str]:
    return {name for name, result in check(pair, reference, **changed).items() if result.passed is False}


def state(pair: Pair, **statements: object) -> Pair:
    return replace(pair, statements={**WHOLE, **statements})


def change_labels(pair: Pair, labels: np.ndarray) -> Pair:
    return replace(pair, labels=labels.astype(np.uint8))


def test_a_plausible_pair_passes_every_gate(pair: Pair, reference: Reference) -> None:
    said = state(pair, tumour=True, site="liver", tumour_size_mm=60)
    assert {name: r.passed for name, r in check(said, reference, judge(pair.labels)).items()} == dict.fromkeys(
        GATES, True
    )


def test_mirror_image_fails_left_right_and_nothing_else(pair: Pair, reference: Reference) -> None:
    assert failing(replace(pair, labels=pair.labels[::-1], ct=pair.ct[::-1]), reference) == {"left_right"}


def test_upside_down_fails_order(pair: Pair, reference: Reference) -> None:
    assert failing(replace(pair, labels=pair.labels[:, :, ::-1], ct=pair.ct[:, :, ::-1]), reference) == {"order"}


def test_swapped_organs_fail(pair: Pair, reference: Reference) -> None:
    swapped = pair.labels.copy()
    swapped[pair.labels == 3], swapped[pair.labels == 1] = 1, 3
    assert "left_right" in failing(change_labels(pair, swapped), reference)


def test_wrong_hu_fails_the_hu_gate_only(pair: Pair, reference: Reference) -> None:
    assert failing(replace(pair, ct=pair.ct - 400), reference) == {"hu"}
    assert "hu" in failing(replace(pair, ct=np.zeros_like(pair.ct)), reference)


def test_noise_and_blur_fail_the_noise_gate(pair: Pair, reference: Reference) -> None:
    noise = np.random.default_rng(1).normal(0, 80, pair.ct.shape).astype(np.int16)
    assert failing(replace(pair, ct=pair.ct + noise), reference) == {"noise"}
    blurred = check(replace(pair, ct=ndimage.gaussian_filter(pair.ct, 2)), reference)["noise"]
    assert blurred.passed is False
    assert "borders blurred" in blurred.details[0]
    flat = pair.ct.copy()
    for index in np.unique(pair.labels):
        flat[pair.labels == index] = np.median(pair.ct[pair.labels == index])
    assert "noise" in failing(replace(pair, ct=flat), reference)


def test_noise_is_measured_in_hu() -> None:
    labels = np.ones((40, 40, 40), np.uint8)
    ct = np.rint(np.random.default_rng(0).normal(50, 25, labels.shape)).astype(np.int16)
    assert measure_noise(Pair(labels, ct, SPACING)) == pytest.approx(25, rel=0.03)
    assert measure_noise(Pair(np.zeros_like(labels), ct, SPACING)) is None


def test_sharpness_is_the_share_of_a_border_that_lies_between_its_two_voxels() -> None:
    labels = np.zeros((40, 40, 40), np.uint8)
    labels[20:] = 1
    step = np.where(labels, 100, -900).astype(np.int16)
    assert measure_sharpness(Pair(labels, step, SPACING)) == 1
    ramp = np.broadcast_to(np.arange(-400, 400, 20, np.int16)[:, None, None] * 2, labels.shape)
    assert measure_sharpness(Pair(labels, ramp, SPACING)) == pytest.approx(1 / 5)
    assert measure_sharpness(Pair(labels, np.zeros_like(step), SPACING)) is None


@pytest.mark.parametrize(("axis", "middle"), [(0, 31), (1, 18), (2, 31)])
def test_a_tile_that_was_decoded_apart_fails_the_seam_gate_which_names_the_plane(
    pair: Pair, reference: Reference, axis: int, middle: int
) -> None:
    shifted = np.moveaxis(pair.ct.copy(), axis, 0)
    shifted[middle:] += 120
    gates = check(replace(pair, ct=np.moveaxis(shifted, 0, axis)), reference)
    assert gates["seams"].passed is False
    assert f"at {'xyz'[axis]} = {middle - 1}" in gates["seams"].details[0]


def test_organ_in_pieces_fails_components_and_a_tumour_does_not_cut_it(pair: Pair, reference: Reference) -> None:
    liver = np.argwhere(pair.labels == 3)
    middle = int(np.median(liver[:, 0]))
    cut = pair.labels.copy()
    cut[middle : middle + 2][cut[middle : middle + 2] == 3] = 0
    cut[middle : middle + 2][cut[middle : middle + 2] == 20] = 0
    assert "components" in failing(change_labels(pair, cut), reference)
    cut[middle : middle + 2][pair.labels[middle : middle + 2] == 3] = 20
    assert "components" not in failing(change_labels(pair, cut), reference)


def test_empty_map_fails_and_says_so(pair: Pair, reference: Reference) -> None:
    gates = check(change_labels(state(pair, tumour=True), np.zeros_like(pair.labels)), reference)
    told = " ".join(list_failed(gates, GATES))
    assert "0 ml" in told
    assert "tumour (asked for, not there)" in told


def test_shrunken_organs_fail_volume(pair: Pair, reference: Reference) -> None:
    keep = np.zeros(pair.labels.shape, bool)
    keep[::3, ::3, ::2] = True
    assert "volume" in failing(change_labels(pair, np.where(keep, pair.labels, 0)), reference)


def test_organ_said_to_be_absent_is_not_expected_and_must_not_be_there(pair: Pair, reference: Reference) -> None:
    without = change_labels(pair, np.where(pair.labels == 1, 0, pair.labels))
    assert "volume" in failing(without, reference, volume_share=1.0)
    assert "volume" not in failing(state(without, absent=["spleen"]), reference, volume_share=1.0)
    assert failing(state(pair, absent=["spleen"]), reference) == {"prompt"}
    kidney = pair.labels == 2
    left = kidney & (np.arange(kidney.shape[0]) < kidney.shape[0] // 2)[:, None, None]
    one = change_labels(pair, np.where(left, 0, pair.labels))
    assert "prompt" not in failing(state(one, absent=["left kidney"]), reference)
    assert "prompt" in failing(state(one, absent=["right kidney"]), reference)


def test_partial_scan_is_compared_with_its_like() -> None:
    """A chest scan has no bladder, and is not asked for one while there are other chest scans to compare with."""
    reference = make_reference(chest=6)
    ct, labels = make_volume(np.random.default_rng(9), chest=True)
    chest = Pair(labels, ct, SPACING, {**WHOLE, "coverage_last": "upper abdomen"})
    assert not failing(chest, reference)
    assert {"volume", "prompt"} <= failing(replace(chest, statements=WHOLE), reference)


@pytest.mark.parametrize(
    ("said", "passes"),
    [
        ({"tumour": True}, True),
        ({"tumour": False}, False),
        ({"tumour": True, "site": "liver"}, True),
        ({"tumour": True, "site": "urinary bladder"}, False),
        ({"tumour": True, "site": "kidney", "side": "left"}, False),
        ({"tumour": True, "tumour_size_mm": 60}, True),
        ({"tumour": True, "tumour_size_mm": 12}, False),
    ],
)
def test_tumour_is_where_and_as_large_as_the_prompt_says(pair: Pair, said: dict, passes: bool) -> None:
    assert (not failing(state(pair, **said)) & {"tumour", "prompt"}) == passes


def test_labels_that_the_segmenter_does_not_find_fail_agreement(pair: Pair) -> None:
    shifted = np.roll(pair.labels, 8, 0)
    gates = check(pair, None, judge(shifted))
    assert gates["agreement"].passed is False
    assert "instead of 0.56" in gates["agreement"].details[0]
    assert check(pair, None, judge(pair.labels))["agreement"] == GateResult(True, (), 1.0)


def test_gates_that_cannot_judge_say_neither_yes_nor_no_but_why() -> None:
    labels = np.zeros((16, 16, 16), np.uint8)
    labels[4:8, 4:8, 4:8] = 14
    gates = check(Pair(labels, None, SPACING))
    assert {name: result.passed for name, result in gates.items()} == dict.fromkeys(GATES, None)
    assert all(result.details for result in gates.values())


def test_only_required_gates_reject(pair: Pair, reference: Reference) -> None:
    gates = check(replace(pair, ct=pair.ct - 400), reference)
    assert [text.partition(" ")[0] for text in list_failed(gates, ["hu", "order"])] == ["hu"]
    assert list_failed(gates, ["order"]) == []


def test_ct_may_be_twice_as_fine(pair: Pair, reference: Reference) -> None:
    assert pair.ct is not None
    fine = ndimage.zoom(pair.ct, 2, order=1, grid_mode=True, mode="nearest")
    assert failing(replace(pair, ct=fine)) == set()
