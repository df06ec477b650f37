"""Solid organs and vessels of the abdomen and pelvis."""

import numpy as np

from guidegen.phantom.body import cavity_shape, diaphragm_height, measure_outline, spine_depth
from guidegen.phantom.canvas import Box, Canvas, allow, measure_ellipsoid, rotate
from guidegen.phantom.patient import Patient
from guidegen.phantom.tissue import Tissue
from guidegen.statements import Sex

SOFT_PARTS = allow(Tissue.FAT, Tissue.SOFT, Tissue.MUSCLE)
KIDNEYS = {1: np.array([66.0, -24.0, 140.0]), -1: np.array([-64.0, -24.0, 152.0])}
BLADDER = np.array([0.0, 34.0, -86.0])


def select_cavity(box: Box, patient: Patient, shrink: float) -> np.ndarray:
    """Return where the box lies inside the cavity, `shrink` mm away from its wall and below the diaphragm."""
    shape = tuple(s - shrink for s in cavity_shape(patient, box.w))
    inside = measure_outline(box.u, box.v, shape) <= 1  # pyright: ignore
    return inside & (box.w < diaphragm_height(box.u, box.v) - 3)


def paint_muscles(canvas: Canvas, ids: dict[str, int]) -> None:
    """Paint the muscles beside the spine, psoas and iliacus, buttocks and the rectus sheath's middle line."""
    for sign, side in ((1, "right"), (-1, "left")):
        heights = np.arange(-30.0, 440.0, 12.0)
        thick = np.interp(heights, [-30, 40, 160, 300, 440], [16, 22, 20, 15, 14])
        points = np.column_stack([sign * (thick + 5), spine_depth(heights) - 24 - 0.62 * thick, heights])
        over = allow(Tissue.FAT, Tissue.MUSCLE, Tissue.SOFT)
        canvas.stamp(points, thick, ids[f"autochthon_{side}"], Tissue.MUSCLE, over)
        outward = np.add(points, (sign * 13, -2, 0))
        canvas.stamp(outward, thick * 0.72, ids[f"autochthon_{side}"], Tissue.MUSCLE, over)
        psoas = np.array(
            [(22, -22, 178), (32, -24, 130), (42, -20, 80), (54, -14, 30), (72, 8, -30), (88, 34, -85), (96, 26, -130)]
        )
        canvas.tube(psoas * (sign, 1, 1), [6, 13, 19, 20, 19, 15, 12], ids[f"iliopsoas_{side}"], Tissue.MUSCLE, over)
        iliacus = np.array([(88, -14, 46), (92, 0, 10), (90, 16, -34)]) * (sign, 1, 1)
        canvas.tube(iliacus, [6, 13, 12], ids[f"iliopsoas_{side}"], Tissue.MUSCLE, over)


def paint_solid_organs(canvas: Canvas, patient: Patient, ids: dict[str, int], rng: np.random.Generator) -> None:
    """Paint liver, gallbladder, spleen, kidneys, adrenal glands, pancreas and the portal and splenic vein."""
    shifts = {name: rng.normal(0, 2.6, 3) for name in ("liver", "spleen", "kidney_left", "kidney_right", "pancreas")}
    sizes = {name: float(np.clip(rng.normal(1, 0.06), 0.87, 1.15)) for name in shifts}
    paint_liver(canvas, patient, ids, shifts["liver"], sizes["liver"])
    paint_spleen(canvas, patient, ids, shifts["spleen"], sizes["spleen"])
    for sign, side in ((1, "right"), (-1, "left")):
        name = f"kidney_{side}"
        if f"{side} kidney" not in patient.absent:
            # the remaining kidney grows where the other one is missing
            size = sizes[name] * (1.12 if any("kidney" in a for a in patient.absent) else 1.0)
            paint_kidney(canvas, ids, sign, shifts[name], size)
        paint_adrenal(canvas, ids, sign, side)
    if "gallbladder" not in patient.absent:
        fill = float(rng.uniform(0.75, 1.2))
        canvas.ellipsoid(
            np.array([52, 46, 136]),
            (16 * fill, 18 * fill, 29 * fill),
            ids["gallbladder"],
            Tissue.GUT_WALL,
            rotate(0, 28),
        )
        canvas.ellipsoid(
            np.array([52, 46, 136]),
            (13.5 * fill, 15.5 * fill, 26.5 * fill),
            ids["gallbladder"],
            Tissue.BILE,
            rotate(0, 28),
        )


