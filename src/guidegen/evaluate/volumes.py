"""Where the volumes of real and generated cases lie, for measures that look at whole images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np

from guidegen.evaluate.cases import list_synthetic, read_volume
from guidegen.prepare.cohort import CohortCase
from guidegen.study import Study


@dataclass(frozen=True)
class Volume:
    """A case with CT and labels on the study's grids.

    `group` is the patient of a real case, and what the prompt of a generated one was taken from; `spacing` is that of
    the label grid in mm.
    """

    case: str
    group: str
    ct: Path
    labels: Path
    spacing: tuple[float, float, float]

    def load_ct(self) -> np.ndarray:
        """Return the CT, HU (2n, 2n, 2n)."""
        return _load(self.ct)

    def load_labels(self) -> np.ndarray:
        """Return the label map, uint8 (n, n, n)."""
        return _load(self.labels).astype(np.uint8)


def _load(path: Path) -> np.ndarray:
    return np.load(path, allow_pickle=False) if path.suffix == ".npy" else read_volume(path)[0]


def list_real_volumes(cohort: Sequence[CohortCase], *splits: str) -> list[Volume]:
    """Return the real cases of the given splits that have CT and labels."""
    return [
        Volume(case.case, case.patient, case.ct_path, case.labels_path, case.spacing)
        for case in cohort
        if case.split in splits and case.ct_path and case.labels_path
    ]


def list_synthetic_volumes(study: Study, name: str) -> list[Volume]:
    """Return the cases of a synthetic set that are to be used (`ok`)."""
    volumes = []
    for row in list_synthetic(study, name):
        if row["status"] == "ok":
            labels = study.root / row["labels_path"]
            group = row["source_case"] or row["case"]
            volumes.append(Volume(row["case"], group, study.root / row["path"], labels, read_spacing(labels)))
    return volumes


def read_spacing(path: Path) -> tuple[float, float, float]:
    """Return the voxel size in mm along x, y, z of a NIfTI in RAS+."""
    x, y, z = nibabel.load(path).header.get_zooms()[:3]  # type: ignore[attr-defined]
    return float(x), float(y), float(z)
