"""The stages of training, in their order, and what a case must have for a stage to learn from it."""

from typing import Literal

Stage = Literal["semantic_synthesizer", "contrast_autoencoder", "latents", "latent_generator"]
NEEDS: dict[str, tuple[str, ...]] = {
    "semantic_synthesizer": ("labels", "prompts"),
    "contrast_autoencoder": ("ct",),
    "latents": ("ct",),
    "latent_generator": ("ct", "prompts"),
}
"""The first two do not need each other; `latents` stores what the last is trained on."""
STAGES = tuple(NEEDS)
NETWORKS = tuple(stage for stage in STAGES if stage != "latents")
"""Stages that train a network; these three are what synthesis needs."""
WORDS = {"labels": "a label map", "ct": "a CT", "prompts": "a prompt"}


def describe_needs(stage: str) -> str:
    """Return what a stage needs of a case in words, e.g. `a CT and a prompt`."""
    return " and ".join(WORDS[part] for part in NEEDS[stage])
