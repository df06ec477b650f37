"""Bones: vertebrae T1 to L5 one by one, sacrum, ribs and their cartilages, sternum, pelvis, shoulder girdle."""

import numpy as np

from guidegen.phantom.body import CAVITY, cavity_shape, outline, spine_depth
from guidegen.phantom.canvas import Canvas, trace_curve
from guidegen.phantom.patient import Patient
from guidegen.phantom.tissue import Tissue
from guidegen.statements import Sex

LEVELS = ("L5", "L4", "L3", "L2", "L1", *(f"T{n}" for n in range(12, 0, -1)), "C7", "C6")
HEIGHTS = np.array([36, 36, 36, 35, 34, 31, 29, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16], float)
BOUNDS = np.concatenate([[0], np.cumsum(HEIGHTS)])
"""Canonical heights between the vertebrae, disc included, from the lower end of L5 upwards."""
CENTRES = dict(zip(LEVELS, (BOUNDS[:-1] + BOUNDS[1:]) / 2, strict=True))

RIB_DROPS = (26, 44, 58, 68, 76, 84, 90, 92, 88, 76, 46, 24)
RIB_ENDS = (2.5, 2.55, 2.55, 2.5, 2.45, 2.4, 2.3, 2.15, 2.0, 1.8, 1.35, 0.98)
"""Angle around the chest at which the bony rib ends: 0 at the back, pi at the front."""


def paint_skeleton(canvas: Canvas, patient: Patient, ids: dict[str, int]) -> None:
    """Paint all bones of the trunk."""
    paint_shoulders(canvas, ids)
    paint_ribs(canvas, patient, ids)
    paint_spine(canvas, ids)
    paint_pelvis(canvas, patient, ids)


def paint_spine(canvas: Canvas, ids: dict[str, int]) -> None:
    """Paint the vertebrae, the discs between them and the cord; only T1 to L5 and C6, C7 above them."""
    box = canvas.cut((-52, -135, 0), (52, 0, BOUNDS[-1]), margin=16)
    if box is None:
        return
    level = np.clip(np.searchsorted(BOUNDS, box.w, side="right") - 1, 0, len(LEVELS) - 1)
    within = (box.w - BOUNDS[level]) / HEIGHTS[level]
    u, v = box.u, box.v - spine_depth(box.w).astype(np.float32)
    size = np.interp(level, [0, 4, 9, 16], [1.0, 0.92, 0.72, 0.62]).astype(np.float32)
    covered = (box.w >= 0) & (box.w < BOUNDS[-1])
    waist = 1 - 0.28 * (1 - (2 * within - 1) ** 2).astype(np.float32) * 0.5
    body = (u / (24 * size * waist)) ** 2 + (v / (17.5 * size * waist)) ** 2
    disc = (within < 0.11) | (within > 0.89)
    canal = (u / 11) ** 2 + ((v + 18 * size + 7) / 8) ** 2
    arch = ((u / 19) ** 2 + ((v + 18 * size + 8) / 15) ** 2 <= 1) & (within > 0.15) & (within < 0.95)
    lumbar = level < 5
    lean = np.where(lumbar, 0.1, 0.75)
    depth = -(v + 18 * size + 14)
    rise = within - 0.5 + lean * depth / 34
    spinous = (
        (np.abs(u) < 3.6)
        & (depth > 0)
        & (depth < np.where(lumbar, 30, 34))
        & (np.abs(rise) < np.where(lumbar, 0.3, 0.24))
    )
    side = np.abs(u) - 14
    transverse = (side > 0) & (side < np.where(lumbar, 24, 16)) & (np.abs(within - 0.6) < 0.17)
    transverse &= np.abs(v + 18 * size + 4 + 0.35 * side) < 5.0
    process = (arch | spinous | transverse) & (canal > 1) & covered
    names = np.array([ids[f"vertebrae_{name}"] for name in LEVELS], np.uint8)
    for inside, tissue in ((process, Tissue.RIB_BONE), ((body <= 1) & ~disc & covered, Tissue.CORTICAL_BONE)):
        canvas.label[box.where][inside] = names[level][inside]
        canvas.tissue[box.where][inside] = tissue
    marrow = (body <= 0.76) & (within > 0.2) & (within < 0.8) & covered
    canvas.fill(box, marrow, None, Tissue.MARROW)
    canvas.fill(box, (body <= 0.95) & disc & covered, 0, Tissue.DISC)
    canvas.fill(box, (canal <= 1) & covered, ids["spinal_cord"], Tissue.CORD)


