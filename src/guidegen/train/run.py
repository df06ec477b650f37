"""One function per stage: build it, train it, write what it made."""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from guidegen.atomic import hash_file
from guidegen.codehash import code_hash
from guidegen.errors import GuideGenError
from guidegen.manifest import read_manifest
from guidegen.models.contrast_autoencoder import ContrastAutoencoder
from guidegen.models.latent_generator import LatentGenerator
from guidegen.models.model_files import hash_labels
from guidegen.models.semantic_synthesizer import SemanticSynthesizer
from guidegen.seeds import derive_seed
from guidegen.study import Study
from guidegen.train.cohort import CohortCase
from guidegen.train.contrast_autoencoder import ContrastAutoencoderStage
from guidegen.train.devices import Hardware
from guidegen.train.engine import TrainingRun, fix_numerics, run_training
from guidegen.train.estimate import describe_device, estimate_stage, measure_rate
from guidegen.train.latent_generator import LatentGeneratorStage
from guidegen.train.pictures import Panel, Row, draw_samples
from guidegen.train.preflight import check_cohort
from guidegen.train.results import write_curves, write_held_out, write_results
from guidegen.train.semantic_synthesizer import SemanticSynthesizerStage
from guidegen.train.settings import OptimizationSettings
from guidegen.train.signals import stop_at_once

EXAMPLES = 3
UNKNOWN_SPACING = (1.0, 1.0, 1.0)
WriteFile = Callable[[nn.Module, Path], None]
log = logging.getLogger(__name__)


def train_semantic_synthesizer(study: Study) -> None:
    """Train stage I on all training cases with label map and prompt; write `results/models/semantic_synthesizer`."""
    name, settings = "semantic_synthesizer", study.config.train.semantic_synthesizer
    cohort = check_cohort(study, [name], read_arrays=False)
    torch.manual_seed(derive_seed(study.config.study.seed, name, "weights"))
    model = SemanticSynthesizer(settings.model, cohort.bind(), cohort.states(""))
    stage = SemanticSynthesizerStage(model, cohort, settings, study.config.study.seed)

    def draw(network: nn.Module, path: Path) -> None:
        assert isinstance(network, SemanticSynthesizer)
        rows = [
            Row(
                case.case,
                case.prompts[0][0],
                [_panel("real", case, case.load_labels(), True), _panel("synthetic", case, labels, True)],
            )
            for case, labels in stage.draw_examples(network, EXAMPLES)
        ]
        draw_samples(path, "Label maps for held-out prompts", rows, study.labels)

    def save(network: nn.Module, folder: Path) -> None:
        assert isinstance(network, SemanticSynthesizer)
        network.save(folder, **_describe(study, settings.optimization))

    _train(study, name, settings.optimization, stage, draw, save)


