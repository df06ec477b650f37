"""Metrics: cases per minute of segmentation scores and of fidelity, and the Fréchet distance, against MONAI's."""

import importlib.util
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
GRID, CLASSES, TOLERANCE_MM, THREADS = 64, 21, 3.0, 2


def load_fabricated() -> Any:
    """Return the module of the tests that draws torsos."""
    spec = importlib.util.spec_from_file_location(
        "fabricated_results", ROOT / "tests" / "evaluate" / "fabricated_results.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def time_call(call: Callable[[], object], repeats: int = 3) -> float:
    """Return median seconds after a warm-up."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def score_plainly(predicted: np.ndarray, truth: np.ndarray, spacing_mm: tuple[float, ...]) -> dict[str, np.ndarray]:
    """Score one case by MONAI's metrics on one-hot volumes."""
    import torch
    from monai.metrics.hausdorff_distance import compute_hausdorff_distance
    from monai.metrics.meandice import compute_dice
    from monai.metrics.surface_dice import compute_surface_dice
    from monai.networks.utils import one_hot

    one, other = (one_hot(torch.from_numpy(array)[None, None].long(), CLASSES) for array in (predicted, truth))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hd95 = compute_hausdorff_distance(one, other, percentile=95, spacing=spacing_mm)
        surface = compute_surface_dice(one, other, [TOLERANCE_MM] * (CLASSES - 1), spacing=spacing_mm)
    return {
        "dice": compute_dice(one, other, include_background=False)[0].numpy(),
        "hd95": hd95[0].numpy(),
        "surface_dice": surface[0].numpy(),
    }


def measure_scores(labels: np.ndarray, spacing_mm: tuple[float, ...]) -> dict[str, Any]:
    """Return the row of segmentation scores; both ways must agree on Dice."""
    from guidegen.evaluate.scores import score_labels

    rng = np.random.default_rng(0)
    predicted = np.where(rng.random(labels.shape) < 0.02, 0, np.roll(labels, 1, 0)).astype(np.uint8)
    ours = score_labels(predicted, labels, spacing_mm, CLASSES, TOLERANCE_MM)["dice"][1:]
    theirs = score_plainly(predicted, labels, spacing_mm)["dice"]
    known = np.isfinite(ours) & np.isfinite(theirs)
    if not np.allclose(ours[known], theirs[known], atol=1e-5):
        raise ValueError(f"Dice differs: {ours[known]}, {theirs[known]}")
    return {
        "name": f"segmentation scores, {GRID}³, {CLASSES} classes",
        "unit": "cases/min",
        "ours": 60 / time_call(lambda: score_labels(predicted, labels, spacing_mm, CLASSES, TOLERANCE_MM)),
        "baseline": 60 / time_call(lambda: score_plainly(predicted, labels, spacing_mm)),
        "baseline_name": "MONAI's metrics on one-hot volumes",
        "better": "higher",
        "goal": 2,
    }


def measure_fidelity(study: Any, volume: Any) -> dict[str, Any]:
    """Return the row of what fidelity does per case: reading, features of slices, volume and stacks, statistics."""
    from guidegen.evaluate.fidelity import Describer

    describe = Describer(study)
    rate = 60 / time_call(lambda: describe([volume], lambda *_: None))
    return {
        "name": f"fidelity features, CT {2 * GRID}³",
        "unit": "cases/min",
        "ours": rate,
        "better": "higher",
        "goal": "at least 20",
        "holds": rate >= 20,
    }


def measure_frechet() -> dict[str, Any]:
    """Return the row of one Fréchet distance as FID by Inception needs it: 200 vectors of 2048 features."""
    import torch
    from monai.metrics.fid import FIDMetric

    from guidegen.evaluate.frechet import measure_frechet

    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(200, 2048)), rng.normal(0.1, 1.1, size=(200, 2048))
    theirs = FIDMetric()
    return {
        "name": "Fréchet distance, 200 vectors of 2048 features",
        "unit": "s",
        "ours": time_call(lambda: measure_frechet(one, other)),
        "baseline": time_call(lambda: theirs(torch.from_numpy(one), torch.from_numpy(other)), 1),
        "baseline_name": "MONAI's FIDMetric",
        "goal": 10,
    }


def rows() -> list[dict[str, Any]]:
    """Return the rows of all metrics."""
    import nibabel
    import torch

    from guidegen.evaluate.volumes import Volume
    from guidegen.study import Study

    torch.set_num_threads(THREADS)
    fabricated = load_fabricated()
    rng = np.random.default_rng(3)
    labels, ct, spacing = fabricated.make_torso(fabricated.draw_traits(rng, "lung"), rng, GRID)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, array in (("ct", ct), ("labels", labels)):
            nibabel.save(nibabel.Nifti1Image(array, np.diag([*spacing, 1.0])), root / f"{name}.nii.gz")
        study = Study.load(fabricated.fabricate_results(root / "study", patients=2, asked=2).root)
        volume = Volume("torso", "torso", root / "ct.nii.gz", root / "labels.nii.gz", spacing)
        return [measure_scores(labels, spacing), measure_fidelity(study, volume), measure_frechet()]
