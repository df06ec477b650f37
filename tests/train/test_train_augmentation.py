"""Augmented label maps of stage I."""

import numpy as np
import pytest
import torch
from fresh_stages import build_stage
from hypothesis import given, settings
from hypothesis import strategies as st

from guidegen.study import Study
from guidegen.train.augmentation import turn_and_shift
from guidegen.train.settings import AugmentationSettings

SIDE = 24


class Fixed:
    """In the place of a random generator: the angles (degrees), then the shifts (shares of the grid)."""

    def __init__(self, angles, shift):
        self.draws = [np.array(angles, float), np.array(shift, float)]

    def uniform(self, *_):
        return self.draws.pop(0)


def make_torso():
    """One box per direction, none of which is another's mirror image."""
    labels = torch.zeros(SIDE, SIDE, SIDE, dtype=torch.long)
    labels[2:8, 10:14, 10:14] = 1
    labels[10:14, 16:22, 10:14] = 2
    labels[10:14, 10:14, 16:22] = 3
    return labels


def find_centre(labels, number):
    return np.argwhere(labels.numpy() == number).mean(0) - (SIDE - 1) / 2


def test_nothing_drawn_changes_nothing():
    labels = make_torso()
    assert torch.equal(turn_and_shift(labels, (3.0, 3.0, 5.0), AugmentationSettings(), Fixed([0] * 3, [0] * 3)), labels)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_shift_moves_along_its_axis(axis):
    labels, shift = make_torso(), [0, 0, 0]
    shift[axis] = 2 / SIDE
    moved = turn_and_shift(labels, None, AugmentationSettings(), Fixed([0] * 3, shift))
    assert torch.equal(moved, labels.roll(-2, axis)), "what is drawn is where the new grid looks"


def test_angles_are_those_of_the_body_not_of_the_grid():
    """Turned by 90 degrees about z, a box 12 mm from the middle along x lies 12 mm from it along y."""
    labels, spacing = make_torso(), (2.0, 3.0, 5.0)
    turned = turn_and_shift(labels, spacing, AugmentationSettings(), Fixed([0, 0, 90], [0] * 3))
    before, after = (find_centre(part, 1) * spacing for part in (labels, turned))
    assert np.abs(after)[1] == pytest.approx(np.abs(before)[0], abs=1.5)
    assert np.abs(after)[0] < 1.5
    assert after[2] == pytest.approx(before[2], abs=0.1)


@given(st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_no_change_mirrors(seed):
    labels = make_torso()
    changes = AugmentationSettings(rotation=30, shift=0.1)
    changed = turn_and_shift(labels, (3.0, 3.0, 5.0), changes, np.random.default_rng(seed))
    assert set(changed.unique().tolist()) <= {0, 1, 2, 3}
    arms = np.stack([find_centre(changed, n) for n in (1, 2, 3)]) - np.mean(
        [find_centre(changed, n) for n in (1, 2, 3)], axis=0
    )
    before = np.stack([find_centre(labels, n) for n in (1, 2, 3)])
    before -= before.mean(0)
    turn = np.sign(np.cross(arms[0], arms[1]) @ np.cross(before[0], before[1]))
    assert turn > 0, "right-handed stays right-handed"


def test_batches_differ_and_can_be_drawn_again(trained_study):
    stage = build_stage("semantic_synthesizer", Study.load(trained_study))
    plain = stage.draw_batch(3)
    stage.settings = stage.settings.model_copy(update={"augmentation": AugmentationSettings(rotation=10, shift=0.05)})
    drawn = stage.draw_batch(3)
    assert drawn.cases == plain.cases
    assert not torch.equal(drawn.labels, plain.labels)
    assert (drawn.labels == plain.labels).float().mean() > 0.5
    assert torch.equal(stage.draw_batch(3).labels, drawn.labels)
    again = next(index for index in range(4, 40) if stage.draw_batch(index).cases[0] == drawn.cases[0])
    assert not torch.equal(stage.draw_batch(again).labels[0], drawn.labels[0])
