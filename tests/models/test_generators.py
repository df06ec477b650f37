"""Stages I and III: conditioning, guidance, switches, seeds, files."""

import numpy as np
import pytest
import torch
from tiny import BINDING, CLASSES, CONDITIONING, EMPTY, GENERATOR, SYNTHESIZER, UNET, make_states, shake

from guidegen.errors import GuideGenError
from guidegen.models.latent_generator import LatentGenerator
from guidegen.models.semantic_synthesizer import SemanticSynthesizer

PROMPT, OTHER = make_states(1), make_states(2, length=11)
SPACING, COVERAGE = (6.0, 5.0, 9.0), (0.1, 1.2)


def make_synthesizer(**changes) -> SemanticSynthesizer:
    torch.manual_seed(0)
    return shake(SemanticSynthesizer(SYNTHESIZER.model_copy(update=changes), BINDING, EMPTY))  # type: ignore[return-value]


def make_generator(**changes) -> LatentGenerator:
    torch.manual_seed(0)
    return shake(LatentGenerator(GENERATOR.model_copy(update=changes), BINDING, 3, EMPTY))  # type: ignore[return-value]


def predict(model, text=PROMPT, spacing=SPACING, coverage=COVERAGE, shift=0) -> torch.Tensor:
    """Return the output of either model for one fixed input."""
    conditions = model.conditioning.pack([text], [spacing], [coverage])
    generator = torch.Generator().manual_seed(3)
    labels = torch.randint(len(CLASSES), (1, 16, 16, 16), generator=generator).roll(shift, 1)
    times = torch.tensor([60])
    with torch.inference_mode():
        if isinstance(model, SemanticSynthesizer):
            return model(labels, times, conditions)
        return model(torch.randn(1, 3, 8, 8, 8, generator=generator), times, labels, conditions)


def sample(model, seeds, text=None, **options) -> np.ndarray:
    count = len(seeds)
    conditions = [text or [PROMPT] * count, [SPACING] * count, [COVERAGE] * count]
    if isinstance(model, SemanticSynthesizer):
        return model.sample(*conditions, seeds, **options)
    labels = np.random.default_rng(4).integers(0, len(CLASSES), (count, 16, 16, 16)).astype(np.uint8)
    return model.sample(labels, *conditions, seeds, **options)


BOTH = pytest.mark.parametrize("make", [make_synthesizer, make_generator])


@BOTH
@pytest.mark.parametrize(
    "changes",
    [
        {"text": OTHER},
        {"spacing": None},
        {"coverage": None},
        {"spacing": (6.0, 5.0, 3.0)},
        {"coverage": (0.5, 1.2)},
    ],
    ids=["prompt", "spacing unknown", "coverage unknown", "spacing", "coverage"],
)
def test_every_condition_changes_the_output(make, changes):
    model = make()
    assert (predict(model, **changes) - predict(model)).abs().max() > 1e-3


def test_the_label_map_changes_the_velocity():
    model = make_generator()
    assert (predict(model, shift=2) - predict(model)).abs().max() > 1e-3


@BOTH
def test_every_level_hears_its_own_responses_one_by_one(make):
    """Not only their mean, which the time embedding carries: cross-attention reads each of them."""
    model = make()
    attends = [side <= UNET.attention_grid for side in (model.binding.grid >> level for level in range(2))]
    respond = model.conditioning.injection.forward
    kept = predict(model)
    for level in range(len(UNET.channels)):
        for change in ("mean", "single"):

            def alter(text, tokens, level=level, change=change):
                responses = respond(text, tokens)
                push = torch.ones_like(responses[level])
                if change == "single":
                    push[:, 0], push[:, 1:] = 1, -1 / (push.shape[1] - 1)
                responses[level] = responses[level] + 3 * push
                return responses

            model.conditioning.injection.forward = alter
            changed = (predict(model) - kept).abs().max()
            if change == "mean" or attends[level]:
                assert changed > 1e-4, (level, change)
    model.conditioning.injection.forward = respond


