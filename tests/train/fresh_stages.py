"""Stages with fresh weights on a prepared study."""

import torch

from guidegen.manifest import read_manifest
from guidegen.models.contrast_autoencoder import ContrastAutoencoder
from guidegen.models.latent_generator import LatentGenerator
from guidegen.models.semantic_synthesizer import SemanticSynthesizer
from guidegen.study import Study
from guidegen.train.cohort import Cohort
from guidegen.train.contrast_autoencoder import ContrastAutoencoderStage
from guidegen.train.latent_generator import LatentGeneratorStage
from guidegen.train.semantic_synthesizer import SemanticSynthesizerStage


def build_stage(name: str, study: Study):
    """Return a stage with fresh weights."""
    torch.manual_seed(1)
    cohort, settings = Cohort.load(study), getattr(study.config.train, name)
    if name == "semantic_synthesizer":
        return SemanticSynthesizerStage(
            SemanticSynthesizer(settings.model, cohort.bind(), cohort.states("")), cohort, settings, 0
        )
    if name == "contrast_autoencoder":
        return ContrastAutoencoderStage(ContrastAutoencoder(settings.model, cohort.bind()), cohort, settings, 0)
    rows = read_manifest(study.manifest("results", "models", "latents"))
    latents = {row["case"]: study.root / row["path"] for row in rows}
    model = LatentGenerator(settings.model, cohort.bind(), 4, cohort.states(""))
    return LatentGeneratorStage(model, cohort, latents, settings, 0)
