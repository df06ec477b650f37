"""From a patient to label map and CT."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from guidegen.phantom import abdomen, body, bowel, chest, lesion, skeleton
from guidegen.phantom.canvas import Canvas, Warp
from guidegen.phantom.patient import Patient, find_config
from guidegen.phantom.tissue import Tissue
from guidegen.seeds import derive_rng
from guidegen.statements import Phase, Sex
from guidegen.tables import read_tsv

HU_FLOOR, HU_CEILING = -1024, 3071
MEAN_HEIGHT = 172.0


@dataclass(frozen=True)
class Grid:
    """Voxels of the volume that a phantom is painted into, RAS+."""

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    """mm."""
    origin: tuple[float, float, float]
    """Coordinates of the centre of the first voxel, mm."""

    @property
    def axes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Coordinates of the voxel centres along each axis, mm."""
        x, y, z = (o + s * np.arange(n) for o, s, n in zip(self.origin, self.spacing, self.shape, strict=True))
        return x, y, z

    @property
    def affine(self) -> np.ndarray:
        """Voxel to RAS+ mm, shape (4, 4)."""
        matrix = np.diag([*self.spacing, 1.0])
        matrix[:3, 3] = self.origin
        return matrix


def read_source_ids() -> dict[str, int]:
    """Return source label id by name from `source_labels.tsv`."""
    return {row["name"]: int(row["id"]) for row in read_tsv(find_config() / "source_labels.tsv", ("id", "name"))}


def body_scale(patient: Patient) -> np.ndarray:
    """Return own mm per canonical mm along x, y, z: by height, frame and sex."""
    tall = patient.height_cm / MEAN_HEIGHT
    woman = 0.97 if patient.sex is Sex.FEMALE else 1.0
    girth = 1 + 0.0022 * (patient.fat_mm - 18)
    across = np.sqrt(tall) * patient.frame * woman
    return np.array([across * girth, across * girth * 1.01, tall])


def choose_grid(patient: Patient, slice_spacing: float = 5.0, size: int = 104) -> Grid:
    """Return the grid over the covered range: `size` voxels in plane over a field of view that fits the body."""
    scale = body_scale(patient)
    view = max(340.0, min(500.0, (360.0 + 2.1 * patient.fat_mm) * scale[0] * 1.02))
    # scanners choose the field of view in steps of 10 mm
    in_plane = np.ceil(view / 10) * 10 / size
    bottom, top = patient.bottom * scale[2], patient.top * scale[2]
    half = (size - 1) / 2 * in_plane
    # the couch takes some room below the patient
    return Grid(
        (size, size, int((top - bottom) / slice_spacing) + 1),
        (in_plane, in_plane, slice_spacing),
        (-half, -half - 6.0, float(bottom)),
    )


def paint_canvas(patient: Patient, grid: Grid) -> Canvas:
    """Paint a patient's anatomy on a grid."""
    ids = read_source_ids()
    rng = derive_rng(patient.seed, "phantom", patient.collection, patient.index, "anatomy")
    canvas = Canvas(grid.axes, Warp.draw(rng, body_scale(patient)))
    body.paint_body(canvas, patient)
    if patient.sex is Sex.FEMALE:
        body.paint_breast_glands(canvas)
    organs = derive_rng(patient.seed, "phantom", patient.collection, patient.index, "organs")
    chest.paint_chest(canvas, patient, ids, organs)
    skeleton.paint_skeleton(canvas, patient, ids)
    abdomen.paint_muscles(canvas, ids)
    bowel.paint_small_bowel(canvas, ids["small_bowel"], organs)
    abdomen.paint_solid_organs(canvas, patient, ids, organs)
    bowel.paint_stomach(canvas, ids["stomach"], organs)
    abdomen.paint_pelvic_organs(canvas, patient, ids, organs)
    bowel.paint_colon(canvas, ids["colon"], bowel.colon_course(organs), organs)
    bowel.paint_duodenum(canvas, ids["duodenum"], organs)
    abdomen.paint_pancreas(canvas, ids, organs)
    chest.paint_great_vessels(canvas, ids, organs)
    if patient.tumour:
        lesion.paint_tumour(canvas, patient.tumour, ids)
    body.paint_table(canvas)
    return canvas


def render_ct(
    canvas: Canvas, patient: Patient, phase: Phase, rng: np.random.Generator, noise: float = 11.0, blur: float = 0.55
) -> np.ndarray:
    """Return HU of a painted canvas in a phase, int16 (X, Y, Z): partial volume by a blur, texture and noise."""
    hu = patient.enhancement.table(phase)[canvas.tissue]
    lung = canvas.tissue == Tissue.LUNG
    # the lower parts of the lung are denser because the patient lies on the back
    hu[lung] -= 0.45 * canvas.coordinates[1][lung]
    hu += rng.standard_normal(hu.shape, dtype=np.float32) * np.float32(2.0 * noise)
    hu = gaussian_filter(hu, blur, mode="nearest", truncate=2.5)
    return np.clip(np.rint(hu), HU_FLOOR, HU_CEILING).astype(np.int16)


def paint_patient(
    patient: Patient, slice_spacing: float = 5.0, size: int = 104
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return one patient as a volume.

    Args:
        patient: from `make_patient`.
        slice_spacing: mm along z.
        size: voxels in plane; their spacing follows from the patient's girth.

    Returns:
        Source labels (uint8, shape (X, Y, Z)), HU (int16, same shape) and the affine (4, 4), all in RAS+.
    """
    grid = choose_grid(patient, slice_spacing, size)
    canvas = paint_canvas(patient, grid)
    rng = derive_rng(patient.seed, "phantom", patient.collection, patient.index, "noise", 0)
    return canvas.label, render_ct(canvas, patient, patient.phase, rng), grid.affine
