"""Hollow organs of the abdomen: stomach, duodenum, small bowel, colon, with what they contain."""

import numpy as np

from guidegen.phantom.abdomen import SOFT_PARTS
from guidegen.phantom.canvas import Canvas, allow, trace_curve
from guidegen.phantom.tissue import Tissue

STOMACH = np.array(
    [(-62, -22, 246), (-68, -6, 226), (-66, 24, 198), (-52, 46, 170), (-22, 58, 152), (8, 54, 150), (28, 46, 156)],
    float,
)
STOMACH_RADII = (25, 33, 31, 26, 21, 16, 10)
DUODENUM = np.array([
    (28, 44, 156), (42, 36, 154), (50, 24, 138), (49, 18, 112), (40, 16, 92), (18, 18, 84), (-8, 18, 88),
    (-24, 22, 104), (-30, 30, 120),
], float)  # fmt: skip
COLON = np.array([
    (84, 34, -4), (88, 22, 22), (90, 8, 58), (90, 2, 92), (86, 26, 118), (62, 58, 112), (24, 70, 92), (-16, 72, 88),
    (-54, 62, 112), (-82, 32, 160), (-94, 2, 182), (-98, -16, 150), (-98, -14, 104), (-96, -8, 58), (-92, 12, 18),
    (-74, 32, -14), (-40, 34, -32), (-14, 16, -22), (8, -6, -30), (4, -30, -52), (0, -50, -78), (0, -48, -104),
    (0, -34, -126), (0, -36, -148),
], float)  # fmt: skip
"""From the caecum to the anal canal."""
COLON_RADII = (26, 26, 23, 22, 22, 20, 20, 20, 19, 19, 19, 17, 16, 16, 16, 16, 16, 16, 16, 17, 20, 19, 14, 9)
RECTUM_START = 0.86
"""Share of the colon's control points at which the rectum begins."""


def colon_course(rng: np.random.Generator) -> np.ndarray:
    """Return the control points of one patient's colon: the transverse part sags and the sigmoid loops differently."""
    course = COLON + rng.normal(0, 2.5, COLON.shape)
    sag = rng.normal(0, 12)
    course[5:9, 2] += sag * np.array([0.5, 1, 1, 0.5])
    course[15:19] += rng.normal(0, 7, 3) * np.array([[0.4], [1], [1], [0.4]])
    course[20:, 0] *= 0.3
    return course


def _paint_gut(canvas: Canvas, points: np.ndarray, radii: np.ndarray, label: int, wall: float, content: Tissue) -> None:
    canvas.stamp(points, radii, label, Tissue.GUT_WALL)
    canvas.stamp(points, np.maximum(radii - wall, 2.0), label, content)


def paint_small_bowel(canvas: Canvas, label: int, rng: np.random.Generator) -> None:
    """Paint loops in rows across the middle of the abdomen, in two layers, with mesenteric fat between."""
    controls = []
    for depth, rows in ((26.0, np.arange(84, -62, -29.0)), (54.0, np.arange(-58, 82, 28.0))):
        for number, w in enumerate(rows):
            half = np.interp(w, [-60, -20, 30, 90], [40, 62, 66, 58])
            across = np.linspace(-half, half, 6) * (1 if number % 2 else -1)
            wave = rng.normal(0, (3.0, 5.0, 7.0), (6, 3))
            row = np.column_stack([across, np.full(6, depth), np.full(6, w)]) + wave
            row[:, 2] += 9 * np.sin(np.linspace(0, 2.2 * np.pi, 6) + rng.uniform(0, 6))
            controls.append(row)
    points, _ = trace_curve(np.vstack(controls), 10.0, 4.5)
    along = np.arange(len(points))
    radii = 12.4 + 2.2 * np.sin(along / 7.3 + rng.uniform(0, 6)) + 0.8 * np.sin(along / 2.1)
    _paint_gut(canvas, points, radii, label, 3.2, Tissue.GUT_CONTENT)
    gas = (np.sin(along / 31 + rng.uniform(0, 6)) > 0.93) & (points[:, 1] > 45)
    if gas.any():
        canvas.stamp(points[gas] + (0, 3, 0), radii[gas] * 0.45, label, Tissue.GUT_GAS)
    collapsed = np.sin(along / 23 + 1) > 0.8
    canvas.stamp(points[collapsed], 5.5, label, Tissue.GUT_WALL)
    vessels = rng.uniform((-45, 14, -30), (45, 44, 80), (40, 3))
    for tip in vessels:
        canvas.tube(np.array([(0, 16, 70), tip]), 1.6, 0, Tissue.PORTAL_VEIN, allow(Tissue.FAT))


def paint_duodenum(canvas: Canvas, label: int, rng: np.random.Generator) -> None:
    """Paint the duodenum's C around the head of the pancreas."""
    points, radii = trace_curve(DUODENUM + rng.normal(0, 1.8, DUODENUM.shape), 12.5, 4.0)
    _paint_gut(canvas, points, radii * rng.uniform(0.92, 1.1), label, 4.2, Tissue.GUT_CONTENT)


def paint_stomach(canvas: Canvas, label: int, rng: np.random.Generator) -> None:
    """Paint the stomach; gas collects in front because the patient lies on the back."""
    fill = rng.uniform(0.78, 1.05)
    controls = STOMACH + rng.normal(0, 2.5, STOMACH.shape)
    points, radii = trace_curve(controls, [r * fill for r in STOMACH_RADII], 6.0)
    _paint_gut(canvas, points, radii, label, 5.0, Tissue.GUT_CONTENT)
    box = canvas.cut((-110, -60, 125), (45, 95, 285))
    if box is None:
        return
    level = rng.uniform(30, 58)
    lumen = (canvas.label[box.where] == label) & (canvas.tissue[box.where] == Tissue.GUT_CONTENT)
    canvas.fill(box, lumen & (box.v > level), None, Tissue.GUT_GAS)


def paint_colon(canvas: Canvas, label: int, course: np.ndarray, rng: np.random.Generator) -> None:
    """Paint the colon with haustra, faeces and gas."""
    points, radii = trace_curve(course, list(COLON_RADII), 4.5)
    along = np.arange(len(points))
    haustra = 1 + 0.13 * np.sin(along * 4.5 / 5.2) * (np.linspace(0, 1, len(points)) < 0.8)
    radii = radii * haustra * rng.uniform(0.92, 1.08)
    over = SOFT_PARTS | allow(
        Tissue.GUT_WALL, Tissue.GUT_CONTENT, Tissue.GUT_GAS, Tissue.PORTAL_VEIN, Tissue.LIVER, Tissue.UTERUS
    )
    canvas.stamp(points, radii, label, Tissue.GUT_WALL, over)
    inner = over | allow(Tissue.FAECES)
    canvas.stamp(points, np.maximum(radii - 3.4, 2), label, Tissue.FAECES, inner)
    pattern = np.sin(along / 9.0 + rng.uniform(0, 6)) + 0.7 * np.sin(along / 3.7 + rng.uniform(0, 6))
    gas = pattern > 0.55 - np.where(points[:, 1] > 40, 0.7, 0.0)
    if gas.any():
        canvas.stamp(points[gas] + (0, 3.5, 0), radii[gas] * 0.52, label, Tissue.GUT_GAS, inner)
