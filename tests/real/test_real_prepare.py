"""Real anatomy through resampling and gates: the TotalSegmentator torso CT, compared with two real label maps."""

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from guidegen.labels import load_labels
from guidegen.manifest import Item
from guidegen.prepare.arrays import ArrayTask, make_arrays
from guidegen.synthesize.gates import Gates
from guidegen.synthesize.pair import GateResult, Pair
from guidegen.synthesize.reference import Reference, measure_volumes
from guidegen.synthesize.settings import GateSettings

pytestmark = pytest.mark.real
REALDATA = Path(os.environ.get("GUIDEGEN_REALDATA", Path(__file__).parents[2].parent / "shared" / "realdata"))
TABLE = load_labels(Path(__file__).parents[2] / "config")


@pytest.fixture(scope="module", autouse=True)
def needs_data() -> None:
    if not REALDATA.is_dir():
        pytest.skip(f"no real CT series at {REALDATA}; set GUIDEGEN_REALDATA to the folder that holds them")


def load_canonical(name: str) -> nib.Nifti1Image:
    return nib.as_closest_canonical(nib.load(REALDATA / name))


def load_torso_map(name: str) -> tuple[np.ndarray, tuple[float, ...]]:
    image = load_canonical(name)
    return TABLE.source_to_torso[np.asarray(image.dataobj).astype(np.uint8)], image.header.get_zooms()[:3]


def crop_to_abdomen(labels: np.ndarray) -> np.ndarray:
    """Keep what the torso CT covers: everything below the heart."""
    return labels[:, :, : int(np.argwhere(labels == TABLE.ids["heart"])[:, 2].min())]


@pytest.fixture(scope="module")
def reference() -> Reference:
    volumes = []
    for name in ("s0327", "s0328"):
        labels, spacing = load_torso_map(f"TotalSegmentator_dataset_masks/{name}_total117_1p5mm.nii.gz")
        volumes.append(measure_volumes(crop_to_abdomen(labels), spacing, len(TABLE)))
    return Reference(np.array(volumes), (("upper abdomen", "pelvis"),) * 2)


@pytest.fixture(scope="module", params=[32, 64])
def torso(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple:
    """Labels (n³), CT ((2n)³) and spacing of the prepared torso."""
    folder = tmp_path_factory.mktemp("torso")
    ct = load_canonical("TotalSegmentator_testdata/example_ct.nii.gz")
    labels, _ = load_torso_map("TotalSegmentator_testdata/example_seg_fast_force_split.nii.gz")
    nib.save(nib.Nifti1Image(np.asarray(ct.dataobj).astype(np.int16), ct.affine), folder / "ct.nii.gz")
    nib.save(nib.Nifti1Image(labels, ct.affine), folder / "labels.nii.gz")
    task = ArrayTask(folder / "ct.nii.gz", folder / "labels.nii.gz", None, request.param, len(TABLE))
    outcome = make_arrays(Item("torso", {}, task), folder)
    arrays = (np.load(folder / outcome.files[role]) for role in ("labels", "ct"))
    return (*arrays, [float(value) for value in outcome.columns["spacing_mm"].split(",")], labels, ct)


def run(labels: np.ndarray, ct: np.ndarray, spacing: list[float], reference: Reference) -> dict[str, GateResult]:
    settings = GateSettings(volume_factor=3)  # type: ignore[call-arg]  # two people do not span the range of people
    x, y, z = spacing
    return dict(Gates(TABLE, settings, reference).check(Pair(labels, ct, (x, y, z))))


def test_prepared_torso_passes_every_gate_that_can_judge_it(torso: tuple, reference: Reference) -> None:
    labels, ct, spacing, *_ = torso
    results = run(labels, ct, spacing, reference)
    assert {name: result.details for name, result in results.items() if result.passed is False} == {}
    assert {name for name, result in results.items() if result.passed} >= {"volume", "left_right", "order", "hu"}


def test_its_mirror_image_fails_left_right_only(torso: tuple, reference: Reference) -> None:
    labels, ct, spacing, *_ = torso
    results = run(labels[::-1], ct[::-1], spacing, reference)
    assert {name for name, result in results.items() if result.passed is False} == {"left_right"}


def test_upside_down_and_wrong_hu_fail_their_gates(torso: tuple, reference: Reference) -> None:
    labels, ct, spacing, *_ = torso
    assert run(labels[:, :, ::-1], ct[:, :, ::-1], spacing, reference)["order"].passed is False
    assert run(labels, ct - 300, spacing, reference)["hu"].passed is False


def test_prepared_torso_keeps_real_volumes_and_hu(torso: tuple) -> None:
    """Volumes in ml and HU medians of the large organs agree with the volume as it came."""
    labels, ct, spacing, source, image = torso
    before = measure_volumes(source, image.header.get_zooms()[:3], len(TABLE))
    after = measure_volumes(labels, spacing, len(TABLE))
    hu = np.asarray(image.dataobj)
    fine = labels.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    for name in ("liver", "lung", "vertebrae", "spleen", "kidney", "aorta", "heart"):
        index = TABLE.ids[name]
        if before[index] > 20:
            assert after[index] == pytest.approx(before[index], rel=0.1), name
            tolerance = 200 if name == "lung" else 60  # its thin bases take on some soft tissue
            assert np.median(ct[fine == index]) == pytest.approx(np.median(hu[source == index]), abs=tolerance), name
