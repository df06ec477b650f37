"""Every random choice of the study comes from here."""

import hashlib

import numpy as np


def derive_seed(study_seed: int, *parts: str | int) -> int:
    """Return the 63-bit seed of one random choice.

    Args:
        study_seed: `study.seed` of the config.
        *parts: what the choice belongs to, e.g. `("synthesize", case)`; order matters.

    Returns:
        An integer in [0, 2**63), the same on every machine.
    """
    text = "\x1f".join([str(study_seed), *map(str, parts)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def derive_rng(study_seed: int, *parts: str | int) -> np.random.Generator:
    """Return a NumPy generator seeded with `derive_seed` of the same arguments."""
    return np.random.Generator(np.random.PCG64(derive_seed(study_seed, *parts)))
