"""The latents of all CT cases, computed once for stage III."""

from pathlib import Path

import numpy as np

from guidegen.atomic import hash_file
from guidegen.codehash import code_hash
from guidegen.manifest import Item, Outcome, process_items
from guidegen.models.contrast_autoencoder import ContrastAutoencoder
from guidegen.models.model_files import hash_labels
from guidegen.study import Study
from guidegen.train.cohort import Cohort, CohortCase
from guidegen.train.engine import fix_numerics


def store_latents(study: Study) -> list[dict[str, str]]:
    """Write `results/models/latents/<case>.npy` of every case with a CT: normalised means, float16 (L, n/2, n/2, n/2).

    Labels enter where the case has them. Returns the manifest's rows.
    """
    import torch

    fix_numerics(study.config.study.threads)
    folder = study.root / "results" / "models" / "contrast_autoencoder"
    model = ContrastAutoencoder.load(folder, labels_hash=hash_labels(study.labels))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device)
    mean, std = (part.cpu().numpy().reshape(-1, 1, 1, 1) for part in (model.latent_mean, model.latent_std))
    cohort = Cohort.load(study)

    def encode(item: Item, work: Path) -> Outcome:
        case: CohortCase = item.payload
        grid = model.binding.grid
        ct = case.load_ct()
        case.check_array("CT", ct, (2 * grid,) * 3, -32768, 32767)
        labels = case.load_labels()[None] if case.labels else None
        latents = (model.encode(ct[None], labels)[0] - mean) / std
        np.save(work / f"{case.case}.npy", latents.astype(np.float16))
        return Outcome(files={"": f"{case.case}.npy"})

    weights = hash_file(folder / "model.safetensors")
    items = [
        Item(case.case, {"model": weights, "ct": hash_file(case.ct), "labels": _hash(case.labels)}, case)
        for case in cohort.cases
        if case.ct
    ]
    return process_items(
        study.shard("results", "models", "latents"), items, encode, fingerprint=code_hash("models"), columns=()
    )


def _hash(path: Path | None) -> str:
    return hash_file(path) if path else ""