def paint_liver(canvas: Canvas, patient: Patient, ids: dict[str, int], shift: np.ndarray, size: float) -> None:
    """Paint the liver under the right dome with its left lobe across the midline, and the veins inside it."""
    box = canvas.cut((-85, -95, 95), (135, 95, 285))
    if box is None:
        return
    u, v, w = box.u - np.float32(shift[0]), box.v, box.w
    # the edge of the left lobe runs obliquely
    oblique = u + 0.4 * (v - 30)
    lower = np.interp(oblique, [-72, -45, -10, 25, 55, 90, 125], [262, 226, 196, 166, 138, 116, 118]).astype(np.float32)
    lower += np.float32(shift[2] - 130 * (size - 1))
    lower += np.where(v > 0, -0.08 * v, 0.10 * -v) + 10 * np.exp(-(((u - 52) / 20) ** 2 + ((v - 55) / 30) ** 2))
    back = np.interp(u, [-72, -20, 12, 34, 60], [22, 12, -4, -34, -95]).astype(np.float32)
    liver = select_cavity(box, patient, 6) & (w > lower) & (v > back) & (u > -72)
    kidney = measure_ellipsoid(box, KIDNEYS[1], (36, 33, 62))
    liver &= (kidney > 1) & (((u - 20) / 26) ** 2 + ((v + 52) / 46) ** 2 > 1)
    canvas.fill(box, liver, ids["liver"], Tissue.LIVER)
    over = allow(Tissue.LIVER)
    for tip in ((95, -20, 232), (60, 45, 240), (-20, 45, 232)):
        curve = np.array([(24, 0, 250), ((24 + tip[0]) / 2, tip[1] / 2 + 6, 244), tip])
        canvas.tube(curve, [5, 4, 2.4], None, Tissue.HEPATIC_VEIN, over)
    hilum = np.array([(36, 12, 196)])
    for tip in ((92, -15, 195), (80, 40, 175), (96, -30, 160), (66, 10, 222), (-5, 40, 215), (-35, 42, 232)):
        bend = (hilum[0] + np.array(tip)) / 2 + (0, 4, 6)
        canvas.tube(np.vstack([hilum, [bend], [tip]]), [5.5, 4, 2.4], None, Tissue.PORTAL_VEIN, over)


def paint_spleen(canvas: Canvas, patient: Patient, ids: dict[str, int], shift: np.ndarray, size: float) -> None:
    """Paint the spleen: what lies between the left chest wall and the concave surface towards stomach and kidney."""
    centre = np.array([-97.0, -40.0, 214.0]) + shift
    box = canvas.cut(tuple(centre - 75), tuple(centre + 75))
    if box is None:
        return
    spleen = measure_ellipsoid(box, centre, (44 * size, 56 * size, 60 * size), rotate(0, -20)) <= 1
    hollow = measure_ellipsoid(box, np.add(centre, (57, 28, -14)), (46, 58, 64)) > 1
    canvas.fill(box, spleen & hollow & select_cavity(box, patient, 6), ids["spleen"], Tissue.SPLEEN)


def paint_kidney(canvas: Canvas, ids: dict[str, int], sign: int, shift: np.ndarray, size: float) -> None:
    """Paint a kidney: cortex, pyramids, sinus fat and pelvis; the upper pole leans to the spine and backwards."""
    centre = KIDNEYS[sign] + shift
    box = canvas.cut(tuple(centre - 72), tuple(centre + 72))
    if box is None:
        return
    turn = rotate(0, 8) @ rotate(1, sign * 14)
    label = ids["kidney_right" if sign > 0 else "kidney_left"]
    radii = (27 * size, 24 * size, 54 * size)
    r = measure_ellipsoid(box, centre, radii, turn)
    canvas.fill(box, (r <= 1.55) & SOFT_PARTS[canvas.tissue[box.where]], 0, Tissue.FAT)
    sinus = (
        measure_ellipsoid(box, np.add(centre, (-sign * 22 * size, 5, 0)), (22 * size, 11 * size, 27 * size), turn) <= 1
    )
    kidney = (r <= 1) & ~sinus
    canvas.fill(box, kidney, label, Tissue.RENAL_CORTEX)
    angle = np.arctan2(box.w - centre[2], (box.u - centre[0]) * sign + 8)
    pyramids = (np.cos(angle * 5) + np.cos((box.v - centre[1]) / 3.5) * 0.5 > -0.1) & (r < 0.62)
    canvas.fill(box, kidney & pyramids, label, Tissue.RENAL_MEDULLA)
    canvas.fill(box, (r <= 1) & sinus, 0, Tissue.FAT)
    canvas.stamp(np.add(centre, (-sign * 18, 5, 0))[None], 6.0, 0, Tissue.RENAL_PELVIS, allow(Tissue.FAT))
    spine = float(spine_depth(centre[2]))
    artery = np.array(
        [(0, spine + 28, centre[2] + 12), (sign * 26, spine + 16, centre[2] + 8), np.add(centre, (-sign * 16, 3, 2))]
    )
    canvas.tube(artery, 3.2, 0, Tissue.ARTERY, SOFT_PARTS)
    vein = np.array(
        [(19, spine + 32, centre[2] + 4), (sign * 24, spine + 26, centre[2]), np.add(centre, (-sign * 16, 8, -4))]
    )
    canvas.tube(vein, 4.6, 0, Tissue.VENA_CAVA, SOFT_PARTS)


