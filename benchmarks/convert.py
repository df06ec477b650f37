"""convert: CPU time per series against bare `dcm2niix -z y`, whose gzip takes most of its time.

The series are 512 x 512 with the noise and padding of a scanner. Both ways start from DICOM and end in a gzipped NIfTI
volume with the same voxels; ours is checked against the headers besides.
"""

import os
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dcm2niix
import nibabel as nib
import numpy as np
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from guidegen.convert.headers import check_headers
from guidegen.convert.settings import ConvertSettings
from guidegen.convert.volume import convert_stack, write_volume
from guidegen.retrieve.tarball import read_tar, write_tar

SLICES, SIZE, RUNS = 60, 512, 5
NOISE_HU = 12.0
SMALLEST_SPEEDUP = 1.5
LARGEST_FILE_RATIO = 1.10


def write_series(folder: Path) -> None:
    """Write a body-like ellipse with noise, air around it and padding outside the scanner's circle."""
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
        ds.RescaleSlope, ds.RescaleIntercept = 1, 0
        ds.PixelData = image.tobytes()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dcmwrite(folder / f"{number + 1:05d}.dcm", ds, enforce_file_format=True)


def convert_ours(tar: Path, target: Path) -> None:
    """Convert a retrieved series as the phase does."""
    with tempfile.TemporaryDirectory() as folder:
        stack = check_headers("bench", [data for _, data in read_tar(tar)], ConvertSettings())  # type: ignore[call-arg]
        volume = convert_stack("bench", stack, Path(folder))
    write_volume(target, volume.hu, volume.affine)


def convert_theirs(source: Path, target: Path) -> None:
    """Convert a folder with dcm2niix and its own gzip."""
    command = [dcm2niix.bin, "-b", "n", "-z", "y", "-f", target.name.removesuffix(".nii.gz"), "-o", str(target.parent)]
    subprocess.run([*command, str(source)], check=True, capture_output=True)


def measure_cpu(work: Callable[[], None]) -> float:
    """Return the median CPU seconds of several runs after a warm-up, child processes included."""

    def read_clock() -> float:
        now = os.times()
        return now.user + now.system + now.children_user + now.children_system

    work()
    seconds = []
    for _ in range(RUNS):
        start = read_clock()
        work()
        seconds.append(read_clock() - start)
    return statistics.median(seconds)


def rows() -> list[dict[str, Any]]:
    """Measure both ways on one series; the voxels must be equal and the file at most a tenth larger."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "dicom").mkdir()
        write_series(folder / "dicom")
        files = sorted((folder / "dicom").iterdir())
        write_tar(folder / "series.tar", ((path.name, path.read_bytes()) for path in files))
        ours_file, their_file = folder / "ours.nii.gz", folder / "theirs.nii.gz"
        ours = measure_cpu(lambda: convert_ours(folder / "series.tar", ours_file))
        theirs = measure_cpu(lambda: convert_theirs(folder / "dicom", their_file))
        volume, reference = (nib.as_closest_canonical(nib.Nifti1Image.load(path)) for path in (ours_file, their_file))
        if not np.array_equal(np.asarray(volume.dataobj), np.maximum(np.asarray(reference.dataobj), -1024)):
            raise ValueError("the two ways made different voxels")
        sizes = [path.stat().st_size / 1e6 for path in (ours_file, their_file)]
    return [
        {
            "name": "convert one CT series of 60 slices",
            "unit": "CPU s",
            "ours": ours,
            "baseline": theirs,
            "baseline_name": "dcm2niix -z y",
            "goal": SMALLEST_SPEEDUP,
            "holds": theirs / ours >= SMALLEST_SPEEDUP,
        },
        {
            "name": "convert: size of the gzipped volume",
            "unit": "MB",
            "ours": sizes[0],
            "baseline": sizes[1],
            "baseline_name": "dcm2niix -z y",
            "goal": "at most 1.1 times",
            "holds": sizes[0] <= LARGEST_FILE_RATIO * sizes[1],
        },
    ]