def train_contrast_autoencoder(study: Study) -> None:
    """Train stage II on all training cases with a CT and write `results/models/contrast_autoencoder`."""
    name, settings = "contrast_autoencoder", study.config.train.contrast_autoencoder
    cohort = check_cohort(study, [name], read_arrays=False)
    torch.manual_seed(derive_seed(study.config.study.seed, name, "weights"))
    model = ContrastAutoencoder(settings.model, cohort.bind())
    stage = ContrastAutoencoderStage(model, cohort, settings, study.config.study.seed)

    def draw(network: nn.Module, path: Path) -> None:
        rows = []
        for case in stage.held_out[:: max(1, len(stage.held_out) // EXAMPLES)][:EXAMPLES]:
            ct, guess = stage.reconstruct(network, case)
            panels = [_panel("real", case, ct, False), _panel("reconstruction", case, guess, False)]
            rows.append(Row(case.case, case.prompts[0][0] if case.prompts else "", panels))
        draw_samples(path, "Held-out CTs and their reconstruction", rows, study.labels)

    def save(network: nn.Module, folder: Path) -> None:
        assert isinstance(network, ContrastAutoencoder)
        stage.measure_latents(network)
        network.save(folder, **_describe(study, settings.optimization))

    _train(study, name, settings.optimization, stage, draw, save)


def train_latents(study: Study) -> None:
    """Store the latents of all CT cases in `results/models/latents`."""
    from guidegen.train.latents import store_latents

    check_cohort(study, ["latents"], read_arrays=False)
    store_latents(study)


def train_latent_generator(study: Study) -> None:
    """Train stage III on the stored latents and write `results/models/latent_generator`."""
    name, settings = "latent_generator", study.config.train.latent_generator
    cohort = check_cohort(study, [name], read_arrays=False)
    results = study.root / "results" / "models"
    autoencoder = ContrastAutoencoder.load(results / "contrast_autoencoder", labels_hash=hash_labels(study.labels))
    manifest = study.manifest("results", "models", "latents")
    latents = {row["case"]: study.root / row["path"] for row in read_manifest(manifest) if row["status"] == "ok"}
    torch.manual_seed(derive_seed(study.config.study.seed, name, "weights"))
    model = LatentGenerator(settings.model, cohort.bind(), autoencoder.settings.latent_channels, cohort.states(""))
    model.latent_mean.copy_(autoencoder.latent_mean)
    model.latent_std.copy_(autoencoder.latent_std)
    stage = LatentGeneratorStage(model, cohort, latents, settings, study.config.study.seed)

    def draw(network: nn.Module, path: Path) -> None:
        assert isinstance(network, LatentGenerator)
        autoencoder.to(network.latent_mean.device)
        rows = [
            Row(
                case.case,
                case.prompts[0][0],
                [
                    _panel("label map", case, labels, True),
                    _panel("real", case, case.load_ct(), False),
                    _panel("synthetic", case, ct, False),
                ],
            )
            for case, labels, ct in stage.draw_examples(network, autoencoder, EXAMPLES)
        ]
        if rows:
            draw_samples(path, "CTs for held-out label maps and prompts", rows, study.labels)

    def save(network: nn.Module, folder: Path) -> None:
        assert isinstance(network, LatentGenerator)
        weights = hash_file(results / "contrast_autoencoder" / "model.safetensors")
        network.save(folder, autoencoder=weights, **_describe(study, settings.optimization))

    _train(study, name, settings.optimization, stage, draw, save)


TRAINERS = {
    "semantic_synthesizer": train_semantic_synthesizer,
    "contrast_autoencoder": train_contrast_autoencoder,
    "latents": train_latents,
    "latent_generator": train_latent_generator,
}


def list_inputs(study: Study, stage: str) -> list[Path]:
    """Return the small files that a stage reads. Raises GuideGenError where one was not made yet."""
    earlier = {"latents": ["contrast_autoencoder"], "latent_generator": ["contrast_autoencoder", "latents"]}
    cohort = study.root / "data" / "cohort"
    paths = [cohort / "cohort.tsv", cohort / "arrays.tsv", cohort / "text.tsv"]
    paths += [study.manifest("results", "models", name) for name in earlier.get(stage, [])]
    for path in paths:
        if not path.is_file():
            raise GuideGenError(f"{path}: missing; run the phase that makes it before `guidegen train {stage}`")
    return paths


def run_preflight(study: Study, stages: list[str]) -> list[str]:
    """Read every case once and return a line per stage with what it will need.

    Raises:
        GuideGenError: lists what is wrong.
    """
    cohort = check_cohort(study, stages, read_arrays=True)
    train = study.config.train
    fix_numerics(study.config.study.threads)
    lines = [f"preflight: {len(cohort.cases)} cases read, nothing wrong; figures are for {describe_device()}"]
    for name in (stage for stage in stages if stage != "latents"):
        precision = getattr(train, name).optimization.precision
        estimate = estimate_stage(study, cohort, name)
        lines.append(estimate.describe(measure_rate(precision), train.devices * train.nodes))
    return lines


def _train(
    study: Study,
    name: str,
    settings: OptimizationSettings,
    stage: SemanticSynthesizerStage | ContrastAutoencoderStage | LatentGeneratorStage,
    draw: WriteFile,
    save: WriteFile,
) -> None:
    """Train a stage and, in the first of its processes, write its results: weights, curves, held-out losses, samples.

    Args:
        study: the study.
        name: of the stage.
        settings: how it is optimised.
        stage: the stage, with its network.
        draw: draws samples of a network into a picture.
        save: writes the weights of the trained network into a folder.
    """
    with stop_at_once(name, progress=False):
        run = _plan_run(study, name, settings, draw)
        trained = run_training(run, stage)
    if trained is None:
        return

    def fill(folder: Path) -> None:
        save(trained.model, folder)
        losses = stage.measure_held_out(trained.model)
        write_curves(folder, trained.curves, settings.steps, losses)
        write_held_out(folder, stage, losses)
        draw(trained.model, folder / "samples.png")
        for picture in run.state.glob("samples-*.png"):
            shutil.copyfile(picture, folder / picture.name)

    with stop_at_once(name, trained.progress):
        write_results(study, name, fill)


def _plan_run(study: Study, stage: str, settings: OptimizationSettings, draw: WriteFile) -> TrainingRun:
    train, parts = study.config.train, [code_hash("train", "models"), hash_labels(study.labels)]
    parts.append(study.config.hash_sections(f"train.{stage}", "train.collection_shares", "prepare"))
    parts += [hash_file(path) for path in list_inputs(study, stage)]
    perceptual = study.root / train.contrast_autoencoder.model.perceptual
    parts += [hash_file(perceptual)] if stage == "contrast_autoencoder" and perceptual.is_file() else []
    fingerprint = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
    state = study.state_folder("results", "models", stage)
    others = [path.name for path in state.iterdir() if path.is_dir() and path.name != fingerprint]
    if others and not (state / fingerprint).exists():
        log.warning("%s: checkpoints of other settings, code or data are not used (%s)", state, ", ".join(others))
    (state / fingerprint).mkdir(exist_ok=True)
    return TrainingRun(
        stage=stage,
        seed=study.config.study.seed,
        threads=study.config.study.threads,
        state=state / fingerprint,
        fingerprint=fingerprint,
        settings=settings,
        hardware=Hardware(train.devices, train.nodes, train.strategy),
        draw=draw,
    )


def _describe(study: Study, settings: OptimizationSettings) -> dict[str, Any]:
    return {"seed": study.config.study.seed, "optimization": settings.model_dump(mode="json")}


def _panel(title: str, case: CohortCase, volume: Any, labels: bool) -> Panel:
    return Panel(title, volume, case.spacing or UNKNOWN_SPACING, labels)
