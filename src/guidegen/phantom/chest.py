"""Organs of the chest: lungs by lobe with vessels and airways, heart, great vessels, oesophagus."""

import numpy as np

from guidegen.phantom.body import cavity_shape, diaphragm_height, measure_outline, spine_depth
from guidegen.phantom.canvas import Box, Canvas, allow, measure_ellipsoid, rotate
from guidegen.phantom.patient import Patient
from guidegen.phantom.tissue import Tissue

LOBES = {
    1: ("lung_upper_lobe_right", "lung_middle_lobe_right", "lung_lower_lobe_right"),
    -1: ("lung_upper_lobe_left", "lung_upper_lobe_left", "lung_lower_lobe_left"),
}


def paint_chest(canvas: Canvas, patient: Patient, ids: dict[str, int], rng: np.random.Generator) -> None:
    """Paint the organs above the diaphragm."""
    paint_lungs(canvas, patient, ids)
    paint_lung_vessels(canvas, rng)
    shift = rng.normal(0, 3.0, 3)
    paint_mediastinum(canvas)
    paint_heart(canvas, ids, shift, float(rng.normal(1.0, 0.05)))
    paint_airways(canvas, ids)


def medial_border(v: np.ndarray, w: np.ndarray, sign: int) -> np.ndarray:
    """Distance of the lung's medial border from the midline: wide at the spine and the hila, narrow in front."""
    spine = 27 * np.exp(-(((v + 70) / 34) ** 2))
    hilum = (30 if sign > 0 else 34) * np.exp(-(((v - 4) / 44) ** 2))
    return np.maximum(np.maximum(spine, hilum), 7) * np.clip(1.5 - (w - 330) / 260, 0.75, 1.0)


def select_lung(box: Box, patient: Patient, sign: int) -> np.ndarray:
    """Return where the lung of one side (+1 right, -1 left) lies in a box, heart and vessels not yet taken out."""
    shape = tuple(s - 4 for s in cavity_shape(patient, box.w))
    inside = measure_outline(box.u, box.v, shape) <= 1  # pyright: ignore
    inside &= box.w > diaphragm_height(box.u, box.v) + 1
    return inside & (sign * box.u > medial_border(box.v, box.w, sign)) & (box.w < 468)


