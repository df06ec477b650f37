"""Checkpoints: whole or not at all, checked when read; the last k and the best are kept.

The random state is no part of them: every batch draws from a seed derived from (study seed, stage, number of the
batch), and the order of the cases is a function of the same, so that the step number says it all. Nor is the number of
processes: tensors are stored whole, and a training may go on with more or fewer GPUs.
"""

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from guidegen.atomic import hash_file, replace_folder
from guidegen.train.devices import gather_tensor, spread_tensor

HELD_OUT = "held_out"
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

    def find_best(self) -> int | None:
        """Return the step with the lowest held-out loss so far."""
        losses = {step: value for step, name, value in self.rows if name == HELD_OUT}
        return min(losses, key=lambda step: losses[step]) if losses else None


@dataclass(frozen=True)
class TrainingState:
    """What a training has to remember, on every process alike."""

    module: nn.Module
    average: nn.Module
    optimizer: Optimizer

    def collect(self) -> dict[str, Tensor]:
        """Return all tensors, whole and on the CPU; every process must take part."""
        tensors = {f"module.{name}": tensor for name, tensor in self.module.state_dict().items()}
        tensors |= {f"average.{name}": tensor for name, tensor in self.average.state_dict().items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": torch.as_tensor(value) for name, value in state.items()}
        return {name: gather_tensor(tensor.detach()).cpu().contiguous().clone() for name, tensor in tensors.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `collect` returned."""
        for prefix, module in (("module.", self.module), ("average.", self.average)):
            now = module.state_dict()
            found = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
            module.load_state_dict(
                {name: spread_tensor(t, now[name]) if name in now else t for name, t in found.items()}
            )
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith("optimizer."):
                _, index, key = name.split(".", 2)
                like = parameters[int(index)]
                whole = tensor.shape == like.shape
                state.setdefault(int(index), {})[key] = spread_tensor(tensor, like) if whole else tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})


@dataclass(frozen=True)
class CheckpointFolder:
    """Where the checkpoints of one training lie.

    `fingerprint` names settings, code and data; checkpoints of another fingerprint are not used.
    """

    folder: Path
    fingerprint: str
    kept: int

    def save(self, step: int, tensors: Mapping[str, Tensor], curves: Curves, scaler: Mapping[str, Any]) -> None:
        """Write the state after `step` steps and remove all checkpoints but the last `kept` and the best.

        Args:
            step: steps done.
            tensors: of `TrainingState.collect`.
            curves: what was measured so far.
            scaler: state of the loss scaling of 16-mixed precision.
        """
        with replace_folder(self.folder / _name(step)) as folder:
            save_file(dict(tensors), folder / "tensors")
            facts = {
                "step": step,
                "fingerprint": self.fingerprint,
                "sha256": hash_file(folder / "tensors"),
                "scaler": dict(scaler),
                "curves": curves.rows,
                "pending": curves.pending,
            }
            (folder / "checkpoint.json").write_text(json.dumps(facts), encoding="utf-8")
        best = curves.find_best()
        for old in self.list()[: -self.kept]:
            if best is None or old.name != _name(best):
                shutil.rmtree(old)

    def list(self) -> list[Path]:
        """Return the checkpoint folders, oldest first."""
        return sorted(self.folder.glob("step-*"))

    def load(self) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
        """Return (facts, tensors) of the newest whole checkpoint, None where there is none.

        A damaged one is passed over with a warning that names it and the one used instead, one of another fingerprint
        as well.
        """
        candidates = self.list()[::-1]
        for index, path in enumerate(candidates):
            found = self._read(path, candidates[index + 1].name if index + 1 < len(candidates) else "the start")
            if found is not None:
                return found
        return None

    def _read(self, path: Path, instead: str) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
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


def _name(step: int) -> str:
    return f"step-{step:08d}"