@BOTH
def test_padding_of_the_prompt_has_no_part_in_the_answers(make):
    model = make()
    long = make()
    long.conditioning.max_tokens += 7
    assert torch.allclose(predict(model), predict(long), atol=1e-5)


@BOTH
def test_guidance_is_linear_in_what_the_prompt_adds(make):
    model = make()
    conditions = model.conditioning.pack([PROMPT], [SPACING], [COVERAGE])
    generator = torch.Generator().manual_seed(3)
    labels = torch.randint(len(CLASSES), (1, 16, 16, 16), generator=generator)
    with torch.inference_mode():
        if isinstance(model, SemanticSynthesizer):
            none, one, three = (model._predict_guided(labels, 60, conditions, g, 1.0) for g in (0.0, 1.0, 3.0))
        else:
            noisy = torch.randn(1, 3, 8, 8, 8, generator=generator)
            none, one, three = (model._predict_guided(noisy, 60, labels, conditions, g) for g in (0.0, 1.0, 3.0))
    assert torch.allclose(three, none + 3 * (one - none), atol=1e-4)


@BOTH
@pytest.mark.parametrize("switch", ["text", "knowledge_injection", "numeric_conditions"])
def test_every_switch_changes_the_output_of_the_same_weights(make, switch):
    on = make()
    off = make(conditioning=CONDITIONING.model_copy(update={switch: False}))
    off.load_state_dict(on.state_dict())
    assert (predict(off) - predict(on)).abs().max() > 1e-3


@BOTH
def test_without_text_all_prompts_are_the_empty_one(make):
    model = make(conditioning=CONDITIONING.model_copy(update={"text": False}))
    assert torch.equal(predict(model, text=PROMPT), predict(model, text=OTHER))
    assert torch.equal(predict(make(), text=EMPTY), predict(model, text=PROMPT))


@BOTH
def test_without_numeric_conditions_numbers_do_not_count(make):
    model = make(conditioning=CONDITIONING.model_copy(update={"numeric_conditions": False}))
    assert torch.equal(predict(model), predict(model, spacing=None, coverage=None))


def test_likelihood_adds_the_probability_of_what_is_seen():
    model, without = make_synthesizer(), make_synthesizer(likelihood=False)
    without.load_state_dict(model.state_dict())
    difference = predict(model) - predict(without)
    assert (difference > 0).sum() == 16**3
    alpha_bar = float(model.alpha_bar[60])
    seen, unseen = alpha_bar + (1 - alpha_bar) / 6, (1 - alpha_bar) / 6
    assert float(difference.max()) == pytest.approx(np.log(seen / unseen), rel=1e-4)


@BOTH
def test_a_case_depends_on_its_seed_and_not_on_its_batch(make):
    model = make()
    alone = sample(model, [7])
    together = sample(model, [5, 7, 6])
    if isinstance(model, SemanticSynthesizer):
        assert np.array_equal(alone[0], together[1])
    assert not np.array_equal(together[0], together[1])
    assert np.array_equal(sample(model, [5, 7, 6]), together)


@BOTH
def test_guidance_and_steps_change_the_sample(make):
    model = make()
    plain = sample(model, [7], guidance=1.0)
    assert not np.array_equal(plain, sample(model, [7], guidance=4.0))
    assert not np.array_equal(plain, sample(model, [7], guidance=1.0, steps=9))


@BOTH
def test_guidance_of_zero_ignores_the_prompt(make):
    model = make()
    assert np.allclose(sample(model, [7], guidance=0.0), sample(model, [7], text=[OTHER], guidance=0.0), atol=1e-5)


def test_samples_have_the_promised_form():
    labels = sample(make_synthesizer(), [1, 2])
    assert labels.dtype == np.uint8
    assert labels.shape == (2, 16, 16, 16)
    assert labels.max() < len(CLASSES)
    latents = sample(make_generator(), [1, 2])
    assert latents.dtype == np.float32
    assert latents.shape == (2, 3, 8, 8, 8)


