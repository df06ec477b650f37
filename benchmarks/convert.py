"""convert: CPU time per series against bare `dcm2niix -z y`, whose gzip takes most of its time, and dicom2nifti.

The series are 60 slices of 512 x 512 with the noise and padding of a scanner, and, where there are some, real ones
(GUIDEGEN_REALDATA, or `../shared/realdata` beside the clone). All ways start from DICOM, run on one core and end in a
gzipped NIfTI volume with the same voxels at the same places. Ours is what the phase does with a retrieved series: it
checks the headers, compares every voxel with the files, reads the acquisition facts and hashes the volume besides.
"""

import os
import resource
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import dcm2niix
import nibabel as nib
import numpy as np
from dicom2nifti.common import read_dicom_directory
from dicom2nifti.convert_dicom import dicom_array_to_nifti
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from guidegen.atomic import hash_file
from guidegen.convert.settings import ConvertSettings
from guidegen.convert.shards import Conversion, convert_case
from guidegen.manifest import Item
from guidegen.retrieve.tarball import write_tar

SLICES, SIZE, RUNS = 60, 512, 7
NOISE_HU = 20.0
"""A slice then compresses to 0.22 MB, about as slices of real series do (0.23 to 0.27 MB)."""
PRIVATE_ELEMENTS = 160
"""A header then has 182 elements, as those of the real series on average (106 to 244)."""
GOALS = {"dcm2niix -z y": 1.5, "dicom2nifti": 3.0}
LARGEST_FILE_RATIO = 1.10
REALDATA = Path(os.environ.get("GUIDEGEN_REALDATA", Path(__file__).parents[2] / "shared" / "realdata"))
REAL_SERIES = ("CPTAC-PDA_C3L-00189", "CRLM-CT-1006", "TCGA-LUSC_TCGA-34-2605")


@dataclass(frozen=True)
class Series:
    """A folder of DICOM files and the tar that the phase `retrieve` makes of them."""

    name: str
    dicom: Path
    tar: Path


def write_series(folder: Path) -> None:
    """Write a body-like ellipse with noise, air around it and padding outside the scanner's circle."""
    folder.mkdir()
    rng = np.random.default_rng(1)
    y, x = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    circle, body = x**2 + y**2 > 1, (x / 0.8) ** 2 + (y / 0.55) ** 2 < 1
    lung = ((np.abs(x) - 0.35) / 0.25) ** 2 + (y / 0.35) ** 2 < 1
    flat = np.where(lung, -850.0, np.where(body, 40.0, -1000.0))
    series, study = generate_uid(), generate_uid()
    for number in range(SLICES):
        image = np.maximum(flat + rng.normal(0, NOISE_HU, flat.shape), -1024).astype(np.int16)
        image[circle] = -2000
        ds = Dataset()
        ds.SOPClassUID, ds.SOPInstanceUID, ds.SeriesInstanceUID = CTImageStorage, generate_uid(), series
        ds.StudyInstanceUID, ds.PatientID, ds.Modality, ds.InstanceNumber = study, "P", "CT", number + 1
        ds.PixelSpacing, ds.ImageOrientationPatient = [0.75, 0.75], [1, 0, 0, 0, 1, 0]
        ds.ImagePositionPatient, ds.SliceThickness = [-192, -192, 5 * number], 5
        ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.Rows, ds.Columns = 1, "MONOCHROME2", SIZE, SIZE
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
        ds.RescaleSlope, ds.RescaleIntercept, ds.SeriesNumber, ds.Manufacturer = 1, 0, 1, "GuideGen"
        private = ds.private_block(0x0019, "GUIDEGEN BENCHMARK", create=True)
        for element in range(PRIVATE_ELEMENTS):
            private.add_new(element, "LO", "a scanner's own value")
        ds.PixelData = image.tobytes()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dcmwrite(folder / f"{number + 1:05d}.dcm", ds, enforce_file_format=True)


def convert_ours(series: Series, folder: Path) -> Path:
    """Convert a retrieved series as the phase does."""
    raw = {"status": "ok", "path": str(series.tar), "format": "dicom"}
    task = Conversion(folder, {"patient": "P", "patient_id": "P"}, raw, ConvertSettings())  # type: ignore[call-arg]
    outcome = convert_case(Item(series.name, {}, task), folder)
    if outcome.status != "ok":
        raise ValueError(outcome.reason)
    hash_file(folder / outcome.files[""])
    return folder / outcome.files[""]


