"""Sizes, sides, sites and gates on bodies whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest

from guidegen.mask.gates import LabelledCase, check_gates
from guidegen.mask.measure import find_absent, measure_diameter, measure_organs, measure_tumour, trace_spine
from guidegen.mask.resample import Grid
from guidegen.mask.settings import GateSettings
from guidegen.mask.trunk import find_trunk_box, find_trunk_mask
from guidegen.statements import Side


def paint_ball(shape, spacing, centre_mm, diameter_mm) -> np.ndarray:
    axes = np.ogrid[tuple(slice(0, n) for n in shape)]
    squares = sum(((a * s - c) ** 2 for a, s, c in zip(axes, spacing, centre_mm, strict=True)), np.zeros(1))
    return squares <= (diameter_mm / 2) ** 2


@pytest.mark.parametrize("diameter", [20.0, 27.0, 61.0])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 0.8, 5.0), (4.3, 4.3, 5.0)])
def test_diameter_of_a_ball(diameter, spacing):
    shape = tuple(int(90 / s) for s in spacing)
    ball = paint_ball(shape, spacing, (41.3, 40.7, 42.9), diameter)
    assert measure_diameter(ball, np.diag([*spacing, 1.0])) == pytest.approx(diameter, abs=0.6 * max(spacing))


def test_diameter_of_a_tilted_stick_and_of_one_voxel():
    stick = np.zeros((30, 30, 30), bool)
    stick[range(5, 25), range(5, 25), 10] = True
    assert measure_diameter(stick, np.eye(4)) == pytest.approx(19 * 2**0.5)
    one = np.zeros((3, 3, 3), bool)
    one[1, 1, 1] = True
    assert measure_diameter(one, np.diag([2.0, 2.0, 5.0, 1.0])) == 5.0


def make_body(labels, mirrored: bool = False) -> tuple[np.ndarray, np.ndarray, Grid]:
    """A torso of boxes, 100 × 60 × 90 voxels of 4 mm: source labels, HU (with table and arms), grid."""
    source = np.zeros((100, 60, 90), np.uint8)
    ct = np.full(source.shape, -1000, np.int16)
    ct[22:78, 15:50, :] = 40
    ct[5:15, 20:40, :] = 40
    ct[20:80, 5:8, :] = 100
    boxes = {
        "liver": (52, 72, 20, 45, 45, 62),
        "spleen": (26, 34, 20, 35, 48, 60),
        "kidney_right": (58, 66, 18, 26, 30, 44),
        "kidney_left": (34, 42, 18, 26, 32, 46),
        "stomach": (38, 50, 30, 45, 46, 58),
        "pancreas": (44, 56, 26, 30, 38, 44),
        "heart": (36, 52, 28, 44, 64, 76),
        "urinary_bladder": (44, 56, 30, 42, 4, 14),
        "aorta": (44, 48, 22, 26, 20, 80),
        "gallbladder": (56, 60, 40, 45, 40, 45),
        "vertebrae_T1": (47, 53, 16, 22, 84, 88),
        "vertebrae_L5": (47, 53, 16, 22, 14, 18),
    }
    for name, (x0, x1, y0, y1, z0, z1) in boxes.items():
        source[x0:x1, y0:y1, z0:z1] = labels.source_ids[name]
    if mirrored:
        source = source[::-1].copy()
    return source, ct, Grid(source.shape, np.diag([4.0, 4.0, 4.0, 1.0]))


def check(source, ct, grid, labels, **changes):
    torso = labels.source_to_torso[source]
    organs = measure_organs(torso, ct, grid, labels)
    return check_gates(LabelledCase(source, torso, grid, organs, None), labels, GateSettings(**changes))


def test_a_plausible_body_passes_all_gates(labels):
    source, ct, grid = make_body(labels)
    assert check(source, ct, grid, labels, volume_ml={}) == []


def test_a_mirrored_body_is_caught(labels):
    source, ct, grid = make_body(labels, mirrored=True)
    flags = check(source, ct, grid, labels, volume_ml={})
    assert {flag.split(":")[0] for flag in flags} == {"left_right"}
    assert "kidney_right lies" in flags[0]


def test_a_body_upside_down_is_caught(labels):
    source, ct, grid = make_body(labels)
    flags = check(source[:, :, ::-1].copy(), ct, grid, labels, volume_ml={})
    assert "order" in {flag.split(":")[0] for flag in flags}


def test_wrong_intensity_volume_parts_and_cut_organs_are_caught(labels):
    source, ct, grid = make_body(labels)
    ct[source == labels.source_ids["spleen"]] = -500
    source[90:100, 20:30, 40:50] = labels.source_ids["liver"]
    flags = check(source, ct, grid, labels, volume_ml={"liver": (1.0, 100.0)})
    assert {flag.split(":")[0] for flag in flags} == {"hu", "volume", "components", "truncated"}


@pytest.mark.parametrize(("sided", "side"), [("kidney_left", Side.LEFT), ("kidney_right", Side.RIGHT)])
def test_a_tumour_has_the_side_and_site_of_its_organ(sided, side, labels):
    source, _, grid = make_body(labels)
    centre = np.argwhere(source == labels.source_ids[sided]).mean(axis=0) * 4
    ball = paint_ball(source.shape, (4, 4, 4), centre + np.array([0, 0, 16]), 30)
    found = measure_tumour(ball, np.where(ball, 0, source), grid, labels, trace_spine(source, labels.source_ids))
    assert (found.site, found.side) == ("kidney", side)
    assert found.size_mm == pytest.approx(30, abs=3)
    assert found.volume_ml == pytest.approx(ball.sum() * 0.064)
    assert found.gap_mm <= 4


def test_a_large_tumour_belongs_to_the_collections_organ_that_it_touches(labels):
    source, _, grid = make_body(labels)
    centre = np.argwhere(source == labels.source_ids["kidney_right"]).mean(axis=0) * 4
    ball = paint_ball(source.shape, (4, 4, 4), centre + np.array([0, 0, 40]), 78)
    organs = np.where(ball, 0, source)
    assert measure_tumour(ball, organs, grid, labels, None).site == "liver"
    found = measure_tumour(ball, organs, grid, labels, None, "kidney")
    assert (found.site, found.side) == ("kidney", Side.RIGHT)


def test_a_tumour_far_from_all_organs_is_caught(labels):
    source, _, grid = make_body(labels)
    ball = paint_ball(source.shape, (4, 4, 4), (300, 80, 80), 20)
    tumour = measure_tumour(ball, source, grid, labels, trace_spine(source, labels.source_ids))
    assert tumour.site == ""
    torso = labels.source_to_torso[source]
    flags = check_gates(LabelledCase(source, torso, grid, {}, tumour), labels, GateSettings())
    assert [flag.split(":")[0] for flag in flags if "tumour" in flag] == ["tumour_place"]


def place_tumour(labels, source, grid, organ: str, site: str):
    """A tumour of 20 mm in the middle of an organ, in a collection whose cancer is of `site`."""
    centre = np.argwhere(source == labels.source_ids[organ]).mean(axis=0) * 4
    ball = paint_ball(source.shape, (4, 4, 4), centre, 20)
    return measure_tumour(ball, source, grid, labels, None, site)


def test_a_tumour_away_from_its_own_organ_is_caught_also_inside_another(labels):
    source, _, grid = make_body(labels)
    torso = labels.source_to_torso[source]

    def find_flags(organ: str, site: str, **changes: float) -> list[str]:
        tumour = place_tumour(labels, source, grid, organ, site)
        case = LabelledCase(source, torso, grid, {}, tumour)
        return check_gates(case, labels, GateSettings(**changes))  # type: ignore[arg-type]

    assert find_flags("kidney_left", "kidney") == []
    assert find_flags("liver", "kidney") == ["tumour_place:40 mm from the kidney; it lies in liver"]
    assert find_flags("liver", "kidney", tumour_touch_mm=45) == []
    assert find_flags("heart", "kidney") == ["tumour_place:more than 40 mm from the kidney; it lies in heart"]
    assert find_flags("heart", "ovary") == [], "the ovary has no class: any organ will do"
    assert find_flags("heart", "lung") == [], "no lung is labelled: any organ will do"


BROKEN = {
    "volume": ({"volume_ml": {"liver": (1.0, 100.0)}}, {"volume_ml": {"liver": (1.0, 5000.0)}}),
    "components": ({"components": {"spleen": 1}}, {"components": {"spleen": 2}}),
    "components by their size": ({"components": {"spleen": 1}}, {"components": {"spleen": 1}, "component_ml": 50.0}),
    "truncated": ({"truncated_ml": 5.0}, {"truncated_ml": 50.0}),
    "order": ({"order_margin_mm": 10.0}, {"order_margin_mm": 1000.0}),
    "left_right": ({"side_margin_mm": 10.0}, {"side_margin_mm": 1000.0}),
}
"""For each gate, settings that a broken body misses and settings that let it pass."""


@pytest.mark.parametrize("gate", list(BROKEN))
def test_each_gate_has_its_threshold_in_the_config(gate, labels):
    source, ct, grid = make_body(labels)
    if gate.startswith("components"):
        source[30:34, 40:44, 70:74] = labels.source_ids["spleen"]
    elif gate == "truncated":
        source[90:100, 20:30, 40:60] = labels.source_ids["aorta"]
    elif gate == "order":
        source[source == labels.source_ids["heart"]] = 0
        source[36:52, 28:44, 16:28] = labels.source_ids["heart"]
    elif gate == "left_right":
        source[source == labels.source_ids["spleen"]] = 0
        source[72:78, 20:35, 48:60] = labels.source_ids["spleen"]
    ct[source > 0] = 40  # intensities are another gate's
    strict, loose = BROKEN[gate]
    quiet = {"volume_ml": {}, "components": {}}
    flags = check(source, ct, grid, labels, **quiet | strict)
    assert {flag.split(":")[0] for flag in flags} - {"hu"} == {gate.split()[0]}, flags
    assert not [f for f in check(source, ct, grid, labels, **quiet | loose) if f.startswith(gate.split()[0])]


def test_the_intensity_gate_has_its_range_in_the_label_table(labels):
    source, ct, grid = make_body(labels)
    ct[source == labels.source_ids["spleen"]] = -500
    assert check(source, ct, grid, labels, volume_ml={}) == ["hu:spleen=-500 not in 0..220"]
    classes = tuple(replace(entry, hu_low=-600.0) if entry.name == "spleen" else entry for entry in labels.classes)
    assert check(source, ct, grid, replace(labels, classes=classes), volume_ml={}) == []


def test_organs_are_absent_only_where_their_place_is_covered(labels):
    source, _, grid = make_body(labels)
    source[source == labels.source_ids["gallbladder"]] = 0
    source[source == labels.source_ids["kidney_left"]] = 0
    from guidegen.mask.coverage import count_slices

    profiles = count_slices(source)
    organs = measure_organs(labels.source_to_torso[source], None, grid, labels)
    covered = find_absent(profiles, organs, labels, grid, top=0.0, bottom=1.3, least_ml=0.3)
    assert covered == ("gallbladder", "left kidney")
    assert find_absent(profiles, organs, labels, grid, top=0.0, bottom=0.5, least_ml=0.3) == ()
    alone = {"kidney": organs["kidney"]}
    assert find_absent(profiles, alone, labels, grid, top=0.0, bottom=1.3, least_ml=0.3) == ()


def test_the_trunk_box_leaves_table_and_arms_out(labels):
    source, ct, grid = make_body(labels)
    box = find_trunk_box(ct, labels.source_to_torso[source], grid, (0, 90), 0.0)
    assert box == (22, 78, 15, 50, 0, 90)


def test_the_trunk_mask_leaves_table_and_arms_out_and_holds_all_of_the_trunk_and_the_labels(labels):
    source, ct, grid = make_body(labels)
    trunk = np.zeros(ct.shape, bool)
    trunk[22:78, 15:50] = True
    np.testing.assert_array_equal(find_trunk_mask(ct, None, grid), trunk)
    fine = Grid((200, 120, 180), np.diag([2.0, 2.0, 2.0, 1.0]))
    large, whole = (np.kron(volume, np.ones((2, 2, 2), volume.dtype)) for volume in (ct, trunk))
    np.testing.assert_array_equal(find_trunk_mask(large, None, fine), whole)
    source[8, 30, 40] = labels.source_ids["liver"]
    assert find_trunk_mask(ct, source, grid)[8, 30, 40]
    assert find_trunk_mask(np.full(ct.shape, -1000, np.int16), None, grid).all(), "no body: nothing is cut away"


def test_the_trunk_box_holds_the_labels_where_there_is_no_ct(labels):
    source, _, grid = make_body(labels)
    assert find_trunk_box(None, labels.source_to_torso[source], grid, (0, 90), 0.0) == (26, 72, 16, 45, 0, 90)


def test_organ_medians_are_those_of_the_ct(labels):
    source, ct, grid = make_body(labels)
    rng = np.random.default_rng(0)
    ct = ct + rng.integers(-30, 30, ct.shape).astype(np.int16)
    torso = labels.source_to_torso[source]
    organs = measure_organs(torso, ct, grid, labels)
    for name, found in organs.items():
        mask = torso == labels.ids[name]
        assert found["hu"] == np.median(ct[mask])
        assert found["ml"] == pytest.approx(mask.sum() * 0.064, abs=1e-3)
