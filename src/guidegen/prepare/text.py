"""The prompts of the cohort and the token states that the frozen text encoder makes of them."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from guidegen.codehash import code_hash
from guidegen.manifest import Item, Outcome, process_items
from guidegen.models.text import hash_encoder
from guidegen.prepare.join import Prompt
from guidegen.study import Study
from guidegen.tables import write_tsv

EMPTY_KEY = "empty"
PROMPT_COLUMNS = ("case", "variant", "key", "prompt", "statements")


def hash_prompt(text: str) -> str:
    """Return the key of a prompt in `states.safetensors`: 16 hex digits of its hash, `empty` for the empty prompt."""
    return hashlib.sha256(text.encode()).hexdigest()[:16] if text else EMPTY_KEY


def write_text_tables(study: Study, prompts: Iterable[Prompt]) -> None:
    """Write `data/cohort/text/` and its manifest; states are encoded again only where prompts or encoder changed."""
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

    def work(item: Item, folder: Path) -> Outcome:
        if item.case == "prompts.tsv":
            write_tsv(folder / item.case, PROMPT_COLUMNS, rows)
        else:
            _encode(study, texts, folder / item.case)
        return Outcome(files={"": item.case})

    items = [
        Item("prompts.tsv", {"rows": digest}),
        Item("states.safetensors", {"keys": keys, "encoder": hash_encoder(encoder)}),
    ]
    shard = study.shard("data", "cohort", "text")
    process_items(shard, items, work, fingerprint=code_hash("prepare.text"), columns=())


def _encode(study: Study, texts: dict[str, str], target: Path) -> None:
    import json

    import numpy as np
    import torch
    from safetensors.numpy import save_file

    from guidegen.models.text import TextEncoder

    torch.set_num_threads(study.config.study.threads)
    encoder = TextEncoder(study.config.prepare.encoder)
    keys = sorted(texts)
    states = dict(zip(keys, encoder.encode([texts[key] for key in keys]), strict=True))
    about = {"encoder": study.config.prepare.encoder.model_dump(mode="json")}
    save_file(
        {key: np.ascontiguousarray(value, np.float16) for key, value in states.items()},
        target,
        metadata={"guidegen": json.dumps(about, sort_keys=True)},
    )
