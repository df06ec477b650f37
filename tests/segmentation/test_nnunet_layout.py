"""A synthetic set in nnU-Net's layout, checked by nnU-Net itself."""

from pathlib import Path

import numpy as np
import pytest

from guidegen.labels import load_labels
from guidegen.mask.resample import write_labels
from guidegen.synthesize.layouts import MadeCase
from guidegen.synthesize.nnunet import write_nnunet
from guidegen.synthesize.volumes import center_grid, write_ct

pytestmark = pytest.mark.segmentation
CONFIG = Path(__file__).parents[2] / "config"


def test_nnunet_accepts_a_synthetic_set(tmp_path: Path, capsys) -> None:
    from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity

    table, cases = load_labels(CONFIG), []
    for number in range(2):
        rng = np.random.default_rng(number)
        labels = rng.integers(0, len(table), (12, 12, 12), np.uint8)
        ct = rng.integers(-1024, 1024, (24, 24, 24)).astype(np.int16)
        name = tmp_path / f"train-{number:05d}"
        spacing = (9.1, 8.3, 12.7)
        write_ct(name.with_suffix(".ct.nii.gz"), ct, center_grid(12, spacing, 2))
        write_labels(name.with_suffix(".labels.nii.gz"), labels, center_grid(12, spacing))
        files = name.with_suffix(".ct.nii.gz"), name.with_suffix(".labels.nii.gz")
        cases.append(MadeCase(name.name, *files, {"licences": []}))
    out = tmp_path / "Dataset501_Synthetic"
    write_nnunet(cases, out, table)
    verify_dataset_integrity(str(out), num_processes=1)
    assert "verify_dataset_integrity Done" in capsys.readouterr().out
