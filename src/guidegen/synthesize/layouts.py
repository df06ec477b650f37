"""Layouts of made cases other than the plain one: what goes in, and where it may be written."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from guidegen.atomic import replace_folder
from guidegen.errors import GuideGenError
from guidegen.manifest import read_manifest
from guidegen.mask.resample import Grid, read_volume


@dataclass(frozen=True)
class MadeCase:
    """A synthetic case that passed its gates, in the plain layout."""

    case: str
    ct: Path
    labels: Path
    sidecar: dict[str, Any]

    def load(self) -> tuple[np.ndarray, np.ndarray, Grid]:
        """Return CT (int16 HU) and label map (uint8), both on the CT's grid, and that grid."""
        ct, grid = read_volume(self.ct)
        labels, coarse = read_volume(self.labels)
        factor = ct.shape[0] // labels.shape[0]
        if any(fine != factor * size for fine, size in zip(grid.shape, coarse.shape, strict=True)):
            raise GuideGenError(f"{self.ct}: {grid.shape} is no multiple of the label map's {coarse.shape}")
        return ct, labels.repeat(factor, 0).repeat(factor, 1).repeat(factor, 2), grid


def read_cases(root: Path, manifests: Sequence[Path]) -> list[MadeCase]:
    """Return the cases of manifests whose status is ok; their paths are relative to `root`.

    Raises:
        GuideGenError: a manifest is missing, or no case is ok.
    """
    cases = []
    for path in manifests:
        if not path.is_file():
            raise GuideGenError(f"{path}: not made yet; run `guidegen run` or `guidegen synthesize --shard` first")
        for row in read_manifest(path):
            if row["status"] == "ok":
                sidecar = json.loads((root / row["sidecar_path"]).read_text(encoding="utf-8"))
                cases.append(MadeCase(row["case"], root / row["path"], root / row["labels_path"], sidecar))
    if not cases:
        raise GuideGenError(f"{', '.join(path.name for path in manifests)}: no case passed its gates")
    return cases


@contextmanager
def make_new_folder(out: Path) -> Iterator[Path]:
    """Yield a folder that becomes `out`, whole or not at all. Raises GuideGenError where `out` is not empty."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise GuideGenError(f"{out}: exists already; choose another --out")
    with replace_folder(out) as temporary:
        yield temporary
