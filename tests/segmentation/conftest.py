"""TotalSegmentator's real code on small random networks, offline."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))


@pytest.fixture(scope="session", autouse=True)
def _installed() -> None:
    if importlib.util.find_spec("totalsegmentator") is None:
        pytest.skip(f"TotalSegmentator is not installed for {sys.executable}; `make test-segmentation` runs this")


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the speed `fastest`, made in a process of its own: nnU-Net reads its paths once."""
    folder = tmp_path_factory.mktemp("totalsegmentator")
    subprocess.run([sys.executable, str(HERE / "random_weights.py"), str(folder), "fastest"], check=True)
    return folder


@pytest.fixture(scope="session")
def ct(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sheared little CT with uneven spacing, int16 HU."""
    import nibabel as nib

    affine = np.array([[4.0, 0, 0, -90], [0, 5.0, 0.3, 20], [0, -0.3, 6.0, 400], [0, 0, 0, 1]])
    values = np.random.default_rng(0).normal(0, 300, (44, 36, 28)).astype(np.int16)
    path = tmp_path_factory.mktemp("ct") / "case.nii.gz"
    nib.Nifti1Image(values, affine).to_filename(path)
    return path
