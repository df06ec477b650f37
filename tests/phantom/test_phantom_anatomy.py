"""The painted torso: what is in it, where it lies, how dense it is."""

import dataclasses
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from guidegen.labels import load_labels
from guidegen.phantom.paint import paint_patient, read_source_ids
from guidegen.phantom.patient import RANGES, Patient, find_config, list_default_collections, make_patient
from guidegen.statements import Phase, Sex, Side

TABLE = load_labels(find_config())
IDS = read_source_ids()


def make_full(collection: str, index: int = 0, **changes: object) -> Patient:
    patient = make_patient(collection, index, 7)
    _, _, top, bottom = RANGES["chest to pelvis"]
    changes = {"range_name": "chest to pelvis", "top": top, "bottom": bottom, "absent": (), **changes}
    return dataclasses.replace(patient, **changes)


def with_tumour(collection: str, **changes: object) -> Patient:
    for index in range(50):
        patient = make_full(collection, index)
        if patient.tumour:
            return dataclasses.replace(patient, tumour=dataclasses.replace(patient.tumour, **changes))
    raise AssertionError("no patient with a tumour among fifty")


@cache
def paint_healthy(collection: str) -> np.ndarray:
    return paint_patient(dataclasses.replace(with_tumour(collection), tumour=None), 6.0, 72)[0]


def centre(labels: np.ndarray, affine: np.ndarray, *names: str) -> np.ndarray:
    points = np.argwhere(np.isin(labels, [IDS[name] for name in names]))
    assert len(points), f"{names} is not in the volume"
    return affine[:3, :3] @ points.mean(axis=0) + affine[:3, 3]


@pytest.mark.parametrize("sex", list(Sex))
@pytest.mark.parametrize("phase", list(Phase))
def test_full_torso_has_all_twenty_classes_with_plausible_hu(sex: Sex, phase: Phase) -> None:
    patient = dataclasses.replace(with_tumour("tcga_kirc"), sex=sex, phase=phase)
    labels, hu, _ = paint_patient(patient, 8.0, 80)
    torso = TABLE.source_to_torso[labels]
    assert hu.dtype == np.int16
    assert labels.dtype == np.uint8
    for entry in TABLE.classes[1:]:
        inside = hu[torso == entry.id]
        assert len(inside), f"no {entry.name}"
        assert entry.hu_low <= np.median(inside) <= entry.hu_high, entry.name


def test_left_and_right() -> None:
    labels, _, affine = paint_patient(make_full("tcga_lihc"), 8.0, 80)
    liver, spleen, stomach = (centre(labels, affine, name)[0] for name in ("liver", "spleen", "stomach"))
    assert liver > 20 > -20 > spleen
    assert stomach < 0
    for name in ("kidney", "adrenal_gland", "hip", "rib_{}_6"):
        right, left = (
            centre(labels, affine, name.format(side) if "{}" in name else f"{name}_{side}")[0]
            for side in ("right", "left")
        )
        assert right > 20 > -20 > left, name
    assert centre(labels, affine, "lung_middle_lobe_right")[0] > 30
    assert centre(labels, affine, "heart")[0] < 5
    assert centre(labels, affine, "inferior_vena_cava")[0] > centre(labels, affine, "aorta")[0]


def test_order_from_head_to_foot() -> None:
    labels, _, affine = paint_patient(make_full("tcga_coad"), 6.0, 80)
    spine = [f"vertebrae_T{n}" for n in range(1, 13)] + [f"vertebrae_L{n}" for n in range(1, 6)]
    heights = [centre(labels, affine, name)[2] for name in spine]
    assert all(upper - lower > 10 for upper, lower in pairwise(heights))
    chain = ("heart", "liver", "kidney_right", "small_bowel", "urinary_bladder")
    organs = [centre(labels, affine, name)[2] for name in chain]
    assert organs == sorted(organs, reverse=True)
    for side in ("left", "right"):
        assert centre(labels, affine, f"adrenal_gland_{side}")[2] > centre(labels, affine, f"kidney_{side}")[2] + 20
    assert centre(labels, affine, "esophagus")[1] < centre(labels, affine, "heart")[1]
    assert centre(labels, affine, "vertebrae_T8")[1] < centre(labels, affine, "esophagus")[1]


def test_organs_have_human_volumes() -> None:
    labels, _, affine = paint_patient(make_full("tcga_luad"), 5.0, 104)
    millilitres = abs(np.linalg.det(affine[:3, :3])) / 1000
    torso = TABLE.source_to_torso[labels]
    limits = {
        "liver": (900, 2300), "spleen": (70, 400), "kidney": (180, 520), "lung": (2000, 7500), "heart": (350, 950),
        "pancreas": (35, 160), "gallbladder": (10, 80), "aorta": (90, 400), "urinary_bladder": (50, 450),
        "rib": (150, 650),
    }  # fmt: skip
    for name, (low, high) in limits.items():
        volume = (torso == TABLE.ids[name]).sum() * millilitres
        assert low < volume < high, f"{name}: {volume:.0f} ml"


