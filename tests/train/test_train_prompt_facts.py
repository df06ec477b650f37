"""What stages I and III are shown of a case in training, and the regressions that read it from prompts."""

from dataclasses import replace

import torch
from fresh_stages import build_stage
from torch.nn import functional

from guidegen.models.layout import measure_layout
from guidegen.models.prompt_reader import summarise_text
from guidegen.models.semantic_synthesizer import SemanticSynthesizer
from guidegen.study import Study
from guidegen.train.cohort import Cohort
from guidegen.train.semantic_synthesizer import SemanticSynthesizerStage


def test_stage_one_learns_from_true_layouts_and_a_regression_that_reads_them(trained_study, monkeypatch):
    cohort, settings = Cohort.load(study := Study.load(trained_study)), study.config.train.semantic_synthesizer
    settings = settings.model_copy(update={"model": settings.model.model_copy(update={"layout": True})})
    stage = SemanticSynthesizerStage(SemanticSynthesizer(settings.model, cohort.bind()), cohort, settings, 1)
    batch = stage.draw_batch(0)
    true = measure_layout(batch.labels, len(stage.model.binding.classes))[0]
    read = stage.model.layout(summarise_text(batch.conditions.text, batch.conditions.tokens))
    assert (read - true)[..., 0].abs().mean() < 0.5 * (true[..., 0] - true[..., 0].mean()).abs().mean()
    shown = []
    forward = stage.model.forward
    monkeypatch.setattr(
        stage.model, "forward", lambda *args, layout: (shown.append(layout), forward(*args, layout=layout))[1]
    )
    assert stage(batch, 0.0)["loss"].requires_grad
    assert torch.equal(shown[0], true)


def test_stage_three_learns_from_true_enhancement_and_a_regression_that_reads_it(trained_study, monkeypatch):
    study = Study.load(trained_study)
    settings = study.config.train.latent_generator
    settings = settings.model_copy(update={"model": settings.model.model_copy(update={"enhancement": True})})
    train = study.config.train.model_copy(update={"latent_generator": settings})
    stage = build_stage("latent_generator", replace(study, config=study.config.model_copy(update={"train": train})))
    batch = stage.draw_batch(0)
    true = stage.model.measure_enhancement(batch.latents, batch.labels)
    read = stage.model.enhancement(summarise_text(batch.conditions.text, batch.conditions.tokens))
    there = functional.one_hot(batch.labels.flatten(1), true.shape[1] + 1)[..., :-1].sum(1) > 20
    assert (read - true)[there].abs().mean() < 0.5 * (true[there] - true[there].mean(0)).abs().mean()
    shown = []
    forward = stage.model.forward

    def spy(*args, enhancement):
        shown.append(enhancement)
        return forward(*args, enhancement=enhancement)

    monkeypatch.setattr(stage.model, "forward", spy)
    assert stage(batch, 0.0)["loss"].requires_grad
    assert torch.equal(shown[0], true)
