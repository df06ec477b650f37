"""The regression that reads facts from prompts."""

import pytest
import torch
from tiny import BINDING, CLASSES, EMPTY, GENERATOR, SYNTHESIZER, make_states

from guidegen.models.knowledge_injection import pack_text
from guidegen.models.latent_generator import LatentGenerator
from guidegen.models.prompt_reader import PromptReader, summarise_text
from guidegen.models.semantic_synthesizer import SemanticSynthesizer

C, E = len(CLASSES), BINDING.text_width


def test_regression_reads_what_prompts_say_and_takes_no_notice_of_what_is_unknown():
    rng = torch.Generator().manual_seed(0)
    told = torch.randint(0, 2, (60, 2), generator=rng).float()
    summaries = torch.cat([told, 0.1 * torch.randn(60, 2 * E - 2, generator=rng)], 1)
    facts, known = torch.zeros(60, C, 4), torch.ones(60, C, 4)
    facts[:, 1, 0] = 3 * told[:, 0]
    facts[:, 1, 1] = 0.5 - told[:, 1]
    known[told[:, 0] == 0, 1, 1:] = 0
    facts[told[:, 0] == 0, 1, 1] = 100
    reader = PromptReader(E, C, 4)
    reader.fit(summaries, facts, known, 1.0)
    read = reader(summaries)
    assert torch.allclose(read[:, 1, 0], facts[:, 1, 0], atol=0.5)
    assert torch.allclose(read[told[:, 0] == 1, 1, 1], facts[told[:, 0] == 1, 1, 1], atol=0.2)
    reader.fit(summaries, facts, known, 1e9)
    assert torch.allclose(reader(summaries)[:, 1, 0], facts[:, 1, 0].mean(), atol=1e-3), "a strong penalty leaves means"


def test_padding_has_no_part_in_the_summary():
    states = make_states(1)
    short, long = (summarise_text(*pack_text([states], length)) for length in (len(states), len(states) + 5))
    assert short.shape == (1, 2 * states.shape[1])
    assert torch.allclose(short, long)


@pytest.mark.parametrize("switch", ["layout", "enhancement"])
def test_what_reads_the_prompt_is_stored_with_the_model(switch, tmp_path):
    if switch == "layout":
        model = SemanticSynthesizer(SYNTHESIZER.model_copy(update={switch: True}), BINDING, EMPTY)
    else:
        model = LatentGenerator(GENERATOR.model_copy(update={switch: True}), BINDING, 3, EMPTY)
    reader = getattr(model, switch)
    reader.weight.normal_()
    reader.bias.normal_()
    model.save(tmp_path)
    again = getattr(type(model).load(tmp_path), switch)
    assert torch.equal(again.weight, reader.weight)
    assert torch.equal(again.bias, reader.bias)
