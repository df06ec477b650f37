"""TotalSegmentator as the judge of synthetic CTs: it runs in the segmentation environment, one process per CT."""

import shlex
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from guidegen.errors import GuideGenError
from guidegen.mask.resample import read_volume, write_labels
from guidegen.study import Study
from guidegen.synthesize.pair import Pair
from guidegen.synthesize.volumes import center_grid, write_ct

COMMAND = "segment-synthetic"
"""Hidden command that the segmentation environment runs."""


@dataclass(frozen=True)
class TotalSegmentator:
    """TotalSegmentator with the speed, device and weights of `mask.totalsegmentator`."""

    study: Study
    dice: float = 1.0
    """Label maps of the cohort are mostly its own."""

    def predict(self, pair: Pair) -> np.ndarray:
        """Return class ids on the CT's grid, uint8 (2n, 2n, 2n).

        Raises:
            GuideGenError: it is not installed where `environments.segmentation` says, or its weights are missing.
        """
        assert pair.ct is not None
        size = pair.labels.shape[0]
        with tempfile.TemporaryDirectory(prefix="guidegen-judge-") as name:
            ct, labels = Path(name) / "ct.nii.gz", Path(name) / "labels.nii.gz"
            write_ct(ct, pair.ct, center_grid(size, pair.spacing, pair.ct.shape[0] // size))
            words = [COMMAND, "--study", str(self.study.root), "--ct", str(ct), "--out", str(labels)]
            command = [*shlex.split(self.study.config.environments.segmentation), *words]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise GuideGenError(f"{shlex.join(command[:-4])}: {(done.stderr or done.stdout).strip()[-500:]}")
            return read_volume(labels)[0]


def segment_synthetic(study: Study, ct: Path, out: Path) -> None:
    """Write the torso classes that TotalSegmentator finds in a CT; runs in the segmentation environment."""
    from guidegen.mask.totalsegmentator import map_ids, read_registry, segment_volume
    from guidegen.mask.weights import locate_weights, resolve_home

    settings = study.config.mask.totalsegmentator
    locate_weights(study.root, settings)
    found, grid = segment_volume(ct, resolve_home(study.root, settings), settings)
    write_labels(out, study.labels.source_to_torso[map_ids(read_registry(), study.labels.source_ids)[found]], grid)
