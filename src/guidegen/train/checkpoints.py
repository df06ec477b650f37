"""Checkpoints: whole or not at all, checked when read, the last k kept.

The random state is no part of them: every step draws from a seed derived from (study seed, stage, step), and the order
of the cases is a function of the same, so that the step number says it all.
"""

import json
import logging
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from guidegen.atomic import hash_file, replace_folder

log = logging.getLogger(__name__)


@dataclass
class Curves:
    """The curves of one training: a point per loss every few steps, and what was measured since the last point."""

    rows: list[tuple[int, str, float]] = field(default_factory=list)
    """(step, name, value)."""
    pending: list[dict[str, float]] = field(default_factory=list)

    def close_interval(self, step: int) -> None:
        """Add one point per loss: the mean since the last point."""
        for name in sorted({name for row in self.pending for name in row}):
            values = [row[name] for row in self.pending if name in row]
            self.rows.append((step, name, sum(values) / len(values)))
        self.pending = []


@dataclass(frozen=True)
class CheckpointFolder:
    """Where the checkpoints of one training lie.

    `fingerprint` names settings, code and data; checkpoints of another fingerprint are not used.
    """

    folder: Path
    fingerprint: str
    kept: int

    def save(self, step: int, module: nn.Module, average: nn.Module, optimizer: Optimizer, curves: Curves) -> None:
        """Write the state after `step` steps and remove checkpoints beyond the last `kept`."""
        tensors = {f"module.{name}": tensor for name, tensor in module.state_dict().items()}
        tensors |= {f"average.{name}": tensor for name, tensor in average.state_dict().items()}
        for index, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": torch.as_tensor(value) for name, value in state.items()}
        with replace_folder(self.folder / f"step-{step:08d}") as folder:
            save_file({name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}, folder / "tensors")
            facts = {
                "step": step,
                "fingerprint": self.fingerprint,
                "sha256": hash_file(folder / "tensors"),
                "curves": curves.rows,
                "pending": curves.pending,
            }
            (folder / "checkpoint.json").write_text(json.dumps(facts), encoding="utf-8")
        for old in self.list()[: -self.kept]:
            shutil.rmtree(old)

    def list(self) -> list[Path]:
        """Return the checkpoint folders, oldest first."""
        return sorted(self.folder.glob("step-*"))

    def restore(self, module: nn.Module, average: nn.Module, optimizer: Optimizer) -> tuple[int, Curves]:
        """Load the newest whole checkpoint; return (steps done, curves), 0 and none where there is no checkpoint.

        A damaged one is passed over with a warning, one of another fingerprint as well.
        """
        candidates = self.list()[::-1]
        for index, path in enumerate(candidates):
            found = self._read(path, candidates[index + 1] if index + 1 < len(candidates) else None)
            if found is None:
                continue
            facts, tensors = found
            module.load_state_dict(_strip(tensors, "module."))
            average.load_state_dict(_strip(tensors, "average."))
            _load_optimizer(optimizer, _strip(tensors, "optimizer."))
            return facts["step"], Curves([tuple(row) for row in facts["curves"]], facts["pending"])
        return 0, Curves()

    def _read(self, path: Path, previous: Path | None) -> tuple[dict, dict[str, Tensor]] | None:
        instead = previous.name if previous else "the start"
        try:
            facts = json.loads((path / "checkpoint.json").read_text(encoding="utf-8"))
            if facts["fingerprint"] != self.fingerprint:
                log.warning("%s: made with other settings, code or data; not used", path)
                return None
            if hash_file(path / "tensors") != facts["sha256"]:
                log.warning("%s: damaged (sha256 differs); going back to %s", path, instead)
                return None
            return facts, load_file(path / "tensors")
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            log.warning("%s: damaged (%s); going back to %s", path, error, instead)
            return None


def _strip(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _load_optimizer(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    description = optimizer.state_dict()
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": description["param_groups"]})
