"""The layout: measured on label maps, drawn as balls and shown to stage I."""

import math

import numpy as np
import pytest
import torch
from tiny import BINDING, CLASSES, EMPTY, SYNTHESIZER, make_states, shake

from guidegen.models.layout import SCALE, draw_balls, measure_layout
from guidegen.models.prompt_reader import summarise_text
from guidegen.models.semantic_synthesizer import SemanticSynthesizer

C = len(CLASSES)
LAYOUT = SYNTHESIZER.model_copy(update={"layout": True})


def make_map(side: int = 16) -> torch.Tensor:
    """A map with a block of class 1 at low x and high z, and nothing of the other classes."""
    labels = torch.zeros(1, side, side, side, dtype=torch.long)
    labels[0, 2:6, 6:10, 10:14] = 1
    return labels


def test_volume_and_centre_of_each_class():
    facts, known = measure_layout(make_map(), C)
    assert facts[0, 1, 0] == pytest.approx(math.log1p(64 / 16**3 * SCALE), rel=1e-5)
    assert facts[0, 1, 1:].tolist() == pytest.approx([-0.533, 0.0, 0.533], abs=1e-3)
    assert known[0, :2].tolist() == [[1] * 4] * 2
    assert known[0, 2].tolist() == [1, 0, 0, 0], "the centre of what is not there is unknown, its volume is 0"
    assert facts[0, 2, 0] == 0


def test_balls_lie_where_the_class_does_and_vanish_with_it():
    facts, _ = measure_layout(make_map(), C)
    balls = draw_balls(facts, 16)
    assert balls.shape == (1, C, 16, 16, 16)
    assert balls.min() >= 0
    assert balls.max() <= 1
    highest = np.unravel_index(int(balls[0, 1].argmax()), (16, 16, 16))
    assert all(abs(int(found) - wanted) <= 1 for found, wanted in zip(highest, (4, 8, 12), strict=True))
    assert balls[0, 1, 4, 8, 12] > 0.9
    assert balls[0, 2].max() == 0


def test_a_larger_class_makes_a_larger_ball():
    small, large = (torch.tensor([[[math.log1p(share * SCALE), 0.0, 0.0, 0.0]]]) for share in (0.001, 0.03))
    assert draw_balls(large, 16).sum() > 5 * draw_balls(small, 16).sum()


def test_stage_one_sees_the_layout_only_of_a_prompt():
    torch.manual_seed(0)
    model = shake(SemanticSynthesizer(LAYOUT, BINDING, EMPTY))
    assert isinstance(model, SemanticSynthesizer)
    conditions = model.conditioning.pack([make_states(1)], [None], [None])
    noisy, times = torch.zeros(1, 16, 16, 16, dtype=torch.long), torch.tensor([60])
    true = measure_layout(make_map(), C)[0]

    def predict(told, layout=None):
        with torch.inference_mode():
            return model(noisy, times, told, layout=layout)

    assert model.layout is not None
    read = model.layout(summarise_text(conditions.text, conditions.tokens))
    assert not torch.equal(predict(conditions, true), predict(conditions))
    assert torch.equal(predict(conditions, read), predict(conditions))
    untold = model.conditioning.drop_text(conditions)
    assert untold.told.tolist() == [0]
    assert torch.equal(predict(untold, true), predict(untold, true + 1))


@pytest.mark.parametrize(
    ("switch", "same"), [(None, False), ("text", True), ("knowledge_injection", False)], ids=["on", "text", "injection"]
)
def test_the_layout_is_shown_only_where_text_and_injection_are_on(switch, same):
    torch.manual_seed(0)
    conditioning = LAYOUT.conditioning.model_copy(update={switch: False} if switch else {})
    model = shake(SemanticSynthesizer(LAYOUT.model_copy(update={"conditioning": conditioning}), BINDING, EMPTY))
    assert isinstance(model, SemanticSynthesizer)
    assert model.layout is not None
    model.layout.weight.normal_(std=0.1)
    model.layout.bias.view(C, 4)[:, 0] = 5
    one, other = (model.sample([make_states(n)], [None], [None], [3], steps=2) for n in (1, 2))
    assert np.array_equal(one, other) == same
    model.layout.bias.view(C, 4)[:, 0] = 0
    assert np.array_equal(one, model.sample([make_states(1)], [None], [None], [3], steps=2)) == bool(switch)
