"""What the stages read, learn and leave behind."""

import csv
import json
import shutil
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from fresh_stages import build_stage
from safetensors.numpy import load_file

from guidegen.atomic import hash_file
from guidegen.errors import GuideGenError
from guidegen.manifest import read_manifest
from guidegen.models.contrast_autoencoder import ContrastAutoencoder
from guidegen.stages import NETWORKS
from guidegen.study import Study
from guidegen.train.cohort import Cohort, CohortCase
from guidegen.train.engine import make_averaging, set_learning_rate
from guidegen.train.run import TRAINERS, list_inputs
from guidegen.train.settings import OptimizationSettings


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_reach_every_parameter(name, trained_study):
    stage = build_stage(name, Study.load(trained_study))
    optimizer = torch.optim.SGD(stage.parameters(), lr=0.1)
    reached = set()
    # MONAI starts the last layers at zero, so that the layers below hear nothing in the first steps
    for step in range(4):
        torch.manual_seed(step)
        stage(stage.draw_batch(step), 0.9)["loss"].backward()
        reached |= {key for key, p in stage.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
        optimizer.step()
        optimizer.zero_grad()
    missing = {key for key, _ in stage.named_parameters()} - reached
    # a key's bias shifts all scores of a query alike, and the softmax takes no notice
    assert {key for key in missing if "to_k.bias" not in key} == set()


@pytest.mark.parametrize("losses", [{"kl_weight": 0.0, "cross_entropy_weight": 1.0}, {"cross_entropy_weight": 0.0}])
def test_weighted_classes_do_not_become_more_frequent(losses, trained_study, monkeypatch):
    """The loss of a predictor that knows the frequencies only is smallest at the true ones, whatever the weights."""
    stage = build_stage("semantic_synthesizer", Study.load(trained_study))
    balance = {"class_balance": 0.5, "foreground_weight": 3.0, "likelihood": False, "layout": False}
    model = stage.settings.model.model_copy(update={**balance, "kl_weight": 1.0, **losses})
    stage.settings = stage.settings.model_copy(update={"model": model})
    stage.class_weights = stage._weigh_classes()
    assert stage.class_weights.max() > 5 * stage.class_weights.min()
    batch = stage.make_batch(stage.cases, [0] * len(stage.cases))
    frequencies = torch.bincount(batch.labels.flatten(), minlength=len(stage.class_weights)).double() + 1e-9
    guess = (frequencies / frequencies.sum()).log().float().requires_grad_()
    shape = (len(batch.labels), -1, *batch.labels.shape[1:])
    monkeypatch.setattr(stage.model, "forward", lambda *_args, **_options: guess.view(1, -1, 1, 1, 1).expand(shape))
    # at t = 1 the posterior is p(x_0) itself, and the KL the cross-entropy
    monkeypatch.setattr("guidegen.train.semantic_synthesizer.draw_times", lambda count, *_: torch.ones(count).long())
    torch.manual_seed(0)
    stage(batch, 0.0)["loss"].backward()
    assert guess.grad is not None
    share = (stage.class_weights * frequencies.float() / frequencies.sum()).clamp(min=1e-6)
    assert (guess.grad.abs() / (share / share.sum())).max() < 0.05


def test_small_organs_count_more_in_stage_three(trained_study, monkeypatch):
    stage = build_stage("latent_generator", Study.load(trained_study))
    model = stage.settings.model.model_copy(update={"class_balance": 0.5})
    stage.settings = stage.settings.model_copy(update={"model": model})
    stage.class_weights = stage._weigh_classes()
    rare, frequent = int(stage.class_weights.argmax()), int(stage.class_weights.argmin())
    batch = stage.make_batch(stage.cases[:1], [0])
    half = batch.labels.shape[-1] // 2
    batch.labels[..., :half], batch.labels[..., half:] = rare, frequent
    shares = stage.model.pool_labels(batch.labels)
    losses = []
    for label in (rare, frequent):
        place = shares[:, label] == 1
        monkeypatch.setattr(stage.model, "add_noise", lambda x, noise, times: (x, torch.zeros_like(x)))
        monkeypatch.setattr(
            stage.model,
            "forward",
            lambda x, *_, place=place, **__: place.unsqueeze(1).expand_as(x).float() / place.sum(),
        )
        losses.append(float(stage(batch, 0.0)["loss"]) * float(place.sum()))
    assert losses[0] > 1.5 * losses[1]


def test_generator_losses_leave_the_discriminators_alone(trained_study):
    stage = build_stage("contrast_autoencoder", Study.load(trained_study))
    losses = stage(stage.draw_batch(0), 0.9)
    (losses["generator"] + losses["features"]).backward(retain_graph=True)
    assert all(p.grad is None for p in stage.discriminators.parameters())
    assert any(p.grad is not None for p in stage.model.parameters())
    stage.model.zero_grad()
    losses["discriminator"].backward()
    assert all(p.grad is None or not p.grad.any() for p in stage.model.parameters())
    assert all(p.grad is not None for p in stage.discriminators.parameters())


def test_discriminators_start_late(trained_study):
    stage = build_stage("contrast_autoencoder", Study.load(trained_study))
    assert "discriminator" not in stage(stage.draw_batch(0), 0.49)
    assert "discriminator" in stage(stage.draw_batch(0), 0.5)


def test_contrast_window_is_a_switch_and_both_discriminators_see_the_same_windows(trained_study):
    stage = build_stage("contrast_autoencoder", Study.load(trained_study))
    truth = torch.rand(2, 1, 8, 8, 8) * 2 - 1
    real, fake = stage._apply_windows(truth, truth)
    assert torch.equal(real, fake)
    assert 0 <= real.min() <= real.max() <= 1
    model = stage.settings.model.model_copy(update={"contrast_window": False})
    stage.settings = stage.settings.model_copy(update={"model": model})
    assert torch.allclose(stage._apply_windows(truth, truth)[0], (truth + 1) / 2)
    assert "window" not in stage(stage.draw_batch(0), 0.1)


def test_files_are_those_of_the_manifest(trained_study):
    for name in NETWORKS:
        rows = read_manifest(trained_study / "results" / "models" / f"{name}.tsv")
        files = {row["case"]: row for row in rows}
        pictures = {"samples.png", "samples-00000004.png"}
        assert set(files) == {"model.safetensors", "model.json", "curves.csv", "held_out.json", *pictures}
        for row in rows:
            path = trained_study / row["path"]
            assert (path.stat().st_size, hash_file(path)) == (int(row["bytes"]), row["sha256"])
        found = set((trained_study / "results" / "models" / name).iterdir())
        assert found == {trained_study / row["path"] for row in rows}


def test_curves_have_every_loss_at_every_interval(trained_study):
    with (trained_study / "results/models/contrast_autoencoder/curves.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    steps = {
        name: [int(row["step"]) for row in rows if row["name"] == name] for name in ("l1", "held_out", "generator")
    }
    assert steps == {"l1": [3, 6, 8], "held_out": [4, 8], "generator": [6, 8]}


def test_held_out_losses_stand_beside_a_baseline_case_by_case(trained_study):
    splits = {case.case: case.split for case in Cohort.load(Study.load(trained_study)).cases}
    for name in NETWORKS:
        found = json.loads((trained_study / "results" / "models" / name / "held_out.json").read_text())
        assert found["loss"] == pytest.approx(np.mean(found["losses"]))
        assert found["baseline"] == pytest.approx(np.mean(found["baselines"]))
        assert len(found["cases"]) == len(found["losses"]) == len(found["baselines"]) == 2
        assert all(splits[case] != "train" for case in found["cases"])


def test_baselines_are_what_averages_can_do(trained_study):
    study = Study.load(trained_study)
    # the mean of all training cases predicts a training set of one case perfectly
    stage = build_stage("contrast_autoencoder", study)
    stage.cases = stage.held_out = stage.cases[:1]
    assert stage.measure_baseline() == [0.0]
    labels = build_stage("semantic_synthesizer", study)
    uniform = [np.log(len(labels.model.binding.classes))] * len(labels.held_out)
    assert np.all(np.array(labels.measure_baseline()) < uniform)
    generator = build_stage("latent_generator", study)
    # velocity has at most variance 2 for normalised latents
    assert np.all(np.array(generator.measure_baseline()) < 2.0)


def test_cases_with_only_a_ct_or_only_labels_are_used_where_they_can_be(trained_study):
    cohort = Cohort.load(Study.load(trained_study))
    only_ct = next(case.case for case in cohort.cases if case.labels is None)
    only_labels = next(case.case for case in cohort.cases if case.ct is None)
    for name, without in (("semantic_synthesizer", only_ct), ("contrast_autoencoder", only_labels)):
        stage = build_stage(name, cohort.study)
        used = {case.case for case in [*stage.cases, *stage.held_out]}
        assert without not in used
    latents = {row["case"] for row in read_manifest(cohort.study.manifest("results", "models", "latents"))}
    assert only_ct in latents
    assert only_labels not in latents


def test_latents_are_normalised_and_decode_to_the_ct(trained_study):
    study = Study.load(trained_study)
    model = ContrastAutoencoder.load(trained_study / "results" / "models" / "contrast_autoencoder")
    cohort = Cohort.load(study)
    stacked = [
        np.load(study.root / row["path"]) for row in read_manifest(study.manifest("results", "models", "latents"))
    ]
    assert all(part.dtype == np.float16 and part.shape == (4, 8, 8, 8) for part in stacked)
    everything = np.stack(stacked).astype(np.float64)
    assert np.allclose(everything.mean((0, 2, 3, 4)), 0, atol=0.2)
    assert np.allclose(everything.std((0, 2, 3, 4)), 1, atol=0.2)
    case = next(case for case in cohort.cases if case.ct and case.labels)
    stored = np.load(study.root / "results" / "models" / "latents" / f"{case.case}.npy").astype(np.float32)
    mean, std = model.latent_mean.numpy().reshape(4, 1, 1, 1), model.latent_std.numpy().reshape(4, 1, 1, 1)
    labels = case.load_labels()[None]
    again, direct = (
        model.decode((stored * std + mean)[None], labels),
        model.decode(model.encode(case.load_ct()[None], labels), labels),
    )
    assert np.abs(again - direct).max() < 20


@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_is_ever_mirrored(name, trained_study):
    stage = build_stage(name, Study.load(trained_study))
    cases = {case.case: case for case in stage.cases}
    for index in range(12):
        batch = stage.draw_batch(index)
        for row, case in enumerate(batch.cases):
            drawn, whole = batch.labels[row].numpy(), stage_labels(cases[case], len(stage.model.binding.classes))
            assert holds(whole, drawn), f"{case}: the labels of batch {index} are no part of the stored ones"
            if name == "contrast_autoencoder":
                assert holds(cases[case].load_ct(), batch.ct[row, 0].numpy())
            if name == "latent_generator":
                assert np.array_equal(stage.load_latents(cases[case]), batch.latents[row].numpy())
    # the comparison would notice: torsos are not symmetric
    assert not holds(whole[::-1], drawn) or len(np.unique(drawn)) == 1


def stage_labels(case: CohortCase, null: int) -> np.ndarray:
    return np.full((16, 16, 16), null) if case.labels is None else np.asarray(case.load_labels())


def holds(whole: np.ndarray, part: np.ndarray) -> bool:
    """Whether `part` is a box of `whole`, with its axes as they are."""
    reach = [range(a - b + 1) for a, b in zip(whole.shape, part.shape, strict=True)]
    return any(
        np.array_equal(whole[x : x + part.shape[0], y : y + part.shape[1], z : z + part.shape[2]], part)
        for x, y, z in product(*reach)
    )


def test_learning_rate_warms_up_and_decays():
    settings = OptimizationSettings(steps=100, batch=1, learning_rate=1.0, warmup=10, final_rate=0.1)
    optimizer = torch.optim.AdamW([torch.zeros(1, requires_grad=True)])
    rates = []
    for step in range(100):
        set_learning_rate(optimizer, settings, step)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(0.1, abs=0.001)
    assert all(a >= b for a, b in pairwise(rates[10:]))


def test_moving_average_forgets_the_first_weights_and_then_decays_as_told():
    average = make_averaging(0.9)
    mean = [torch.tensor([0.0])]
    average(mean, [torch.tensor([1.0])], 0)
    assert mean[0].item() == pytest.approx(0.9)
    mean = [torch.tensor([0.0])]
    average(mean, [torch.tensor([1.0])], 10_000)
    assert mean[0].item() == pytest.approx(0.1)


def test_loss_that_is_not_finite_names_the_cases(trained_study, copy_study):
    study = copy_study(trained_study)
    shutil.rmtree(study.root / ".guidegen" / "state" / "results" / "models" / "latent_generator")
    rows = read_manifest(study.manifest("results", "models", "latents"))
    for row in rows:
        path = study.root / row["path"]
        np.save(path, np.load(path) + np.float16("nan"))
    with pytest.raises(GuideGenError, match=r"nan at step 0; cases of the batch: .*tcga_"):
        TRAINERS["latent_generator"](study)


def test_missing_inputs_are_named(prepared_study, copy_study):
    study = copy_study(prepared_study)
    with pytest.raises(GuideGenError, match=r"contrast_autoencoder\.tsv: missing"):
        list_inputs(study, "latents")
    (study.root / "data" / "cohort" / "text.tsv").unlink()
    with pytest.raises(GuideGenError, match=r"text\.tsv: missing"):
        list_inputs(study, "semantic_synthesizer")


def test_states_of_another_encoder_are_refused(prepared_study, copy_study):
    root = copy_study(prepared_study).root
    path = root / "config" / "config.yaml"
    path.write_text(path.read_text().replace("max_tokens: 48", "max_tokens: 40"))
    with pytest.raises(GuideGenError, match="made with the encoder"):
        Cohort.load(Study.load(root)).states("")


def test_weights_are_the_moving_average(trained_study):
    stage = "semantic_synthesizer"
    (state,) = (trained_study / ".guidegen" / "state" / "results" / "models" / stage).glob("*/step-00000008/tensors")
    checkpoint, stored = load_file(state), load_file(trained_study / "results" / "models" / stage / "model.safetensors")
    for name, value in stored.items():
        assert np.array_equal(value, checkpoint[f"average.module.{name}"])
    assert any(not np.array_equal(v, checkpoint[f"module.model.{k}"]) for k, v in stored.items())


@pytest.mark.parametrize("stage", ["semantic_synthesizer", "contrast_autoencoder"])
def test_recomputed_activations_train_the_same_weights(stage, trained_study, prepared_study, copy_study):
    study = copy_study(prepared_study)
    path = study.root / "config" / "config.yaml"
    path.write_text(path.read_text().replace("steps: 8,", "steps: 8, activation_checkpointing: true,"))
    TRAINERS[stage](Study.load(study.root))
    ours, theirs = (
        load_file(root / "results" / "models" / stage / "model.safetensors") for root in (study.root, trained_study)
    )
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
