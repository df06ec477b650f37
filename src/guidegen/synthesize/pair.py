"""A generated pair as the gates see it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from scipy import ndimage

from guidegen.statements import Statements


@dataclass(frozen=True)
class GateResult:
    """Outcome of one gate."""

    passed: bool | None
    """None where the gate does not apply; the detail then says why."""
    details: tuple[str, ...] = ()
    """What was found wrong, or why the gate does not apply."""
    figure: float | None = None
    """What was measured, where one figure says it."""


@dataclass(frozen=True)
class Pair:
    """Label map and CT over the same physical box, in RAS+."""

    labels: np.ndarray
    """uint8 (X, Y, Z)."""
    ct: np.ndarray | None
    """HU on the same grid or on one that is a whole multiple finer; None for a label map alone."""
    spacing: tuple[float, float, float]
    """Millimetres per voxel of the label grid."""
    statements: Mapping[str, Any] = field(default_factory=dict)
    """What the prompt states, as JSON values."""

    @cached_property
    def said(self) -> Statements:
        """What the prompt states."""
        return Statements.model_validate(dict(self.statements))

    @cached_property
    def fine_labels(self) -> np.ndarray:
        """The label map on the grid of the CT."""
        return self._repeat(self.labels)

    @cached_property
    def fine_interiors(self) -> np.ndarray:
        """The same without the outermost voxels of the label map's structures."""
        whole = ndimage.minimum_filter(self.labels, 3) == ndimage.maximum_filter(self.labels, 3)
        return self._repeat(np.where(whole, self.labels, 0))

    def _repeat(self, labels: np.ndarray) -> np.ndarray:
        factor = self.ct.shape[0] // labels.shape[0] if self.ct is not None else 1
        return labels if factor == 1 else labels.repeat(factor, 0).repeat(factor, 1).repeat(factor, 2)


class Segmenter(Protocol):
    """Something that learned from real cases and finds structures in a CT."""

    @property
    def dice(self) -> float:
        """Mean Dice that it reaches on real patients."""
        ...

    def predict(self, pair: Pair) -> np.ndarray:
        """Return class ids of the pair's CT on the label grid or on the CT's, uint8."""
        ...
