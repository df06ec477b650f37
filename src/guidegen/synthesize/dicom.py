"""Synthetic cases as DICOM: a CT series and a segmentation each, marked as synthetic wherever a reader would look."""

import json
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds

from guidegen import __version__
from guidegen.atomic import write_text
from guidegen.labels import TUMOUR, LabelTable, TorsoClass
from guidegen.mask.resample import Grid
from guidegen.synthesize.layouts import MadeCase, make_new_folder

INSTITUTION = "Synthetic data, no institution"
DERIVATION = "Generated from a text prompt by GuideGen; shows no patient"
DATE, TIME = "20000101", "000000"
"""Stand for no date: equal seeds must give equal files."""
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "guidegen.synthesize")
CODES = {
    "spleen": codes.SCT.Spleen,
    "kidney": codes.SCT.Kidney,
    "liver": codes.SCT.Liver,
    "stomach": codes.SCT.Stomach,
    "pancreas": codes.SCT.Pancreas,
    "lung": codes.SCT.Lung,
    "small_bowel": codes.SCT.SmallIntestine,
    "duodenum": codes.SCT.Duodenum,
    "colon": codes.SCT.Colon,
    "urinary_bladder": codes.SCT.Bladder,
    "heart": codes.SCT.Heart,
    "vertebrae": codes.SCT.Vertebra,
    "rib": codes.SCT.Rib,
    "adrenal_gland": codes.SCT.AdrenalGland,
    "portal_and_splenic_vein": codes.SCT.PortalVein,
    "oesophagus": codes.SCT.Esophagus,
    "aorta": codes.SCT.Aorta,
    "inferior_vena_cava": codes.SCT.InferiorVenaCava,
    "gallbladder": codes.SCT.Gallbladder,
    TUMOUR: codes.SCT.Neoplasm,
}
"""Codes of the torso classes; classes of a lab's own are coded as anatomical structure."""


def write_dicom(cases: Sequence[MadeCase], out: Path, table: LabelTable) -> None:
    """Write `<case>/ct/*.dcm` (CT Image Storage), `<case>/seg.dcm` (Segmentation Storage) and `<case>/<case>.json`.

    UIDs are a function of seed, prompt and models. Raises GuideGenError where `out` is not empty.
    """
    with make_new_folder(out.resolve()) as folder:
        for case in cases:
            ct, labels, grid = case.load()
            (folder / case.case / "ct").mkdir(parents=True)
            images = write_series(folder / case.case / "ct", case, ct, grid)
            write_segmentation(folder / case.case / "seg.dcm", case, slice_volume(labels), images, table)
            write_text(folder / case.case / f"{case.case}.json", json.dumps(case.sidecar, indent=1, sort_keys=True))


def slice_volume(volume: np.ndarray) -> np.ndarray:
    """Return the axial images (Z, rows, columns), feet first, of a volume (X, Y, Z) in RAS+."""
    return np.ascontiguousarray(volume[::-1, ::-1].transpose(2, 1, 0))


def write_series(folder: Path, case: MadeCase, ct: np.ndarray, grid: Grid) -> list[Dataset]:
    """Write one file per plane; return the headers in the order of `slice_volume`, without pixels.

    Args:
        folder: where to.
        case: whose CT it is.
        ct: int16 HU (X, Y, Z) in RAS+.
        grid: its grid, without rotation.
    """
    x, y, z = (float(value) for value in grid.spacing_mm)
    corner = grid.affine @ [ct.shape[0] - 1, ct.shape[1] - 1, 0, 1]
    template = _make_series(case)
    template.Rows, template.Columns = ct.shape[1], ct.shape[0]
    template.PixelSpacing = [format_number_as_ds(y), format_number_as_ds(x)]
    template.SliceThickness = template.SpacingBetweenSlices = format_number_as_ds(z)
    headers = []
    for number, image in enumerate(slice_volume(ct), start=1):
        ds = Dataset()
        ds.update(template)
        ds.SOPInstanceUID = make_uid(case, "ct", number)
        ds.InstanceNumber = number
        position = (-corner[0], -corner[1], corner[2] + z * (number - 1))
        ds.ImagePositionPatient = [format_number_as_ds(float(value)) for value in position]
        ds.SliceLocation = ds.ImagePositionPatient[2]
        ds.file_meta = _make_file_meta(ds)
        header = Dataset()
        header.update(ds)
        header.file_meta = ds.file_meta
        headers.append(header)
        ds.PixelData = image.astype("<i2").tobytes()
        dcmwrite(folder / f"{number:05d}.dcm", ds, enforce_file_format=True)
    return headers


