"""Outlines of the trunk: skin, muscle wall, cavity, diaphragm, spine; and the tissue between them."""

from typing import Any

import numpy as np

from guidegen.phantom.canvas import Box, Canvas
from guidegen.phantom.patient import Patient
from guidegen.phantom.tissue import Tissue
from guidegen.statements import Sex

#                  w     half width, front, back (mm)
WALL = np.array([
    (-160, 172, 74, 100), (-100, 172, 80, 112), (-40, 160, 85, 106), (20, 142, 88, 96), (80, 132, 91, 96),
    (140, 137, 93, 100), (200, 144, 96, 106), (260, 150, 99, 112), (320, 155, 98, 114), (380, 162, 86, 112),
    (430, 168, 64, 104), (490, 130, 42, 92),
])  # fmt: skip
CAVITY = np.array([
    (-160, 40, 30, 58), (-100, 56, 58, 66), (-60, 72, 70, 70), (-20, 104, 76, 64), (20, 120, 78, 64), (60, 120, 80, 66),
    (100, 119, 82, 70), (140, 121, 83, 78), (180, 125, 84, 86), (230, 130, 86, 92), (280, 131, 84, 95),
    (330, 126, 76, 96), (380, 108, 60, 93), (420, 80, 42, 84), (445, 54, 20, 68), (462, 26, 2, 52), (490, 10, -15, 40),
])  # fmt: skip
SPINE = np.array([
    (-40, -42), (-20, -37), (20, -30), (54, -26), (90, -24), (125, -26), (160, -32), (192, -40), (222, -48),
    (250, -55), (302, -63), (350, -66), (394, -64), (434, -56), (475, -40),
])  # fmt: skip
"""(w, v) of the centres of the vertebral bodies."""

FEMALE_WALL = np.array([(-160, 1.0), (-60, 1.03), (0, 1.03), (80, 0.93), (200, 0.91), (490, 0.9)])
MUSCLE_THICKNESS = 13.0
SQUARENESS = 0.32


