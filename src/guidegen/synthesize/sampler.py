"""The three trained models as one sampler: prompt in, label map and CT out."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file

from guidegen.errors import GuideGenError
from guidegen.manifest import read_manifest
from guidegen.models.contrast_autoencoder import ContrastAutoencoder
from guidegen.models.latent_generator import LatentGenerator
from guidegen.models.model_files import Binding, hash_labels, read_description
from guidegen.models.semantic_synthesizer import SemanticSynthesizer
from guidegen.models.text import TextEncoder, hash_encoder
from guidegen.prepare.text import hash_prompt
from guidegen.seeds import derive_seed
from guidegen.stages import NETWORKS
from guidegen.study import Study
from guidegen.synthesize.plan import CaseRequest


def read_model_hashes(study: Study) -> dict[str, str]:
    """Return the sha256 of each stage's weights, from the manifests of `train`.

    Raises:
        GuideGenError: a stage was not trained yet.
    """
    found = {}
    for stage in NETWORKS:
        path = study.manifest("results", "models", stage)
        rows = {row["case"]: row["sha256"] for row in read_manifest(path)} if path.is_file() else {}
        if "model.safetensors" not in rows:
            raise GuideGenError(f"{path}: stage {stage} was not trained yet; run `guidegen train {stage}` first")
        found[stage] = rows["model.safetensors"]
    return found


def check_binding(study: Study, folder: Path, binding: Binding) -> None:
    """Raise GuideGenError where a stage was trained with another label table, text encoder or grid; names both."""
    classes = tuple(entry.name for entry in study.labels.classes)
    if binding.classes != classes:
        both = zip_longest(binding.classes, classes, fillvalue="nothing")
        theirs, ours = next(names for names in both if names[0] != names[1])
        raise GuideGenError(
            f"{folder}: trained with another label table: its class '{theirs}' is '{ours}' in config/labels.tsv "
            f"({len(binding.classes)} classes there, {len(classes)} here); train it again or restore the table"
        )
    encoder = study.config.prepare.encoder.name
    if binding.encoder and binding.encoder != encoder:
        raise GuideGenError(
            f"{folder}: trained with text encoder '{binding.encoder}', the study has '{encoder}'; "
            f"train it again or set prepare.encoder.name to '{binding.encoder}'"
        )
    if binding.grid != (grid := study.config.prepare.grid):
        raise GuideGenError(
            f"{folder}: trained on a label grid of {binding.grid}, the study has prepare.grid {grid}; train it again "
            f"or set prepare.grid to {binding.grid}"
        )


@dataclass(frozen=True)
class PairSampler:
    """Draws pairs; on the CPU with the config's threads, so that equal seeds give equal bytes."""

    study: Study
    synthesizer: SemanticSynthesizer
    autoencoder: ContrastAutoencoder
    generator: LatentGenerator
    grid: int
    """Edge of the label grid in voxels."""

    @classmethod
    def load(cls, study: Study) -> "PairSampler":
        """Load the three models.

        Raises:
            GuideGenError: one is missing, or was trained with another label table, text encoder or grid.
        """
        torch.set_num_threads(study.config.study.threads)
        folder = study.root / "results" / "models"
        for stage in NETWORKS:
            check_binding(study, folder / stage, read_description(folder / stage, stage)[0])
        labels, encoder = hash_labels(study.labels), hash_encoder(study.config.prepare.encoder)
        both = {"labels_hash": labels, "encoder_hash": encoder}
        models = (
            SemanticSynthesizer.load(folder / NETWORKS[0], **both),
            ContrastAutoencoder.load(folder / NETWORKS[1], labels_hash=labels),
            LatentGenerator.load(folder / NETWORKS[2], **both),
        )
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        first, second, third = (model.to(device) for model in models)
        return cls(study, first, second, third, study.config.prepare.grid)  # type: ignore[arg-type]

    @cached_property
    def states(self) -> dict[str, np.ndarray]:
        """Token states that `prepare` stored, by prompt key."""
        return load_file(self.study.root / "data" / "cohort" / "text" / "states.safetensors")

    @cached_property
    def encoder(self) -> TextEncoder:
        """The text encoder, for prompts that the cohort does not have."""
        return TextEncoder(self.study.config.prepare.encoder)

    def encode(self, prompt: str) -> np.ndarray:
        """Return the token states (L, E) of a prompt."""
        stored = self.states.get(hash_prompt(prompt))
        return self.encoder.encode([prompt])[0] if stored is None else stored

    def find_unread(self, prompt: str) -> str:
        """Return the end of a prompt that the encoder's token limit cuts off, "" where it reads all of it."""
        if hash_prompt(prompt) in self.states or len(prompt) <= self.encoder.settings.max_tokens:
            return ""
        tokens = self.encoder.tokenizer(prompt, return_offsets_mapping=True, truncation=False)["offset_mapping"]
        limit = self.encoder.settings.max_tokens
        return prompt[tokens[limit - 1][0] :].strip() if len(tokens) > limit else ""

    def draw(self, requests: Sequence[CaseRequest], attempt: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return (labels, ct) of one attempt at each case: uint8 (n, n, n) and int16 HU (2n, 2n, 2n).

        On the CPU a case does not depend on the others; on a GPU all are drawn in one batch.
        """
        text = [self.encode(request.prompt) for request in requests]
        conditions = text, [request.spacing for request in requests], [request.coverage for request in requests]
        labels = self.synthesizer.sample(*conditions, seeds=_derive_seeds(requests, attempt, "labels"))
        latents = self.generator.sample(labels, *conditions, seeds=_derive_seeds(requests, attempt, "latents"))
        return [(labels[i], self._decode(latents[i : i + 1], labels[i : i + 1], requests[i])) for i in range(len(text))]

    def _decode(self, latents: np.ndarray, labels: np.ndarray, request: CaseRequest) -> np.ndarray:
        ct = self.autoencoder.decode(latents, labels)[0]
        if not np.isfinite(ct).all():
            raise GuideGenError(f"{request.case}: the autoencoder returned values that are not finite")
        return np.clip(np.rint(ct), -1024, 3071).astype(np.int16)


def _derive_seeds(requests: Sequence[CaseRequest], attempt: int, part: str) -> list[int]:
    return [derive_seed(request.seed, part, attempt) for request in requests]


def list_model_files(study: Study) -> list[Path]:
    """Return the manifests of the three stages."""
    return [study.manifest("results", "models", stage) for stage in NETWORKS]


def find_spacing(
    request: CaseRequest, known: Sequence[tuple[tuple[str, str], tuple[float, float, float]]]
) -> tuple[tuple[float, float, float], str]:
    """Return the true spacing of a case's label grid and where it comes from.

    Args:
        request: the case; its numeric condition is the answer where it has one.
        known: covered range (first and last region) and spacing of each training case.

    Returns:
        Spacing (mm per voxel) and `condition`, `median of training cases covering chest to pelvis (12)`, or
        `median of all training cases (67)`.
    """
    if request.spacing:
        return request.spacing, "condition"
    stated = tuple(str(request.statements.get(f"coverage_{end}") or "") for end in ("first", "last"))
    chosen = [spacing for coverage, spacing in known if coverage == stated]
    source = f"median of training cases covering {stated[0]} to {stated[1]} ({len(chosen)})"
    if not chosen:
        chosen = [spacing for _, spacing in known]
        source = f"median of all training cases ({len(chosen)})"
    x, y, z = np.median(np.array(chosen), axis=0)
    return (float(x), float(y), float(z)), source
