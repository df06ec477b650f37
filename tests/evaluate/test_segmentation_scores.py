import numpy as np
import pytest

from guidegen.evaluate.segmentation import score_labels

SPACING = (2.0, 2.0, 5.0)
CLASSES = 4


def make_labels() -> np.ndarray:
    labels = np.zeros((24, 24, 24), np.uint8)
    labels[4:12, 4:12, 4:12] = 1
    labels[14:20, 6:12, 6:16] = 2
    return labels


def score(predicted: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
    return score_labels(predicted, truth, SPACING, CLASSES, tolerance_mm=1.0)


def test_equal_maps_score_perfectly_and_absent_classes_not_at_all() -> None:
    found = score(make_labels(), make_labels())
    assert found["dice"][1:3].tolist() == [1.0, 1.0]
    assert found["hd95"][1:3].tolist() == [0.0, 0.0]
    assert found["surface_dice"][1:3].tolist() == [1.0, 1.0]
    assert all(np.isnan(found[metric][[0, 3]]).all() for metric in found)


def test_every_metric_gets_worse_with_every_further_shift() -> None:
    shifted = [score(np.roll(make_labels(), step, axis=0), make_labels()) for step in (0, 1, 2, 4)]
    for metric, sign in (("dice", -1), ("surface_dice", -1), ("hd95", 1)):
        values = np.array([found[metric][1] for found in shifted])
        assert (np.diff(sign * values) > 0).all(), (metric, values)


def test_shift_along_z_counts_in_millimetres() -> None:
    found = score(np.roll(make_labels(), 2, axis=2), make_labels())
    assert found["hd95"][1] == pytest.approx(10.0)


@pytest.mark.parametrize("where", ["prediction", "reference"])
def test_structure_in_one_map_only_gets_the_worst_score(where: str) -> None:
    full, empty = make_labels(), np.where(make_labels() == 2, 0, make_labels())
    found = score(empty, full) if where == "prediction" else score(full, empty)
    diagonal = float(np.linalg.norm(np.array([24, 24, 24]) * SPACING))
    assert (found["dice"][2], found["surface_dice"][2]) == (0.0, 0.0)
    assert found["hd95"][2] == pytest.approx(diagonal)
    assert found["dice"][1] == 1.0


def test_noise_lowers_dice() -> None:
    rng = np.random.default_rng(0)
    dice = [score(np.where(rng.random((24,) * 3) < p, 0, make_labels()), make_labels())["dice"][1] for p in (0.05, 0.3)]
    assert 1 > dice[0] > dice[1] > 0.5
