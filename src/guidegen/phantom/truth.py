"""What is known of a phantom because it was drawn: the truth table, which only tests read."""

from typing import Any

import numpy as np
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import pdist

from guidegen.mask.coverage import name_regions
from guidegen.phantom.lesion import name_subsite
from guidegen.phantom.paint import Grid, body_scale
from guidegen.phantom.patient import L5_LEVEL, T1_LEVEL, Patient


def measure_tumour(mask: np.ndarray, grid: Grid) -> dict[str, Any]:
    """Measure a painted tumour: volume in ml and largest distance of two voxel centres in mm."""
    points = np.argwhere(mask) * np.array(grid.spacing)
    if not len(points):
        return {"tumour_volume_ml": None, "tumour_diameter_mm": None}
    try:
        hull = points[ConvexHull(points).vertices]
    except QhullError:
        hull = points
    diameter = float(pdist(hull).max()) if len(hull) > 1 else 0.0
    return {
        "tumour_volume_ml": round(len(points) * float(np.prod(grid.spacing)) / 1000, 3),
        "tumour_diameter_mm": round(diameter, 2),
    }


def describe_truth(patient: Patient, grid: Grid, series_uid: str) -> dict[str, Any]:
    """Return the parameters of a patient for the truth table; `coverage_*` are those of the painted slices."""
    z = grid.axes[2]
    scale = grid.spacing[2] / 2
    tall = body_scale(patient)[2]
    top, bottom = ((T1_LEVEL - edge / tall) / (T1_LEVEL - L5_LEVEL) for edge in (z[-1] + scale, z[0] - scale))
    first, last = name_regions(top, bottom)
    tumour = patient.tumour
    return {
        "collection": patient.collection,
        "patient_id": patient.patient_id,
        "index": patient.index,
        "series_uid": str(series_uid),
        "sex": str(patient.sex),
        "age": patient.age,
        "height_cm": round(patient.height_cm, 1),
        "frame": round(patient.frame, 4),
        "fat_mm": round(patient.fat_mm, 2),
        "phase": str(patient.phase),
        "range": patient.range_name,
        "coverage_first": str(first),
        "coverage_last": str(last),
        "coverage_top": round(top, 4),
        "coverage_bottom": round(bottom, 4),
        "absent": ",".join(patient.absent),
        "site": patient.site,
        "tumour": tumour is not None,
        "tumour_side": str(tumour.side or "") if tumour else "",
        "tumour_subsite": name_subsite(tumour) if tumour else "",
        "tumour_diameter_drawn_mm": round(tumour.diameter_mm, 2) if tumour else None,
        "shape": ",".join(map(str, grid.shape)),
        "spacing_mm": ",".join(f"{s:.6g}" for s in grid.spacing),
    }