def test_latents_come_back_in_the_scale_of_the_autoencoder():
    model = make_generator()
    before = sample(model, [1])
    model.latent_mean.copy_(torch.tensor([1.0, -2.0, 3.0]))
    model.latent_std.fill_(4.0)
    wanted = before * 4 + np.array([1.0, -2.0, 3.0]).reshape(1, 3, 1, 1, 1)
    assert np.allclose(sample(model, [1]), wanted, atol=1e-4)


@pytest.mark.parametrize("scheduler", ["rectified_flow", "ddpm", "ddim"])
def test_a_perfect_velocity_leads_from_noise_to_the_data(scheduler):
    model = make_generator(scheduler=scheduler)
    target = torch.randn(1, 3, 8, 8, 8, generator=torch.Generator().manual_seed(1))

    def perfect(noisy, times, labels, conditions):
        share = times.float()[0] / 100
        if scheduler == "rectified_flow":
            return (target - noisy) / share
        alpha_bar = model.scheduler.alphas_cumprod[int(times[0])]
        return (alpha_bar.sqrt() * noisy - target) / (1 - alpha_bar).sqrt()

    model.forward = perfect  # type: ignore[method-assign]
    steps = 100 if scheduler == "ddim" else 20
    assert np.allclose(sample(model, [1], guidance=1.0, steps=steps), target, atol=0.05)


def test_noise_and_velocity_give_back_the_data():
    for scheduler in ("rectified_flow", "ddim"):
        model = make_generator(scheduler=scheduler)
        data, noise = torch.randn(2, 3, 8, 8, 8), torch.randn(2, 3, 8, 8, 8)
        times = torch.tensor([20, 90])
        noisy, velocity = model.add_noise(data, noise, times)
        if scheduler == "rectified_flow":
            found = noisy + velocity * (times / 100).view(-1, 1, 1, 1, 1)
        else:
            alpha_bar = model.scheduler.alphas_cumprod[times].view(-1, 1, 1, 1, 1)
            found = alpha_bar.sqrt() * noisy - (1 - alpha_bar).sqrt() * velocity
        assert torch.allclose(found, data, atol=1e-4)


@BOTH
def test_a_stored_model_comes_back_and_refuses_strangers(make, tmp_path):
    model = make()
    model.save(tmp_path)
    again = type(model).load(tmp_path, labels_hash="l", encoder_hash="h")
    assert torch.equal(predict(again), predict(model))
    for wrong in ({"labels_hash": "other"}, {"encoder_hash": "other"}):
        with pytest.raises(GuideGenError, match="train it again"):
            type(model).load(tmp_path, **wrong)
    with pytest.raises(GuideGenError, match="no such model"):
        type(model).load(tmp_path / "missing")
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-64])
    with pytest.raises(GuideGenError, match="does not fit"):
        type(model).load(tmp_path)


@BOTH
def test_text_and_numbers_are_dropped_as_often_as_told(make):
    torch.manual_seed(0)
    conditioning = make().conditioning
    conditions = conditioning.pack([PROMPT] * 2000, [SPACING] * 2000, [COVERAGE] * 2000)
    dropped = conditioning.drop_at_random(conditions)
    without_text = (dropped.text == conditioning.empty_text).all(dim=(1, 2)).float().mean()
    assert without_text == pytest.approx(0.1, abs=0.03)
    assert dropped.known.mean(0).tolist() == pytest.approx([0.5, 0.5], abs=0.05)


def test_at_the_last_step_distrust_lets_the_surroundings_overrule_a_voxel():
    """One step from pure noise with guidance off: with trust 0 the result is the network's own choice."""
    trusting, sober = (
        make_synthesizer(sampling_steps=1, guidance=1.0),
        make_synthesizer(sampling_steps=1, guidance=1.0, final_trust=0.0),
    )
    assert np.array_equal(sample(trusting, [1]), sample(make_synthesizer(sampling_steps=1, guidance=1.0), [1]))
    plain = make_synthesizer(sampling_steps=1, guidance=1.0, likelihood=False)
    assert np.array_equal(sample(sober, [1]), sample(plain, [1]))
    for steps in (4, 8):
        assert not np.array_equal(sample(sober, [1], steps=steps), sample(trusting, [1], steps=steps))