def paint_adrenal(canvas: Canvas, ids: dict[str, int], sign: int, side: str) -> None:
    """Paint an adrenal gland as an inverted Y above the kidney's upper pole."""
    apex = np.array([sign * 36.0, -20.0, 208.0 if sign > 0 else 212.0])
    if sign < 0:
        apex[0], apex[1] = -40.0, -14.0
    for limb in ((sign * 2, -15, -26), (sign * 15, -8, -24), (0, 6, 4)):
        canvas.tube(np.array([apex, apex + limb]), [4.4, 3.4], ids[f"adrenal_gland_{side}"], Tissue.ADRENAL)


def paint_pancreas(canvas: Canvas, ids: dict[str, int], rng: np.random.Generator) -> None:
    """Paint the pancreas from head to tail with the splenic and portal vein behind it."""
    shift = rng.normal(0, 2.0, 3)
    vein = np.array([(-82, -20, 196), (-52, 0, 184), (-20, 12, 172), (6, 14, 160)]) + shift
    portal = np.array([(5, 14, 118), (6, 14, 140), (8, 15, 160), (20, 14, 178), (36, 12, 196)]) + shift
    label = ids["portal_vein_and_splenic_vein"]
    canvas.tube(vein, [4.5, 5, 5.5, 6], label, Tissue.PORTAL_VEIN)
    canvas.tube(portal, [5.5, 6.5, 8, 7.5, 7], label, Tissue.PORTAL_VEIN)
    curve = pancreas_course() + shift
    radii = np.array([11, 15, 14, 9.5, 11, 11, 10, 8]) * rng.uniform(0.88, 1.12)
    over = allow(Tissue.FAT, Tissue.SOFT, Tissue.LIVER, Tissue.MUSCLE)
    canvas.tube(curve, list(radii), ids["pancreas"], Tissue.PANCREAS, over)
    # lobules
    points = np.repeat(curve, 4, axis=0) + rng.normal(0, 5.5, (4 * len(curve), 3))
    canvas.stamp(points, 6.0, ids["pancreas"], Tissue.PANCREAS, over)


def pancreas_course() -> np.ndarray:
    """Canonical control points of the pancreas from the lower head to the tail."""
    return np.array([
        (24, 22, 110), (27, 24, 126), (22, 28, 144), (4, 36, 156), (-18, 34, 166), (-42, 20, 176),
        (-64, 2, 188), (-80, -12, 197),
    ], float)  # fmt: skip


def paint_pelvic_organs(canvas: Canvas, patient: Patient, ids: dict[str, int], rng: np.random.Generator) -> None:
    """Paint the bladder, and prostate or uterus."""
    fill = float(rng.uniform(0.7, 1.25))
    if patient.sex is Sex.MALE:
        canvas.ellipsoid(np.array([0, 22, -122]), (22, 17, 18), ids["prostate"], Tissue.PROSTATE)
        canvas.ellipsoid(np.array([0, 2, -104]), (28, 7, 8), 0, Tissue.SOFT)
    else:
        tilt = float(rng.uniform(-5, 5))
        canvas.ellipsoid(np.array([tilt, 0, -66]), (25, 19, 28), 0, Tissue.UTERUS, rotate(0, -35))
        canvas.ellipsoid(np.array([0, 4, -108]), (18, 8, 24), 0, Tissue.SOFT)
        for sign in (-1, 1):
            canvas.ellipsoid(np.array([sign * 42, 0, -58]), (14, 10, 15), 0, Tissue.SOFT)
    centre = np.add(BLADDER, (rng.normal(0, 3), 0, 10 * (fill - 1)))
    radii = (39 * fill, 30 * fill, 27 * fill)
    canvas.ellipsoid(centre, radii, ids["urinary_bladder"], Tissue.GUT_WALL)
    canvas.ellipsoid(centre, tuple(r - 3.2 for r in radii), ids["urinary_bladder"], Tissue.URINE)  # pyright: ignore
