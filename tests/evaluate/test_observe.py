import numpy as np
import pytest

from guidegen.evaluate.observe import measure_diameter, median_hu, observe_case
from guidegen.statements import Side

SPACING = np.array([10.0, 10.0, 10.0])


@pytest.fixture
def torso(results):
    traits = results.draw_traits(np.random.default_rng(0), "kidney")
    traits = results.replace(traits, tumour=True, side=Side.LEFT, size_mm=100.0, absent=(), top=-0.1, bottom=1.4)
    return results.make_torso(traits, np.random.default_rng(0))


@pytest.fixture
def table(obedient_study):
    return obedient_study.labels


def test_mirrored_torso_has_its_tumour_on_the_other_side(torso, table) -> None:
    labels, ct, spacing = torso
    seen = observe_case(labels, ct, np.asarray(spacing), table)
    mirrored = observe_case(labels[::-1], ct[::-1], np.asarray(spacing), table)
    assert (seen.tumour_side, mirrored.tumour_side) == ("left", "right")
    assert seen.kidney == mirrored.kidney[::-1]


def test_medians_equal_numpys_on_a_finer_ct(torso, table) -> None:
    labels, ct, _ = torso
    fine = labels.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    found = median_hu(labels, ct, len(table))
    for k in np.unique(labels):
        assert abs(found[k] - np.median(ct[fine == k])) <= 1
    assert np.isnan(found[table.ids["pancreas"]])


def test_ct_that_is_no_multiple_of_the_labels_is_refused(torso, table) -> None:
    labels, ct, _ = torso
    with pytest.raises(ValueError, match="no multiple"):
        median_hu(labels, ct[:-1], len(table))


def test_organ_cut_off_by_the_border_shows_no_end_there(torso, table) -> None:
    labels, _, _ = torso
    liver = table.ids["liver"]
    top = np.argwhere(labels == liver)[:, 2].max()
    whole = observe_case(labels, None, SPACING, table)
    cut = observe_case(labels[:, :, : top - 1], None, SPACING, table)
    assert np.isfinite(whole.ends[liver]).all()
    assert np.isfinite(cut.ends[liver, 0])
    assert np.isnan(cut.ends[liver, 1])


def test_specks_do_not_change_the_tumour(torso, table) -> None:
    labels, ct, spacing = torso
    before = observe_case(labels, ct, np.asarray(spacing), table)
    labels = labels.copy()
    labels[0, 0, 0] = labels[-1, -1, -1] = table.ids["tumour"]
    after = observe_case(labels, ct, np.asarray(spacing), table)
    assert (before.tumour_voxels, before.tumour_mm) == (after.tumour_voxels, after.tumour_mm)


@pytest.mark.parametrize("radius", [2, 4, 8])
def test_diameter_of_a_ball(radius: int) -> None:
    grid = np.indices((20, 20, 20)) - 10
    points = np.argwhere((grid**2).sum(0) <= radius**2)
    assert measure_diameter(points, np.array([3.0, 3.0, 3.0])) == pytest.approx(3 * (2 * radius + 1), rel=0.02)
