"""What the losses of stage II are made of, and how gradients are summed and clipped."""

from dataclasses import replace

import pytest
import torch
from fresh_stages import build_stage

from guidegen.models.contrast_window import apply_window
from guidegen.study import Study
from guidegen.train.contrast_autoencoder import ContrastAutoencoderStage
from guidegen.train.engine import Training, TrainingRun
from guidegen.train.estimate import count_batch

STAGE = "contrast_autoencoder"


def change_model(study: Study, **changes) -> Study:
    settings = study.config.train.contrast_autoencoder
    settings = settings.model_copy(update={"model": settings.model.model_copy(update=changes)})
    train = study.config.train.model_copy(update={STAGE: settings})
    return replace(study, config=study.config.model_copy(update={"train": train}))


def test_plain_l1_stays_beside_the_window_and_the_kl_is_that_of_normal_distributions(trained_study, monkeypatch):
    study = change_model(Study.load(trained_study), whole_weight=0.7, window_weight=0.3, kl_weight=0.01)
    stage = build_stage(STAGE, study)
    seen = []
    encode = stage.model.encode_moments
    monkeypatch.setattr(stage.model, "encode_moments", lambda *given: (seen.append(encode(*given)), seen[-1])[1])
    losses = stage(stage.draw_batch(0), 0.0)
    parts = 0.7 * losses["l1"] + 0.3 * losses["window"] + 0.01 * losses["kl"]
    assert float(losses["loss"]) == pytest.approx(float(parts), rel=1e-5)
    mean, log_variance = seen[0]
    posterior = torch.distributions.Normal(mean, torch.exp(0.5 * log_variance))
    unit = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
    assert float(losses["kl"]) == pytest.approx(
        float(torch.distributions.kl_divergence(posterior, unit).mean()), rel=1e-4
    )


@pytest.mark.parametrize(("dropped", "nothing_seen"), [(0.999999, True), (0.0, False)])
def test_labels_are_dropped_as_often_as_told(dropped, nothing_seen, trained_study, monkeypatch):
    stage = build_stage(STAGE, change_model(Study.load(trained_study), labels_dropped=dropped))
    seen = []
    encode = stage.model.encode_moments
    monkeypatch.setattr(stage.model, "encode_moments", lambda ct, labels: (seen.append(labels), encode(ct, labels))[1])
    stage(stage.draw_batch(0), 0.0)
    assert bool((seen[0] == len(stage.model.binding.classes)).all()) == nothing_seen


def test_discriminators_judge_what_the_windows_show(trained_study, monkeypatch):
    stage = build_stage(STAGE, change_model(Study.load(trained_study), labels_dropped=0.0))
    assert isinstance(stage, ContrastAutoencoderStage)
    windows = torch.tensor([40.0, -100.0]), torch.tensor([200.0, 400.0])
    monkeypatch.setattr("guidegen.train.contrast_autoencoder.draw_windows", lambda *_: windows)
    judged, decoded = [], []
    compute, decode = stage._compute_adversarial, stage.model.decode_scaled
    monkeypatch.setattr(stage, "_compute_adversarial", lambda *given: (judged.append(given), compute(*given))[1])
    monkeypatch.setattr(stage.model, "decode_scaled", lambda *given: (decoded.append(decode(*given)), decoded[-1])[1])
    batch = stage.draw_batch(0)
    stage(batch, 0.99)
    truth = stage.model.scale_hu(batch.ct)
    for found, scaled in zip(judged[0], (truth, decoded[0]), strict=True):
        assert torch.equal(found, apply_window(stage.model.unscale_hu(scaled), *windows))


class Features(torch.nn.Module):
    """In the place of VGG: two maps of features."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = torch.nn.Conv2d(1, 3, 3), torch.nn.Conv2d(3, 4, 3, stride=2)

    def forward(self, x):
        first = self.one(x)
        return [first, self.two(first)]


def test_perceptual_loss_comes_from_the_studys_file_and_its_weights_are_in_no_checkpoint(trained_study, copy_study):
    study = change_model(copy_study(trained_study), perceptual="networks/features.pt", perceptual_weight=2.0)
    (study.root / "networks").mkdir()
    torch.jit.script(Features()).save(study.root / "networks" / "features.pt")
    stage = build_stage(STAGE, study)
    losses = stage(stage.draw_batch(0), 0.0)
    losses["perceptual"].backward()
    assert any(p.grad is not None and p.grad.any() for p in stage.model.parameters())
    assert not [name for name in stage.state_dict() if "perceptual" in name]
    without = build_stage(STAGE, change_model(study, perceptual="none"))
    assert count_batch(study, STAGE, 0.0).parameters == sum(p.numel() for p in without.parameters())


def test_gradients_are_the_mean_over_the_batches_of_a_step_and_are_clipped(trained_study, tmp_path):
    study = Study.load(trained_study)
    settings = study.config.train.semantic_synthesizer.optimization
    settings = settings.model_copy(update={"accumulate": 2, "precision": "32-true", "clip": 1e-3})
    found = {}
    for turns in ((0,), (1,), (0, 1)):
        stage = build_stage("semantic_synthesizer", study)
        run = TrainingRun("semantic_synthesizer", 1, 1, tmp_path, "test", settings)
        training = Training(run, stage)
        batches = iter([stage.draw_batch(turn) for turn in turns])
        for turn in turns:
            training.compute_gradients(batches, 0, turn)
        found[turns] = torch.cat([p.grad.flatten() for p in stage.parameters() if p.grad is not None])
    assert torch.allclose(found[0, 1], found[(0,)] + found[(1,)], rtol=1e-4, atol=1e-7)
    assert found[0, 1].norm() > 1e-3
    moments = []
    training.optimizer.register_step_pre_hook(
        lambda *_: moments.append(
            torch.cat([p.grad.flatten() for p in stage.parameters() if p.grad is not None]).norm()
        )
    )
    training.update_weights()
    assert float(moments[0]) == pytest.approx(1e-3, rel=1e-3)