def oblique_fissure(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Height of the fissure above the lower lobe: from T4 at the back down to the diaphragm in front."""
    return 392 - 0.84 * (v + 88) + 4 * np.sin(u / 30)


def horizontal_fissure(v: np.ndarray) -> np.ndarray:
    """Height of the fissure between the upper and the middle lobe of the right lung."""
    return 338 + 0.05 * v


def paint_lungs(canvas: Canvas, patient: Patient, ids: dict[str, int]) -> None:
    """Paint the five lobes, divided by the oblique fissures and the horizontal one of the right lung."""
    for sign in (1, -1):
        ends = (0, 140) if sign > 0 else (-140, 0)
        box = canvas.cut((ends[0], -110, 175), (ends[1], 95, 470))
        if box is None:
            continue
        lung = select_lung(box, patient, sign)
        upper, middle, lower = LOBES[sign]
        canvas.fill(box, lung, ids[upper], Tissue.LUNG)
        canvas.fill(box, lung & (box.w < horizontal_fissure(box.v)), ids[middle], None)
        canvas.fill(box, lung & (box.w < oblique_fissure(box.u, box.v)), ids[lower], None)


def paint_lung_vessels(canvas: Canvas, rng: np.random.Generator) -> None:
    """Paint branching vessels from the hila; they keep the label of the lobe, as in real annotations."""
    over = allow(Tissue.LUNG)
    curves = []
    for sign in (1, -1):
        hilum = np.array([sign * 34.0, -6.0, 332.0])
        for _ in range(22):
            direction = rng.normal(size=3) * (0.8, 0.9, 1.1) + (sign * 0.9, -0.15, 0.0)
            direction /= np.linalg.norm(direction)
            trunk = hilum + direction * rng.uniform(38, 55)
            curves.append((hilum, (hilum + trunk) / 2 + rng.normal(0, 4, 3), trunk, (5.5, 3.4)))
            for _ in range(3):
                turned = direction + rng.normal(0, 0.45, 3)
                tip = trunk + turned / np.linalg.norm(turned) * rng.uniform(35, 75)
                curves.append((trunk, (trunk + tip) / 2 + rng.normal(0, 6, 3), tip, (3.2, 1.4)))
    first, bend, last, width = (np.array(part)[:, None] for part in zip(*curves, strict=True))
    t = np.linspace(0, 1, 26)[None, :, None]
    # quadratic Bezier curves
    points = (1 - t) ** 2 * first + 2 * t * (1 - t) * bend + t**2 * last
    radius = width[..., 0] * (1 - t[..., 0]) + width[..., 1] * t[..., 0]
    for thick in (radius > 2.4, radius <= 2.4):
        canvas.stamp(points[thick], radius[thick], None, Tissue.LUNG_VESSEL, over)


def paint_mediastinum(canvas: Canvas) -> None:
    """Paint pulmonary arteries, the superior vena cava and the branches of the arch (unlabelled vessels)."""
    trunk = np.array([(-12, 44, 338), (-18, 26, 352), (-22, 6, 358)])
    canvas.tube(trunk, [14, 13, 12], 0, Tissue.RIGHT_HEART)
    canvas.tube(np.array([(-22, 8, 356), (-36, -8, 350), (-48, -16, 340)]), [11, 9, 7], 0, Tissue.RIGHT_HEART)
    canvas.tube(
        np.array([(-18, 14, 354), (6, -4, 350), (34, -10, 342), (48, -14, 334)]), [11, 10, 9, 7], 0, Tissue.RIGHT_HEART
    )


def paint_heart(canvas: Canvas, ids: dict[str, int], shift: np.ndarray, size: float) -> None:
    """Paint the heart with its chambers; the apex points left, forwards and down."""
    heart = ids["heart"]
    box = canvas.cut((-90, -40, 235), (75, 100, 365))
    if box is None:
        return
    turn = rotate(1, 24) @ rotate(2, 32)
    centre = np.array([-14.0, 26.0, 304.0]) + shift
    left = measure_ellipsoid(box, np.add(centre, (-14, 2, -6)), (54 * size, 38 * size, 46 * size), turn)
    right = measure_ellipsoid(box, np.add(centre, (26, 6, 2)), (34 * size, 38 * size, 46 * size))
    above = box.w > diaphragm_height(box.u, box.v) - 16
    limits = (box.v < 77) & (box.v > spine_depth(box.w).astype(np.float32) + 38) & above
    canvas.fill(box, ((left <= 1.22) | (right <= 1.2)) & limits, 0, Tissue.FAT)
    canvas.fill(box, ((left <= 1) | (right <= 1)) & limits, heart, Tissue.MYOCARDIUM)
    canvas.fill(box, (right <= 0.8) & limits & (left > 0.55), heart, Tissue.RIGHT_HEART)
    chambers = [
        ((-30, 4, -14), (30, 17, 20), Tissue.LEFT_HEART),
        ((-2, -22, 18), (25, 14, 18), Tissue.LEFT_HEART),
        ((4, 30, -10), (34, 11, 24), Tissue.RIGHT_HEART),
    ]
    for offset, radii, tissue in chambers:
        inside = measure_ellipsoid(box, centre + offset, radii, turn if offset[0] < -20 else None) <= size**2
        canvas.fill(box, inside & ((left <= 0.97) | (right <= 0.97)) & limits, heart, tissue)


def paint_airways(canvas: Canvas, ids: dict[str, int]) -> None:
    """Paint the trachea and the main bronchi with their walls."""
    top = np.array([(2, -16, 490), (3, -20, 440), (4, -24, 396), (2, -22, 372)])
    branches = [
        np.array([(2, -22, 372), (18, -20, 352), (38, -16, 336), (54, -20, 318)]),
        np.array([(2, -22, 372), (-20, -20, 354), (-40, -18, 342), (-54, -24, 326)]),
    ]
    canvas.tube(top, 10.5, 0, Tissue.SOFT)
    for branch in branches:
        canvas.tube(branch, [9, 8, 7, 5], None, Tissue.SOFT)
    canvas.tube(top, 8.4, ids["trachea"], Tissue.AIRWAY)
    for branch in branches:
        canvas.tube(branch, [7.5, 6, 5, 2.5], None, Tissue.AIRWAY)


def paint_great_vessels(canvas: Canvas, ids: dict[str, int], rng: np.random.Generator) -> None:
    """Paint aorta, venae cavae, arch and iliac vessels, and the oesophagus between heart and spine."""
    wide = float(np.clip(rng.normal(1.0, 0.08), 0.85, 1.25))
    sway = rng.normal(0, 2.0)
    down = [(w, -24 + 0.055 * max(0, 350 - w)) for w in (375, 350, 320, 290, 260, 230, 200, 170, 140, 110, 80, 52)]
    aorta = [(4, 30, 334), (12, 30, 352), (10, 22, 378), (-6, -4, 396), (-20, -30, 390)]
    aorta += [(u + sway, float(spine_depth(w)) + (20 if w > 240 else 29), w) for w, u in down]
    radii = [15, 15, 14.5, 13.5, 13, *np.interp([w for w, _ in down], [52, 200, 375], [8.5, 10.5, 12.5])]
    cava = [(19, float(spine_depth(w)) + g, w) for w, g in ((44, 28), (90, 28), (140, 31), (180, 38), (215, 48))]
    cava += [(24, 2, 248), (26, 10, 276)]
    canvas.tube(np.array(cava), [9.5, 10, 10.5, 11, 11.5, 12.5, 12.5], ids["inferior_vena_cava"], Tissue.VENA_CAVA)
    canvas.tube(
        np.array([(25, 16, 318), (24, 14, 350), (22, 16, 385), (24, 24, 412)]), 9.0,
        ids["superior_vena_cava"], Tissue.UPPER_VEIN,
    )  # fmt: skip
    branches = {
        "brachiocephalic_trunk": [(4, 10, 396), (12, 12, 414), (20, 8, 436)],
        "common_carotid_artery_left": [(-6, 2, 398), (-14, 0, 424), (-20, -6, 470)],
        "subclavian_artery_left": [(-16, -16, 396), (-24, -20, 424), (-48, -22, 446)],
        "brachiocephalic_vein_left": [(22, 30, 402), (0, 34, 412), (-24, 22, 432)],
    }
    for name, curve in branches.items():
        vein = "vein" in name
        canvas.tube(np.array(curve), 6.0, ids[name], Tissue.UPPER_VEIN if vein else Tissue.ARTERY)
    for sign, side in ((1, "right"), (-1, "left")):
        vein = [(19, 0, 46), (sign * 34, -14, 18), (sign * 52, -18, -30), (sign * 66, 22, -70), (sign * 70, 56, -112)]
        artery = [(sway, 0, 54), (sign * 26, 4, 26), (sign * 54, -2, -22), (sign * 74, 30, -66), (sign * 76, 60, -112)]
        canvas.tube(np.array(vein), [8, 7, 6.5, 6, 6], ids[f"iliac_vena_{side}"], Tissue.VENA_CAVA)
        canvas.tube(np.array(artery), [6.5, 6, 5.5, 5, 5], ids[f"iliac_artery_{side}"], Tissue.ARTERY)
    gullet = [
        (w, u, gap)
        for w, u, gap in ((480, -4, 24), (420, -4, 27), (375, -4, 27), (330, -4, 31), (285, -12, 40), (256, -20, 48))
    ]
    curve = np.array([*((u, float(spine_depth(w)) + gap, w) for w, u, gap in gullet), (-34, 2, 236), (-48, 0, 228)])
    canvas.tube(curve, 8.2, ids["esophagus"], Tissue.OESOPHAGUS)
    canvas.tube(curve[1:4], 2.2, None, Tissue.GUT_GAS)
    canvas.tube(np.array(aorta), [r * wide for r in radii], ids["aorta"], Tissue.ARTERY)
