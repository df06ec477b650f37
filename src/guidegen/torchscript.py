"""Networks of others, as TorchScript files that a study brings along."""

from pathlib import Path

import torch
from torch import nn

from guidegen.errors import GuideGenError


def load_script(path: Path, key: str) -> nn.Module:
    """Load a TorchScript file onto the CPU, frozen. Raises GuideGenError where it is missing or none; names the key."""
    if not path.is_file():
        raise GuideGenError(f"{path}: no such file; `{key}` names a TorchScript file, or nothing")
    try:
        network = torch.jit.load(path, map_location="cpu").eval()
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise GuideGenError(f"{path}: no TorchScript (`torch.jit.save` writes it): {reason}") from None
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    return network
