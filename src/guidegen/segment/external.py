"""Test sets from elsewhere in nnU-Net's raw layout, brought onto the study's grids."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np

from guidegen.atomic import hash_file
from guidegen.errors import GuideGenError
from guidegen.mask.resample import Grid
from guidegen.mask.trunk import find_trunk_box, find_trunk_mask
from guidegen.prepare.arrays import AIR_HU
from guidegen.prepare.resample import resample_ct, resample_labels
from guidegen.segment.cases import GridCase
from guidegen.segment.settings import ExternalSettings
from guidegen.study import Study
from guidegen.tables import read_tsv

IMAGE_END, ENDINGS = "_0000", (".nii.gz", ".nii")


@dataclass(frozen=True)
class ExternalCase(GridCase):
    """One case of an external set."""

    case: str
    ct: Path
    labels: Path
    lookup: np.ndarray
    """Torso class of each of the set's label ids, (256,)."""
    grid: int
    classes: int
    margin_mm: float
    trunk_only: bool

    def read(self) -> tuple[np.ndarray, np.ndarray, tuple[float, float, float]]:
        """Return (CT in HU (2n)³, class ids n³, spacing of the label grid in mm) of the trunk over all slices.

        Raises:
            GuideGenError: the two files lie apart, or a label is not in the table.
        """
        image, mask = (nibabel.as_closest_canonical(nibabel.load(path)) for path in (self.ct, self.labels))
        if image.shape != mask.shape or not np.allclose(image.affine, mask.affine, atol=1e-2):
            raise GuideGenError(f"{self.labels}: shape {mask.shape} or place differs from its CT's, {image.shape}")
        ids = np.asanyarray(mask.dataobj)
        unknown = [int(value) for value in np.unique(ids) if not 0 <= value < 256 or self.lookup[int(value)] == 255]
        if unknown:
            raise GuideGenError(f"{self.labels}: label {unknown[0]} is not in the set's label table")
        labels = self.lookup[ids.astype(np.uint8)]
        ct = np.asanyarray(image.dataobj)
        grid = Grid(ct.shape, image.affine)
        x0, x1, y0, y1, z0, z1 = find_trunk_box(ct, labels, grid, (0, ct.shape[2]), self.margin_mm)
        box = slice(x0, x1), slice(y0, y1), slice(z0, z1)
        lengths = grid.spacing_mm * [x1 - x0, y1 - y0, z1 - z0]
        x, y, z = (float(length) / self.grid for length in lengths)
        ct, labels = ct[box], labels[box]
        if self.trunk_only:
            ct = np.where(find_trunk_mask(ct, labels, grid), ct, AIR_HU)
        return resample_ct(ct, 2 * self.grid), resample_labels(labels, self.grid, self.classes), (x, y, z)

    def hash_files(self) -> str:
        """Return a hash over both files and the table."""
        table = hashlib.sha256(self.lookup.tobytes()).hexdigest()
        return f"{hash_file(self.ct)}{hash_file(self.labels)}{table}{self.trunk_only}"


def read_label_table(study: Study, name: str) -> dict[int, str]:
    """Return torso class by label id of an external set; ids without a class have an empty one.

    Raises:
        GuideGenError: the table is missing, an id is no number from 1 to 254, or a class is unknown.
    """
    path = study.root / study.config.segment.external[name].labels
    found = {}
    for row in read_tsv(path, ("id", "name")):
        if not row["id"].isdigit() or not 0 <= int(row["id"]) < 255:
            raise GuideGenError(f"{path}: id '{row['id']}', expected a number from 0 to 254")
        if row["name"] and row["name"] not in study.labels.ids:
            known = ", ".join(study.labels.ids)
            raise GuideGenError(f"{path}: no torso class '{row['name']}' for id {row['id']}; there are {known}")
        found[int(row["id"])] = row["name"]
    return found


def list_external(study: Study, name: str) -> list[ExternalCase]:
    """Return the cases of an external set, sorted.

    Raises:
        GuideGenError: no folder, no case, or an image without labels.
    """
    settings = study.config.segment.external[name]
    images, masks = _find_parts(study, settings)
    lookup = np.full(256, 255, np.uint8)
    lookup[0] = 0
    for number, word in read_label_table(study, name).items():
        lookup[number] = study.labels.ids[word] if word else 0
    cases = []
    for path in _list_images(images):
        ending = next(end for end in ENDINGS if path.name.endswith(end))
        stem = path.name.removesuffix(ending).removesuffix(IMAGE_END)
        labels = masks / f"{stem}{ending}"
        if not labels.is_file():
            raise GuideGenError(f"{path}: no labels {labels}")
        prepare, margin = study.config.prepare, study.config.mask.trunk_margin_mm
        form = prepare.grid, len(study.labels), margin, prepare.trunk_only
        cases.append(ExternalCase(f"{name}.{stem}", path, labels, lookup, *form))
    if not cases:
        raise GuideGenError(f"{images}: no image `<case>{IMAGE_END}{ENDINGS[0]}`")
    return cases


def _find_parts(study: Study, settings: ExternalSettings) -> tuple[Path, Path]:
    folder = study.root / settings.folder
    for end in ("Ts", "Tr"):
        images, masks = folder / f"images{end}", folder / f"labels{end}"
        if images.is_dir() and masks.is_dir():
            return images, masks
    raise GuideGenError(f"{folder}: neither imagesTs and labelsTs nor imagesTr and labelsTr; nnU-Net's raw layout is")


def _list_images(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.endswith(tuple(f"{IMAGE_END}{end}" for end in ENDINGS)):
            yield path
