"""DICOM SEG of a phantom, written with highdicom: all organs in one label map, the tumour in a binary one."""

from dataclasses import dataclass
from pathlib import Path

import highdicom as hd
import numpy as np
from pydicom import Dataset, dcmwrite
from pydicom.sr.codedict import codes

from guidegen.labels import TUMOUR
from guidegen.phantom.dicom import MANUFACTURER, make_file_meta, patient_uid
from guidegen.phantom.patient import Patient

ORGAN_CODES = {
    "spleen": codes.SCT.Spleen,
    "kidney": codes.SCT.Kidney,
    "gallbladder": codes.SCT.Gallbladder,
    "liver": codes.SCT.Liver,
    "stomach": codes.SCT.Stomach,
    "pancreas": codes.SCT.Pancreas,
    "adrenal": codes.SCT.AdrenalGland,
    "lung": codes.SCT.Lung,
    "esophagus": codes.SCT.Esophagus,
    "trachea": codes.SCT.Trachea,
    "small": codes.SCT.SmallIntestine,
    "duodenum": codes.SCT.Duodenum,
    "colon": codes.SCT.Colon,
    "urinary": codes.SCT.Bladder,
    "heart": codes.SCT.Heart,
    "aorta": codes.SCT.Aorta,
    "vertebrae": codes.SCT.Vertebra,
    "rib": codes.SCT.Rib,
}
"""Codes by the first word of a source label; other structures are coded as anatomical structure."""


@dataclass(frozen=True)
class Annotator:
    """Who or what drew a segmentation."""

    algorithm: str
    """MANUAL, SEMIAUTOMATIC or AUTOMATIC."""
    name: str
    """Reader (as a DICOM person name) or algorithm."""
    description: str
    """Series description."""


def write_organs(
    folder: Path, patient: Patient, labels: np.ndarray, images: list[Dataset], names: dict[int, str], number: int
) -> Dataset:
    """Write all structures of a label map except the tumour as one SEG of type LABELMAP.

    Args:
        folder: the patient's folder.
        patient: whose study it is.
        labels: source labels, shape (N, rows, columns), in the order of `images`.
        images: headers of the CT images that the segmentation refers to.
        names: source label name by id.
        number: series number.

    Returns:
        The written object.
    """
    present = [int(i) for i in np.unique(labels) if i and names[int(i)] != TUMOUR]
    lookup = np.zeros(256, np.uint8)
    lookup[present] = np.arange(1, len(present) + 1)
    annotator = Annotator("AUTOMATIC", "phantom anatomy", "Organ segmentation")
    described = [_describe(n, names[i], annotator) for n, i in enumerate(present, start=1)]
    return _write(folder, patient, lookup[labels], images, described, annotator, "LABELMAP", "organs", number)


def write_tumour(
    folder: Path, patient: Patient, mask: np.ndarray, images: list[Dataset], annotator: Annotator, number: int
) -> Dataset:
    """Write the tumour as a SEG of type BINARY; `mask` is boolean, shape (N, rows, columns)."""
    described = [_describe(1, TUMOUR, annotator)]
    return _write(folder, patient, mask.astype(np.uint8), images, described, annotator, "BINARY", "tumour", number)


def _describe(number: int, label: str, annotator: Annotator) -> hd.seg.SegmentDescription:
    tumour = label == TUMOUR
    structure = codes.SCT.AnatomicalStructure
    kind = codes.SCT.Neoplasm if tumour else ORGAN_CODES.get(label.split("_")[0], structure)
    algorithm = None
    if annotator.algorithm != "MANUAL":
        algorithm = hd.AlgorithmIdentificationSequence(
            name=annotator.name, family=codes.cid7162.ArtificialIntelligence, version="1"
        )
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=label,
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure if tumour else structure,
        segmented_property_type=kind,
        algorithm_type=annotator.algorithm,
        algorithm_identification=algorithm,
    )


def _write(
    folder: Path,
    patient: Patient,
    pixels: np.ndarray,
    images: list[Dataset],
    described: list[hd.seg.SegmentDescription],
    annotator: Annotator,
    kind: str,
    name: str,
    number: int,
) -> Dataset:
    seg = hd.seg.Segmentation(
        source_images=images,
        pixel_array=pixels,
        segmentation_type=kind,
        segment_descriptions=described,
        series_instance_uid=patient_uid(patient, "series", name),
        series_number=number,
        sop_instance_uid=patient_uid(patient, "series", name, "image", 1),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name="Parametric torso",
        software_versions="1",
        device_serial_number="1",
        content_creator_name=annotator.name if annotator.algorithm == "MANUAL" else None,
        content_description=annotator.description,
        content_label="SEGMENTATION",
        series_description=annotator.description,
    )
    _remove_clock(seg, patient, name)
    seg.file_meta = make_file_meta(seg, seg.file_meta.TransferSyntaxUID)
    target = folder / seg.SeriesInstanceUID
    target.mkdir()
    dcmwrite(target / f"{seg.SOPInstanceUID}.dcm", seg, enforce_file_format=True)
    return seg


def _remove_clock(seg: Dataset, patient: Patient, name: str) -> None:
    """Replace what highdicom takes from the clock and from chance, so that equal seeds give equal bytes."""
    seg.ContentDate = seg.InstanceCreationDate = seg.SeriesDate = seg.StudyDate
    seg.ContentTime = seg.InstanceCreationTime = seg.SeriesTime = "110000"
    for item in seg.get("ContributingEquipmentSequence", []):
        item.ContributionDateTime = f"{seg.StudyDate}110000"
    uid = patient_uid(patient, "series", name, "dimensions")
    seg.DimensionOrganizationSequence[0].DimensionOrganizationUID = uid
    for item in seg.DimensionIndexSequence:
        item.DimensionOrganizationUID = uid
