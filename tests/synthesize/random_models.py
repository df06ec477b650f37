"""Tiny untrained models, stored as `train` stores them."""

import torch

from guidegen.atomic import hash_file
from guidegen.manifest import BASE_COLUMNS
from guidegen.models.contrast_autoencoder import ContrastAutoencoder
from guidegen.models.latent_generator import LatentGenerator
from guidegen.models.model_files import Binding, hash_labels
from guidegen.models.semantic_synthesizer import SemanticSynthesizer
from guidegen.models.settings import (
    ContrastAutoencoderSettings,
    LatentGeneratorSettings,
    SemanticSynthesizerSettings,
    UNetSettings,
)
from guidegen.models.text import hash_encoder
from guidegen.study import Study
from guidegen.tables import write_tsv


def save_random_models(study: Study, grid: int = 16) -> None:
    """Store the three models as `train` does, untrained."""

    torch.manual_seed(0)
    unet = UNetSettings(channels=(8, 16), blocks=1, attention_grid=4, head_channels=8, norm_groups=4)
    binding = Binding(
        grid=grid,
        classes=tuple(entry.name for entry in study.labels.classes),
        labels_hash=hash_labels(study.labels),
        encoder=study.config.prepare.encoder.name,
        encoder_hash=hash_encoder(study.config.prepare.encoder),
        text_width=384,
        max_tokens=study.config.prepare.encoder.max_tokens,
    )
    autoencoder = ContrastAutoencoderSettings(channels=(8, 8, 8), blocks=1, norm_groups=4, label_channels=4)
    models = {
        "semantic_synthesizer": SemanticSynthesizer(SemanticSynthesizerSettings(unet=unet, sampling_steps=3), binding),
        "contrast_autoencoder": ContrastAutoencoder(autoencoder, binding),
        "latent_generator": LatentGenerator(LatentGeneratorSettings(unet=unet, sampling_steps=2), binding, 4),
    }
    for stage, model in models.items():
        folder = study.root / "results" / "models" / stage
        folder.mkdir(parents=True, exist_ok=True)
        model.save(folder)
        write_model_manifest(study, stage)


def write_model_manifest(study: Study, stage: str) -> None:

    folder = study.root / "results" / "models" / stage
    rows = [
        {
            "case": path.name,
            "status": "ok",
            "path": path.relative_to(study.root),
            "bytes": path.stat().st_size,
            "sha256": hash_file(path),
        }
        for path in sorted(folder.iterdir())
    ]
    write_tsv(study.manifest("results", "models", stage), BASE_COLUMNS, rows)
