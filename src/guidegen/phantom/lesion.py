"""The tumour: where it lies in its organ, and its lobulated shape."""

import numpy as np

from guidegen.errors import GuideGenError
from guidegen.labels import TUMOUR
from guidegen.phantom.abdomen import KIDNEYS, pancreas_course
from guidegen.phantom.bowel import COLON, RECTUM_START
from guidegen.phantom.canvas import Canvas, trace_curve
from guidegen.phantom.chest import LOBES, horizontal_fissure, oblique_fissure
from guidegen.phantom.patient import Tumour
from guidegen.phantom.tissue import Tissue
from guidegen.statements import Side

GROWS_INTO = {
    "lung": (*LOBES[1], *LOBES[-1]),
    "kidney": ("kidney_left", "kidney_right"),
    "liver": ("liver",),
    "pancreas": ("pancreas", "duodenum"),
    "colon": ("colon",),
    "rectum": ("colon",),
}
"""Structures that a tumour of each site replaces, besides the fat around them."""


COLON_PARTS = (
    (2.0, "Cecum"), (3.6, "Ascending colon"), (5.2, "Hepatic flexure of colon"), (8.6, "Transverse colon"),
    (11.2, "Splenic flexure of colon"), (14.6, "Descending colon"), (99.0, "Sigmoid colon"),
)  # fmt: skip
"""Parts of the colon by the position along its control points at which they end."""


def pancreas_share(tumour: Tumour) -> float:
    """Return the tumour's position along the pancreas, 0 lower head to 1 tail; two thirds lie in the head."""
    a = tumour.place[0]
    return 0.28 * a / 0.65 if a < 0.65 else 0.28 + 0.65 * (a - 0.65) / 0.35


def colon_position(tumour: Tumour) -> float:
    """Return the tumour's position along the control points of the colon."""
    first, last = (RECTUM_START, 0.95) if tumour.site == "rectum" else (0.02, 0.8)
    return (first + (last - first) * tumour.place[0]) * (len(COLON) - 1)


def locate_tumour(tumour: Tumour) -> np.ndarray:
    """Return the canonical centre of a tumour, shape (3,)."""
    a, b, c = tumour.place
    sign = 1 if tumour.side is Side.RIGHT else -1
    if tumour.site == "lung":
        # large ones stay away from the wall, so that they fit into the lung
        room = np.interp(tumour.diameter_mm, [15, 80], [1.0, 0.25])
        return np.array(
            [sign * (78 + 26 * room * (a - 0.5)), -18 + 80 * room * (b - 0.5), 325 + 120 * room * (c - 0.5)]
        )
    if tumour.site == "kidney":
        angle = 2.4 * (a - 0.5)
        outward = np.array([sign * np.cos(angle), np.sin(angle), 0]) * (14 + 0.16 * tumour.diameter_mm)
        return KIDNEYS[sign] + outward + (0, 0, 60 * (b - 0.5))
    if tumour.site == "liver":
        room = np.interp(tumour.diameter_mm, [15, 80], [1.0, 0.35])
        return np.array([78 + 56 * room * (a - 0.5), 4 + 70 * room * (b - 0.5), 196 + 74 * room * (c - 0.5)])
    if tumour.site == "pancreas":
        points, _ = trace_curve(pancreas_course(), 8.0, 3.0)
        return points[int(pancreas_share(tumour) * (len(points) - 1))]
    position = colon_position(tumour)
    low = int(position)
    return COLON[low] + (position - low) * (COLON[min(low + 1, len(COLON) - 1)] - COLON[low])


def paint_tumour(canvas: Canvas, tumour: Tumour, ids: dict[str, int]) -> None:
    """Paint a tumour as a main ball with lobules on it, larger ones with a necrotic core."""
    rng = np.random.Generator(np.random.PCG64(tumour.seed))
    radius = tumour.diameter_mm / 2
    centre = _move_to_organ(canvas, canvas.warp.to_own(locate_tumour(tumour)[None])[0], tumour, ids)
    axes = [np.abs(axis - c) <= radius + 6 for axis, c in zip(canvas.axes, centre, strict=True)]
    if not all(axis.any() for axis in axes):
        return
    where = tuple(slice(int(np.argmax(a)), len(a) - int(np.argmax(a[::-1]))) for a in axes)
    grid = np.stack(
        np.meshgrid(*(a[s] - c for a, s, c in zip(canvas.axes, where, centre, strict=True)), indexing="ij"), -1
    )
    distance = np.linalg.norm(grid, axis=-1)
    # the surface deviates smoothly with the direction, by at most 22 % of the radius
    directions = grid / np.maximum(distance, 1e-6)[..., None]
    knobs = rng.normal(size=(5, 3))
    knobs /= np.linalg.norm(knobs, axis=1, keepdims=True)
    surface = 0.8 + 0.2 * np.exp(-6 * (1 - directions @ knobs.T)).max(axis=-1)
    organ = np.isin(canvas.label[where], [ids[name] for name in GROWS_INTO[tumour.site]])
    fat = canvas.tissue[where] == Tissue.FAT
    free = organ | (fat if tumour.site != "lung" else False)
    inside = (distance <= radius * surface) & free
    canvas.label[where][inside] = ids[TUMOUR]
    canvas.tissue[where][inside] = Tissue.TUMOUR
    if tumour.diameter_mm > 38:
        core = distance <= radius * surface * rng.uniform(0.35, 0.55)
        canvas.tissue[where][inside & core] = Tissue.NECROSIS


def _move_to_organ(canvas: Canvas, centre: np.ndarray, tumour: Tumour, ids: dict[str, int]) -> np.ndarray:
    """Return the centre, moved to the organ's nearest voxel where the patient's organ lies away from the average."""
    names = GROWS_INTO[tumour.site]
    names = names[:1] if tumour.site == "pancreas" else names
    if tumour.side:
        names = tuple(name for name in names if name.endswith(f"_{tumour.side}"))
    voxels = np.argwhere(np.isin(canvas.label, [ids[name] for name in names]))
    if not len(voxels):
        raise GuideGenError(f"phantom: no {tumour.site} in the covered range to put a tumour into")
    points = voxels * canvas.spacing + canvas.origin
    distances = np.linalg.norm(points - centre, axis=1)
    nearest = int(distances.argmin())
    return centre if distances[nearest] <= 0.3 * tumour.diameter_mm / 2 else points[nearest]


def name_subsite(tumour: Tumour) -> str:
    """Return where the tumour lies in the GDC's words, e.g. `Upper lobe, lung`."""
    if tumour.site == "lung":
        u, v, w = locate_tumour(tumour)
        if w < oblique_fissure(u, v):
            return "Lower lobe, lung"
        return "Middle lobe, lung" if u > 0 and w < horizontal_fissure(v) else "Upper lobe, lung"
    if tumour.site == "pancreas":
        share = pancreas_share(tumour)
        return "Head of pancreas" if share < 0.3 else "Body of pancreas" if share < 0.68 else "Tail of pancreas"
    if tumour.site == "colon":
        position = colon_position(tumour)
        return next(name for limit, name in COLON_PARTS if position < limit)
    return {"rectum": "Rectum, NOS", "kidney": "Kidney, NOS", "liver": "Liver"}[tumour.site]