def convert_by_dcm2niix(series: Series, folder: Path) -> Path:
    """Convert a folder with dcm2niix and its own gzip."""
    command = [dcm2niix.bin, "-b", "n", "-z", "y", "-w", "1", "-f", "dcm2niix", "-o", str(folder), str(series.dicom)]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "dcm2niix.nii.gz"


def convert_by_dicom2nifti(series: Series, folder: Path) -> Path:
    """Convert a folder with dicom2nifti, without the copy of the folder that its one-call form makes."""
    path = folder / "dicom2nifti.nii.gz"
    dicom_array_to_nifti(read_dicom_directory(str(series.dicom)), str(path), reorient_nifti=False)
    return path


def read_clock() -> float:
    """Return the CPU seconds of this process and of its finished children."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def measure_cpu(ways: dict[str, Callable[[], Path]]) -> tuple[dict[str, float], dict[str, Path]]:
    """Return the least CPU seconds of each way after a warm-up, and what it made; the ways take turns.

    The least of several runs, because what other processes take of caches and memory bandwidth only adds.
    """
    made = {name: work() for name, work in ways.items()}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(RUNS):
        for name, work in ways.items():
            start = read_clock()
            work()
            seconds[name].append(read_clock() - start)
    return {name: min(values) for name, values in seconds.items()}, made


def check_equal(ours: Path, theirs: Path) -> None:
    """Raise ValueError where two volumes differ in voxels (HU, padding raised to the floor) or in affine."""
    images = [nib.as_closest_canonical(nib.Nifti1Image.load(path)) for path in (ours, theirs)]
    if not np.allclose(images[0].affine, images[1].affine, atol=1e-3):
        raise ValueError(f"{ours.name} and {theirs.name} lie in different places")
    if not np.array_equal(np.asarray(images[0].dataobj), np.maximum(np.asarray(images[1].dataobj), -1024)):
        raise ValueError(f"{ours.name} and {theirs.name} have different voxels")


def compare(title: str, batch: list[Series], folder: Path) -> list[dict[str, Any]]:
    """Convert each series in all ways; the rows are of their sums."""
    ways = {"ours": convert_ours, "dcm2niix -z y": convert_by_dcm2niix, "dicom2nifti": convert_by_dicom2nifti}
    seconds, megabytes = dict.fromkeys(ways, 0.0), dict.fromkeys(ways, 0.0)
    for series in batch:
        taken, made = measure_cpu({name: partial(convert, series, folder) for name, convert in ways.items()})
        for name in ways:
            check_equal(made["ours"], made[name])
            seconds[name] += taken[name]
            megabytes[name] += made[name].stat().st_size / 1e6
    rows: list[dict[str, Any]] = [
        {
            "name": f"convert {title}, against {name}",
            "unit": "CPU s",
            "ours": seconds["ours"],
            "baseline": seconds[name],
            "baseline_name": f"{name} (load {os.getloadavg()[0]:.0f})",
            "goal": goal,
        }
        for name, goal in GOALS.items()
    ]
    rows.append(
        {
            "name": f"convert {title}: size of the gzipped volumes",
            "unit": "MB",
            "ours": megabytes["ours"],
            "baseline": megabytes["dcm2niix -z y"],
            "baseline_name": "dcm2niix -z y",
            "goal": "at most 1.1 times",
            "holds": megabytes["ours"] <= LARGEST_FILE_RATIO * megabytes["dcm2niix -z y"],
        }
    )
    return rows


def rows() -> list[dict[str, Any]]:
    """Measure on a made series, and on real ones where they are there."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_series(folder / "made")
        places = {"made": folder / "made"}
        if REALDATA.is_dir():
            places |= {series: REALDATA / series / "dicom" for series in REAL_SERIES}
        batch = [Series(series, place, folder / f"{series}.tar") for series, place in places.items()]
        for series in batch:
            files = sorted(path for path in series.dicom.iterdir() if path.is_file())
            write_tar(series.tar, ((f"{n:05d}.dcm", path.read_bytes()) for n, path in enumerate(files, 1)))
        rows = compare("one CT series of 60 slices", batch[:1], folder)
        if batch[1:]:
            rows += compare("three real CT series", batch[1:], folder)
    return rows
