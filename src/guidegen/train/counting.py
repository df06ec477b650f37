"""Work of networks, counted on tensors that have shapes and no values."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class Work:
    """What some calls cost."""

    operations: float
    """Floating-point operations of convolutions and matrix products; element-wise work does not count."""
    moved: float
    """Bytes that all operations read and write, as if none were fused and nothing cached."""

    def __add__(self, other: "Work") -> "Work":
        return Work(self.operations + other.operations, self.moved + other.moved)

    def __mul__(self, factor: float) -> "Work":
        return Work(self.operations * factor, self.moved * factor)


class _MovedBytes(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if not func.is_view:
            leaves = tree_leaves((args, kwargs, found))
            self.total += sum(leaf.numel() * leaf.element_size() for leaf in leaves if isinstance(leaf, Tensor))
        return found


def count_work(run: Callable[[], object]) -> Work:
    """Return what `run` costs; its tensors may lie on the meta device."""
    with FlopCounterMode(display=False) as operations, _MovedBytes() as moved:
        run()
    return Work(float(operations.get_total_flops()), float(moved.total))


def strip_values(value: Any) -> Any:
    """Return a batch (a named tuple, nested) on the meta device."""
    if isinstance(value, Tensor):
        return value.to("meta")
    if isinstance(value, tuple):
        return type(value)(*(strip_values(part) for part in value))
    return value
