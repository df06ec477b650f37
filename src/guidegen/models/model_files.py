"""How a trained model lies on disk: `model.safetensors` beside `model.json`, nothing pickled."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from guidegen.atomic import replace_file, write_text
from guidegen.errors import GuideGenError
from guidegen.labels import LabelTable
from guidegen.section import Section

FORMAT = 1


class Binding(Section):
    """What a model was trained on and must be used with."""

    grid: int
    """Width n of the label grid; the CT grid is 2n wide, the latent n/2."""
    classes: tuple[str, ...]
    """Names of the torso classes by id."""
    labels_hash: str
    """`hash_labels` of the label table."""
    encoder: str = ""
    """Text encoder; empty where the model reads no text."""
    encoder_hash: str = ""
    """Hash of its files and token limit."""
    text_width: int = 0
    """Width E of its token states."""
    max_tokens: int = 0
    """Length that texts are padded to."""


def hash_labels(labels: LabelTable) -> str:
    """Return a hash of class ids, names and source labels, 16 hex digits; colours and HU ranges do not count."""
    rows = [[entry.id, entry.name, list(entry.source_labels)] for entry in labels.classes]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]


def save_model(folder: Path, kind: str, model: nn.Module, binding: Binding, facts: Mapping[str, Any]) -> None:
    """Write weights and description; `facts` holds the model's settings and whatever else its class needs."""
    with replace_file(folder / "model.safetensors") as path:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}, path)
    text = {"format": FORMAT, "kind": kind, "binding": binding.model_dump(mode="json"), **facts}
    write_text(folder / "model.json", json.dumps(text, indent=1, sort_keys=True) + "\n")


def read_description(folder: Path, kind: str, **expected: str | None) -> tuple[Binding, dict[str, Any]]:
    """Return (binding, facts) of a stored model.

    Args:
        folder: where the model lies.
        kind: which class it must be of.
        **expected: fields of the binding that must have this value; None is not checked.

    Raises:
        GuideGenError: the model is missing, of another kind, or bound to another label table or text encoder.
    """
    path = folder / "model.json"
    if not path.is_file():
        raise GuideGenError(f"{path}: no such model; run `guidegen train {kind.replace('_', '-')}` first")
    facts = json.loads(path.read_text(encoding="utf-8"))
    if facts["kind"] != kind or facts["format"] != FORMAT:
        raise GuideGenError(f"{path}: holds a {facts['kind']} of format {facts['format']}, expected {kind}, {FORMAT}")
    binding = Binding.model_validate(facts["binding"])
    for name, value in expected.items():
        if value is not None and getattr(binding, name) != value:
            raise GuideGenError(
                f"{path}: trained with {name} '{getattr(binding, name)}', the study has '{value}'; train it again"
            )
    return binding, facts


def load_weights(folder: Path, model: nn.Module) -> None:
    """Load the weights strictly and freeze the model in evaluation mode."""
    path = folder / "model.safetensors"
    try:
        model.load_state_dict(load_file(path), strict=True)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise GuideGenError(f"{path}: does not fit its model.json: {error}") from None
    model.eval().requires_grad_(False)