def test_ribs_are_arcs_and_do_not_touch_each_other() -> None:
    labels, _, affine = paint_patient(make_full("tcga_luad"), 4.0, 112)
    for number in (4, 7, 9):
        for side, sign in (("right", 1), ("left", -1)):
            points = np.argwhere(labels == IDS[f"rib_{side}_{number}"]) @ affine[:3, :3].T + affine[:3, 3]
            assert (sign * points[:, 0] > 0).all()
            back, front = points[points[:, 1].argmin()], points[points[:, 1].argmax()]
            assert back[2] - front[2] > 25, "a rib falls from the spine to the front"
            assert np.ptp(sign * points[:, 0]) > 60


def test_phases_differ_as_in_contrast_ct() -> None:
    patient = make_full("tcga_lihc")
    median: dict[tuple[Phase, str], float] = {}
    for phase in Phase:
        labels, hu, _ = paint_patient(dataclasses.replace(patient, phase=phase), 8.0, 80)
        for name in ("aorta", "liver", "kidney_left", "portal_vein_and_splenic_vein", "spleen"):
            median[phase, name] = float(np.median(hu[labels == IDS[name]]))
    assert median[Phase.NON_CONTRAST, "aorta"] < 70
    assert median[Phase.ARTERIAL, "aorta"] > median[Phase.PORTAL_VENOUS, "aorta"] + 60
    assert median[Phase.PORTAL_VENOUS, "aorta"] > median[Phase.DELAYED, "aorta"] + 15
    assert median[Phase.PORTAL_VENOUS, "liver"] > median[Phase.ARTERIAL, "liver"] + 20
    assert median[Phase.ARTERIAL, "kidney_left"] > median[Phase.NON_CONTRAST, "kidney_left"] + 50
    portal = "portal_vein_and_splenic_vein"
    assert median[Phase.PORTAL_VENOUS, portal] > median[Phase.ARTERIAL, portal] + 20


@pytest.mark.parametrize("collection", list_default_collections())
@pytest.mark.parametrize("diameter", [18.0, 60.0])
def test_tumour_lies_in_or_at_its_organ(collection: str, diameter: float) -> None:
    patient = with_tumour(collection, diameter_mm=diameter)
    assert patient.tumour
    labels, _, affine = paint_patient(patient, 6.0, 72)
    healthy = paint_healthy(collection)
    tumour = labels == IDS["tumour"]
    before = TABLE.source_to_torso[healthy[tumour]]
    organ = "colon" if patient.site == "rectum" else patient.site
    assert (before == TABLE.ids[organ]).mean() > 0.1
    assert not np.isin(before, [TABLE.ids[name] for name in ("vertebrae", "rib", "heart", "aorta")]).any()
    points = np.argwhere(tumour) @ affine[:3, :3].T
    extent = np.ptp(points, axis=0).max()
    assert 0.4 * diameter - 7 < extent <= diameter + 6
    if patient.tumour.side:
        x = centre(labels, affine, "tumour")[0]
        assert (x > 0) == (patient.tumour.side is Side.RIGHT)


def test_missing_organs_are_missing() -> None:
    labels, _, _ = paint_patient(make_full("tcga_lihc", absent=("gallbladder", "left kidney")), 8.0, 80)
    assert not np.isin(labels, [IDS["gallbladder"], IDS["kidney_left"]]).any()
    assert (labels == IDS["kidney_right"]).any()


def test_coverage_cuts_the_volume() -> None:
    patient = make_patient("tcga_luad", 0, 7)
    _, _, top, bottom = RANGES["chest"]
    labels, _, _ = paint_patient(dataclasses.replace(patient, range_name="chest", top=top, bottom=bottom), 8.0, 80)
    torso = set(np.unique(TABLE.source_to_torso[labels]))
    assert {TABLE.ids["lung"], TABLE.ids["heart"]} <= torso
    assert not {TABLE.ids["urinary_bladder"], TABLE.ids["small_bowel"]} & torso


def test_patients_vary() -> None:
    patients = [make_patient(c, i, 1) for c in list_default_collections() for i in range(8)]
    assert len({p.patient_id for p in patients}) == len(patients)
    assert {p.sex for p in patients} == set(Sex)
    assert {p.phase for p in patients} == set(Phase)
    assert {p.range_name for p in patients} == set(RANGES)
    assert 0.15 < np.mean([p.tumour is None for p in patients]) < 0.45
    assert any(p.absent for p in patients)
    assert all(not (p.tumour and p.tumour.side and f"{p.tumour.side} {p.site}" in p.absent) for p in patients)


def test_same_arguments_same_volume() -> None:
    first, second = (paint_patient(make_patient("cptac_pda", 3, 5), 8.0, 64) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    other = paint_patient(make_patient("cptac_pda", 3, 6), 8.0, 64)
    assert other[0].shape != first[0].shape or not np.array_equal(other[0], first[0])
