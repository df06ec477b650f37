"""The prompts of the cohort and the token states that the frozen text encoder makes of them."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from guidegen.atomic import hash_file
from guidegen.codehash import code_hash
from guidegen.manifest import Item, Outcome, Shard, process_items
from guidegen.models.text import hash_encoder
from guidegen.prepare.join import Prompt
from guidegen.study import Study
from guidegen.tables import write_tsv

EMPTY_KEY = "empty"
STATES = "states.safetensors"
PROMPT_COLUMNS = ("case", "variant", "key", "prompt", "statements")


def hash_prompt(text: str) -> str:
    """Return the key of a prompt in `states.safetensors`: 16 hex digits of its hash, `empty` for the empty prompt."""
    return hashlib.sha256(text.encode()).hexdigest()[:16] if text else EMPTY_KEY


def write_text_tables(study: Study, prompts: Iterable[Prompt]) -> None:
    """Write `data/cohort/text/` and its manifest; only prompts that are new to the encoder are encoded."""
    rows = [
        {
            "case": prompt.case,
            "variant": prompt.variant,
            "key": hash_prompt(prompt.text),
            "prompt": prompt.text,
            "statements": prompt.statements,
        }
        for prompt in sorted(prompts, key=lambda prompt: (prompt.case, prompt.variant))
    ]
    texts = {hash_prompt(text): text for text in ["", *(row["prompt"] for row in rows)]}
    digest = hashlib.sha256(repr(rows).encode()).hexdigest()
    keys = hashlib.sha256(repr(sorted(texts)).encode()).hexdigest()
    encoder = study.config.prepare.encoder
    shard = study.shard("data", "cohort", "text")

    def work(item: Item, folder: Path) -> Outcome:
        if item.case == "prompts.tsv":
            write_tsv(folder / item.case, PROMPT_COLUMNS, rows)
        else:
            _encode(study, texts, folder / item.case, shard)
        return Outcome(files={"": item.case})

    items = [
        Item("prompts.tsv", {"rows": digest}),
        Item(STATES, {"keys": keys, "encoder": hash_encoder(encoder)}),
    ]
    process_items(shard, items, work, fingerprint=code_hash("prepare.text"), columns=())


def _encode(study: Study, texts: dict[str, str], target: Path, shard: Shard) -> None:
    """Write the states of all texts; those that the same encoder made before are taken over."""
    import numpy as np
    import torch
    from safetensors.numpy import save_file

    from guidegen.models.text import TextEncoder

    torch.set_num_threads(study.config.study.threads)
    settings = study.config.prepare.encoder
    made_by = f"{hash_encoder(settings)}-{code_hash('models.text')}-{study.config.study.threads}"
    about = json.dumps({"encoder": settings.model_dump(mode="json"), "made_by": made_by}, sort_keys=True)
    states = {key: state for key, state in _read_states(shard, about).items() if key in texts}
    if new := sorted(texts.keys() - states.keys()):
        states |= zip(new, TextEncoder(settings).encode([texts[key] for key in new]), strict=True)
    arrays = {key: np.ascontiguousarray(states[key], np.float16) for key in sorted(states)}
    save_file(arrays, target, metadata={"guidegen": about})


def _read_states(shard: Shard, about: str) -> dict[str, Any]:
    """Return the states that the same encoder and code wrote, none where their file is not as its record says.

    The record is the shard's own: Snakemake deletes the manifest before it runs the job again.
    """
    from safetensors import safe_open

    path, record = shard.bulk / STATES, shard.state / f"{STATES}.json"
    if not path.is_file() or not record.is_file():
        return {}
    if hash_file(path) != json.loads(record.read_text(encoding="utf-8"))["row"]["sha256"]:
        return {}
    with safe_open(path, "np") as file:
        if (file.metadata() or {}).get("guidegen") != about:
            return {}
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
