"""The enhancement: the mean latent of each class, measured and shown to stage III."""

import numpy as np
import pytest
import torch
from tiny import BINDING, CLASSES, EMPTY, GENERATOR, make_states, shake
from torch.nn import functional

from guidegen.models.latent_generator import LatentGenerator
from guidegen.models.prompt_reader import summarise_text

C, L = len(CLASSES), 3
ENHANCEMENT = GENERATOR.model_copy(update={"enhancement": True})


def make_model(settings=ENHANCEMENT) -> LatentGenerator:
    torch.manual_seed(0)
    return shake(LatentGenerator(settings, BINDING, L, EMPTY))  # type: ignore[return-value]


def make_labels() -> torch.Tensor:
    """All classes, in slabs that latent voxels do not share but for two."""
    labels = torch.zeros(1, 16, 16, 16, dtype=torch.long)
    for name in range(1, C):
        labels[0, :, :, 2 * name + (name > 3) : 2 * name + 3] = name
    return labels


def test_mean_latent_of_each_class_and_nothing_of_what_is_absent_or_unknown():
    labels, means = make_labels(), torch.randn(1, C, L, generator=torch.Generator().manual_seed(1))
    shares = functional.avg_pool3d(functional.one_hot(labels, C).movedim(-1, 1).float(), 2)
    latents = torch.einsum("bcxyz,bcl->blxyz", shares, means)
    found = make_model().measure_enhancement(latents, labels)
    assert torch.allclose(found, means, atol=0.01), "classes that share a latent voxel are told apart"
    found = make_model().measure_enhancement(latents, labels.where(labels != 2, C))
    assert torch.equal(found[0, 2], torch.zeros(L))
    unknown = make_model().measure_enhancement(latents, torch.full_like(labels, C))
    assert torch.equal(unknown, torch.zeros(1, C, L))


def test_stage_three_sees_the_enhancement_only_of_a_prompt():
    model = make_model()
    assert model.enhancement is not None
    model.enhancement.weight.normal_(std=0.1)
    conditions = model.conditioning.pack([make_states(1)], [None], [None])
    noisy, times = torch.zeros(1, L, 8, 8, 8), torch.tensor([60])
    true = torch.randn(1, C, L, generator=torch.Generator().manual_seed(1))

    def predict(told, enhancement=None, labels=None):
        with torch.inference_mode():
            return model(noisy, times, make_labels() if labels is None else labels, told, enhancement=enhancement)

    read = model.enhancement(summarise_text(conditions.text, conditions.tokens))
    assert torch.equal(predict(conditions, read), predict(conditions))
    assert not torch.equal(predict(conditions, true), predict(conditions))
    other_background = true.clone()
    other_background[:, 0] += 1
    assert torch.equal(predict(conditions, true), predict(conditions, other_background))
    untold = model.conditioning.drop_text(conditions)
    assert torch.equal(predict(untold, true), predict(untold, true + 1))
    unknown = torch.full_like(make_labels(), C)
    assert torch.equal(predict(conditions, true, unknown), predict(conditions, true + 1, unknown))


@pytest.mark.parametrize(
    ("switch", "same"), [(None, False), ("text", True), ("knowledge_injection", False)], ids=["on", "text", "injection"]
)
def test_the_enhancement_is_shown_only_where_text_and_injection_are_on(switch, same):
    conditioning = ENHANCEMENT.conditioning.model_copy(update={switch: False} if switch else {})
    model = make_model(ENHANCEMENT.model_copy(update={"conditioning": conditioning}))
    assert model.enhancement is not None
    model.enhancement.weight.normal_(std=0.1)
    labels = make_labels().numpy().astype(np.uint8)

    def sample(prompt):
        return model.sample(labels, [make_states(prompt)], [None], [None], [3], steps=2)

    one = sample(1)
    assert np.array_equal(one, sample(2)) == same
    model.enhancement.bias.add_(1)
    assert np.array_equal(one, sample(1)) == bool(switch)