def outline(table: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Interpolate half width, front and back of a table of outlines at heights w."""
    return tuple(np.interp(w, table[:, 0], table[:, c]).astype(np.float32) for c in (1, 2, 3))  # pyright: ignore


def spine_depth(w: np.ndarray | float) -> Any:
    """Canonical v of the centre of the vertebral bodies at height w, mm."""
    return np.interp(w, SPINE[:, 0], SPINE[:, 1])


def measure_outline(u: np.ndarray, v: np.ndarray, shape: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
    """Return how far out voxels lie: 1 on the outline (an ellipse with flattened sides), less inside."""
    half, front, back = shape
    a = (u / half) ** 2
    b = ((v - (front - back) / 2) / ((front + back) / 2)) ** 2
    return np.maximum(a + b - np.float32(SQUARENESS) * a * b, np.maximum(a, b))


def female_factor(patient: Patient, w: np.ndarray) -> np.ndarray:
    """Width of the wall relative to a man's at heights w."""
    if patient.sex is Sex.MALE:
        return np.ones_like(w, dtype=np.float32)
    return np.interp(w, FEMALE_WALL[:, 0], FEMALE_WALL[:, 1]).astype(np.float32)


def cavity_shape(patient: Patient, w: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Half width, front and back of the chest, abdominal and pelvic cavity at heights w, mm."""
    half, front, back = outline(CAVITY, w)
    return half * female_factor(patient, w), front, back


def diaphragm_height(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Canonical height of the diaphragm: two domes, the right one higher, falling most towards the back."""
    slope = np.where(v < 0, 70 * (v / 92) ** 2, 26 * (v / 80) ** 2)
    right = 272 - 62 * ((u - 62) / 72) ** 2
    left = 258 - 62 * ((u + 62) / 72) ** 2
    # the heart rests on the tendon between the domes; behind it the crura leave the spine's sides open
    tendon = 256 - 34 * (u / 44) ** 2 - np.where(v < 0, 80 * (v / 60) ** 2, 12 * (v / 80) ** 2)
    return np.maximum(np.maximum(np.maximum(right, left) - slope, tendon), 182).astype(np.float32)


def paint_body(canvas: Canvas, patient: Patient) -> None:
    """Paint skin, subcutaneous fat, breasts, muscle wall and the fat that fills the cavity."""
    box = Box((slice(None),) * 3, *canvas.coordinates)  # pyright: ignore
    w = canvas.levels[None, None, :]
    half, front, back = outline(WALL, w)
    half = half * female_factor(patient, w)
    fat = np.float32(patient.fat_mm)
    hips = np.float32(1.25 if patient.sex is Sex.FEMALE else 0.95)
    belly = np.exp(-(((w - 70) / 110) ** 2)).astype(np.float32)
    low = np.clip((90 - w) / 150, 0, 1).astype(np.float32)
    chest = np.clip((w - 240) / 120, 0, 1).astype(np.float32)
    side = fat * (1 + (hips - 1) * low - 0.45 * chest)
    skin = (half + side, front + fat * (0.55 + 0.75 * belly), back + fat * (0.5 + 0.8 * low))
    outer = measure_outline(box.u, box.v, skin)
    # the back lies flat on the table
    lying = box.v > -(np.float32(112) + 0.35 * fat)
    body = (outer <= 1) & lying
    if patient.sex is Sex.FEMALE:
        body |= _shape_breasts(canvas, fat, body)
    canvas.fill(box, body, 0, Tissue.FAT)
    wall = measure_outline(box.u, box.v, (half, front, back)) <= 1
    canvas.fill(box, wall & lying, 0, Tissue.MUSCLE)
    canvas.fill(box, _select_shoulder_fat(box, w) & wall & lying, 0, Tissue.FAT)
    inner = tuple(np.asarray(s) for s in cavity_shape(patient, w))
    cavity = measure_outline(box.u, box.v, inner) <= 1  # pyright: ignore
    canvas.fill(box, cavity, 0, Tissue.FAT)


def _select_shoulder_fat(box: Box, w: np.ndarray) -> np.ndarray:
    """Fat between the muscles of the shoulder and of the buttocks: thin planes, as on real scans."""
    wave = np.sin(box.u / 13 + box.v / 21) + np.sin(box.v / 16 - box.w / 30)
    return (wave > 1.35) & ((w > 330) | (w < -10))


def _shape_breasts(canvas: Canvas, fat: np.float32, body: np.ndarray) -> np.ndarray:
    result = np.zeros_like(body)
    size = 0.75 + 0.02 * float(fat)
    for sign in (-1, 1):
        box = canvas.cut((sign * 75 - 70, 30, 250), (sign * 75 + 70, 190, 380))
        if box is None:
            continue
        r = (
            ((box.u - sign * 76) / (58 * size)) ** 2
            + ((box.v - 92) / (52 * size)) ** 2
            + ((box.w - 312) / (55 * size)) ** 2
        )
        inside = r <= 1
        result[box.where] |= inside
    return result


def paint_breast_glands(canvas: Canvas) -> None:
    """Paint fibroglandular tissue inside the breasts."""
    for sign in (-1, 1):
        box = canvas.cut((sign * 75 - 40, 90, 280), (sign * 75 + 40, 150, 345))
        if box is None:
            continue
        r = ((box.u - sign * 76) / 26) ** 2 + ((box.v - 118) / 22) ** 2 + ((box.w - 312) / 27) ** 2
        strands = np.sin(box.u / 4.1) + np.sin(box.v / 5.3 + box.w / 6.1)
        inside = (r <= 1) & (strands > 0) & (canvas.tissue[box.where] == Tissue.FAT)
        canvas.fill(box, inside, None, Tissue.GLAND)


def paint_table(canvas: Canvas) -> None:
    """Paint the couch under the patient: two thin curved sheets."""
    behind = np.nonzero((canvas.tissue != Tissue.AIR).any(axis=(0, 2)))[0]
    x, y = canvas.axes[0][:, None], canvas.axes[1][None, :]
    lowest = canvas.axes[1][behind[0]] if len(behind) else y.min()
    top = lowest - 7 - canvas.spacing[1] + 0.00045 * x**2
    sheet = (np.abs(y - top) < 0.55 * canvas.spacing[1]) | (np.abs(y - (lowest - 42)) < 0.55 * canvas.spacing[1])
    plane = (sheet & (np.abs(x) < 205))[..., None] & (canvas.tissue == Tissue.AIR)
    canvas.tissue[plane] = Tissue.TABLE