def _make_series(case: MadeCase) -> Dataset:
    """Return what all images of a series share."""
    said = case.sidecar["statements"]
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID = CTImageStorage
    ds.SyntheticData = "YES"
    ds.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
    ds.DerivationDescription = DERIVATION
    ds.StudyDate = ds.SeriesDate = ds.ContentDate = DATE
    ds.StudyTime = ds.SeriesTime = ds.ContentTime = TIME
    ds.AccessionNumber = ds.ReferringPhysicianName = ds.PositionReferenceIndicator = ds.Laterality = ""
    ds.StudyID = "1"
    ds.Modality = "CT"
    ds.StudyDescription = ds.SeriesDescription = "SYNTHETIC CT (GuideGen)"
    ds.PatientName = f"Synthetic^{case.case}"
    ds.PatientID = f"SYNTHETIC-{case.case}"[:64]
    ds.PatientBirthDate = ""
    ds.PatientSex = {"female": "F", "male": "M"}.get(said.get("sex"), "")
    if said.get("age"):
        ds.PatientAge = f"{said['age']:03d}Y"
    ds.ImageComments = case.sidecar["prompt"]
    ds.StudyInstanceUID = make_uid(case, "study")
    ds.SeriesInstanceUID = make_uid(case, "ct")
    ds.FrameOfReferenceUID = make_uid(case, "frame of reference")
    ds.SeriesNumber = 1
    ds.AcquisitionNumber = ds.KVP = None
    ds.PatientPosition = "HFS"
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit = 15
    ds.PixelRepresentation = 1
    ds.BurnedInAnnotation = "NO"
    ds.WindowCenter, ds.WindowWidth = 40, 400
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = 0, 1, "HU"
    _mark_equipment(ds)
    return ds


def _mark_equipment(ds: Dataset) -> None:
    ds.Manufacturer = ds.ManufacturerModelName = "GuideGen"
    ds.InstitutionName = INSTITUTION
    ds.SoftwareVersions = __version__


def make_uid(case: MadeCase, *parts: str | int) -> UID:
    """Return a UID below 2.25 (a name-based UUID) from seed, prompt and models of the case, and `parts`."""
    origin = [case.sidecar[name] for name in ("case", "seed", "prompt", "models")]
    return UID(f"2.25.{uuid.uuid5(NAMESPACE, json.dumps([*origin, *parts], sort_keys=True)).int}")


def _make_file_meta(ds: Dataset) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(f"2.25.{NAMESPACE.int}")
    return meta


def write_segmentation(
    path: Path, case: MadeCase, labels: np.ndarray, images: list[Dataset], table: LabelTable
) -> None:
    """Write a BINARY segmentation with one segment per class that occurs.

    Args:
        path: the file.
        case: whose label map it is.
        labels: class ids (Z, rows, columns) in the order of `images`.
        images: headers of the CT.
        table: the torso classes.
    """
    present = [entry for entry in table.classes[1:] if (labels == entry.id).any()]
    if not present:
        return
    lookup = np.zeros(256, np.uint8)
    lookup[[entry.id for entry in present]] = np.arange(1, len(present) + 1)
    seg = hd.seg.Segmentation(
        source_images=images,
        pixel_array=lookup[labels],
        segmentation_type="BINARY",
        segment_descriptions=[_describe(number, entry) for number, entry in enumerate(present, 1)],
        series_instance_uid=make_uid(case, "seg"),
        series_number=2,
        sop_instance_uid=make_uid(case, "seg", 1),
        instance_number=1,
        manufacturer="GuideGen",
        manufacturer_model_name="GuideGen",
        software_versions=__version__,
        device_serial_number="none",
        content_description=DERIVATION,
        content_label="SYNTHETIC",
        series_description="SYNTHETIC SEG (GuideGen)",
    )
    _mark_equipment(seg)
    seg.SyntheticData = "YES"
    _remove_clock(seg, case)
    seg.file_meta = _make_file_meta(seg)
    dcmwrite(path, seg, enforce_file_format=True)


def _describe(number: int, entry: TorsoClass) -> Any:
    """Label a segment as the source label where a class is one of them, so that other studies read it by name."""
    structure = codes.SCT.AnatomicalStructure
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=entry.source_labels[0] if len(entry.source_labels) == 1 else entry.name,
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure if entry.name == TUMOUR else structure,
        segmented_property_type=CODES.get(entry.name, structure),
        algorithm_type="AUTOMATIC",
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name="GuideGen", family=codes.cid7162.ArtificialIntelligence, version=__version__
        ),
    )


def _remove_clock(seg: Dataset, case: MadeCase) -> None:
    """Replace what highdicom takes from the clock and from chance."""
    seg.ContentDate = seg.InstanceCreationDate = seg.SeriesDate = DATE
    seg.ContentTime = seg.InstanceCreationTime = seg.SeriesTime = TIME
    for item in seg.get("ContributingEquipmentSequence", []):
        item.ContributionDateTime = DATE + TIME
    organization = make_uid(case, "seg", "dimensions")
    seg.DimensionOrganizationSequence[0].DimensionOrganizationUID = organization
    for item in seg.DimensionIndexSequence:
        item.DimensionOrganizationUID = organization