def trace_rib(patient: Patient, number: int, sign: int) -> np.ndarray:
    """Return canonical points (N, 3) of the course of a rib, from the spine round the chest."""
    start = CENTRES[f"T{number}"] + HEIGHTS[LEVELS.index(f"T{number}")] * 0.35
    angles = np.linspace(0.34, RIB_ENDS[number - 1], 60)
    drop = RIB_DROPS[number - 1] * (angles / RIB_ENDS[number - 1]) ** 1.25
    w = start - drop
    half, front, back = cavity_shape(patient, w)
    centre, depth = (front - back) / 2, (front + back) / 2
    # the wall bulges between the axes of the ellipse, as the outline of the cavity does
    bulge = 1 + 0.055 * np.sin(2 * angles) ** 2
    u = sign * (half + 4) * np.sin(angles) * bulge
    v = centre - (depth + 4) * np.cos(angles) * bulge
    head = np.array([[sign * 17, float(spine_depth(start)) - 10, start + 1.0]])
    neck = np.array([[sign * 27, float(spine_depth(start)) - 21, start]])
    return np.vstack([head, neck, np.column_stack([u, v, w])[np.abs(u) > 30]])


def paint_ribs(canvas: Canvas, patient: Patient, ids: dict[str, int]) -> None:
    """Paint ribs, costal cartilages and sternum."""
    for number in range(1, 13):
        for sign, side in ((1, "right"), (-1, "left")):
            controls = trace_rib(patient, number, sign)
            if number <= 10:
                end = controls[-1]
                target = np.array([sign * 15, 0.0, max(254.0, min(CENTRES["T4"] - 8, 404 - 19.5 * number))])
                target[1] = float(outline(CAVITY, np.array(target[2]))[1]) + 6
                middle = (end + target) / 2 + np.array([sign * 4, 5, -9.0])
                canvas.tube(np.array([end, middle, target]), 4.6, ids["costal_cartilages"], Tissue.CARTILAGE)
            points, _ = trace_curve(controls, 4.4, step=2.6)
            label = ids[f"rib_{side}_{number}"]
            canvas.stamp(points + np.array([0, 0, 2.2]), 4.2, label, Tissue.RIB_BONE)
            canvas.stamp(points - np.array([0, 0, 2.2]), 4.2, label, Tissue.RIB_BONE)
    heights = np.arange(262.0, 402.0, 4.0)
    front = outline(CAVITY, heights)[1] + 7
    for shift in (-9.0, 0.0, 9.0):
        width = shift * np.interp(heights, [262, 300, 380, 402], [0.6, 1.0, 1.2, 2.0])
        points = np.column_stack([width, front, heights])
        canvas.stamp(points, 5.6, ids["sternum"], Tissue.RIB_BONE)
        canvas.stamp(points, 3.4, None, Tissue.MARROW)


def sweep(first: np.ndarray, second: np.ndarray, bulge: tuple[float, float, float], step: float = 4.0) -> np.ndarray:
    """Return points (N, 3) of the surface between two curves of control points, bulging in the middle by `bulge` mm."""
    a, b = (trace_curve(np.asarray(c, float), 5.0, step)[0] for c in (first, second))
    n = max(len(a), len(b))
    a, b = (c[np.linspace(0, len(c) - 1, n).round().astype(int)] for c in (a, b))
    count = int(np.linalg.norm(a - b, axis=1).max() / step) + 2
    t = np.linspace(0, 1, count)[:, None, None]
    return ((1 - t) * a + t * b + 4 * t * (1 - t) * np.array(bulge)).reshape(-1, 3)


def paint_pelvis(canvas: Canvas, patient: Patient, ids: dict[str, int]) -> None:
    """Paint sacrum, hip bones and the heads of the femora; a woman's pelvis is wider and its arch flatter."""
    if canvas.levels[0] > 80:
        return
    wide = 1.05 if patient.sex is Sex.FEMALE else 1.0
    heights = np.linspace(-4, -118, 24)
    depth = np.interp(heights, [-118, -95, -60, -25, -4], [-74, -88, -88, -62, -42])
    width = np.interp(heights, [-118, -80, -40, -4], [8, 24, 44, 46])
    for share in np.linspace(-1, 1, 13):
        points = np.column_stack([share * width * wide, depth - 6 * share**2, heights])
        thick = np.interp(heights, [-118, -60, -4], [5, 10, 15]) * (1 - 0.25 * abs(share))
        canvas.stamp(points, thick, ids["sacrum"], Tissue.CORTICAL_BONE)
    for share in np.linspace(-0.8, 0.8, 7):
        points = np.column_stack([share * width * wide, depth - 6 * share**2, heights])
        canvas.stamp(points, np.interp(heights, [-118, -60, -4], [2, 6, 11]), None, Tissue.MARROW)
    for sign, side in ((1, "right"), (-1, "left")):
        _paint_hip(canvas, sign, wide, ids[f"hip_{side}"], ids[f"femur_{side}"])


def _paint_hip(canvas: Canvas, sign: int, wide: float, hip: int, femur: int) -> None:
    stretch = np.array([sign * wide, 1, 1])
    crest = np.array([(47, -72, 4), (64, -58, 38), (96, -14, 58), (122, 28, 40), (124, 50, 12), (112, 56, -12)])
    base = np.array([(50, -70, -22), (56, -55, -40), (78, -18, -56), (94, 8, -60), (100, 26, -52), (102, 36, -44)])
    wing = sweep(crest, base, (4, -6, 0)) * stretch
    canvas.stamp(wing, 5.2, hip, Tissue.RIB_BONE)
    canvas.stamp(sweep(crest + np.array([-2, 2, -7]), base, (4, -6, 0)) * stretch, 2.6, None, Tissue.MARROW)
    canvas.stamp(np.array([(90, 4, -78)]) * stretch, 31.0, hip, Tissue.CORTICAL_BONE)
    canvas.stamp(np.array([(88, 4, -78)]) * stretch, 26.5, None, Tissue.MARROW)
    rami = [
        [(76, 28, -82), (44, 56, -96), (9, 60, -112)],
        [(9, 58, -112), (30, 34, -134), (54, -4, -150)],
        [(84, -20, -92), (66, -32, -125), (58, -14, -152)],
    ]
    for ramus in rami:
        canvas.tube(np.array(ramus) * stretch, 8.5, hip, Tissue.CORTICAL_BONE)
        canvas.tube(np.array(ramus) * stretch, 5.0, None, Tissue.MARROW)
    canvas.stamp(np.array([(97, 4, -81)]) * stretch, 26.5, 0, Tissue.SOFT)
    neck = np.array([(97, 4, -81), (118, 0, -98), (142, -6, -120), (148, -6, -160)]) * stretch
    canvas.stamp(neck[:1], 24.0, femur, Tissue.CORTICAL_BONE)
    canvas.tube(neck, [18, 16, 20, 17], femur, Tissue.CORTICAL_BONE)
    canvas.stamp(neck[:1], 20.0, None, Tissue.MARROW)
    canvas.tube(neck, [14, 12, 16, 10], None, Tissue.MARROW)


def paint_shoulders(canvas: Canvas, ids: dict[str, int]) -> None:
    """Paint scapulae, clavicles and the heads of the humeri, arms raised."""
    if canvas.levels[-1] < 300:
        return
    for sign, side in ((1, "right"), (-1, "left")):
        stretch = np.array([sign, 1, 1])
        inner = np.array([(78, -104, 428), (84, -110, 390), (98, -108, 335)])
        outer = np.array([(128, -66, 440), (130, -74, 410), (112, -94, 345)])
        canvas.stamp(sweep(inner, outer, (2, -4, 0)) * stretch, 3.6, ids[f"scapula_{side}"], Tissue.RIB_BONE)
        spine = np.array([(82, -106, 420), (112, -98, 438), (140, -66, 456)]) * stretch
        canvas.tube(spine, 5.5, ids[f"scapula_{side}"], Tissue.RIB_BONE)
        clavicle = np.array([(17, 40, 408), (50, 36, 428), (92, 2, 448), (134, -44, 462)]) * stretch
        canvas.tube(clavicle, 6.0, ids[f"clavicula_{side}"], Tissue.RIB_BONE)
        canvas.tube(clavicle, 3.4, None, Tissue.MARROW)
        head = np.array([(146, -46, 452), (152, -40, 490)]) * stretch
        canvas.tube(head, 22.0, ids[f"humerus_{side}"], Tissue.CORTICAL_BONE)
        canvas.tube(head, 17.5, None, Tissue.MARROW)
