"""What of a private series is kept: an allow-list of attributes, pseudonyms in place of identifiers, nothing else."""

import hashlib
import io

import nibabel as nib
import pydicom
from isal import igzip
from nibabel.filebasedimages import ImageFileError
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID

from guidegen.convert.phases import clean_agent, find_phase
from guidegen.errors import ItemError
from guidegen.index.pseudonyms import Pseudonymiser
from guidegen.index.settings import CT_IMAGE_STORAGE

KEPT = (
    *("SOPClassUID", "ImageType", "Modality", "Manufacturer", "PatientSex", "BodyPartExamined", "SliceThickness"),
    *("KVP", "GantryDetectorTilt", "ConvolutionKernel", "PatientPosition", "InstanceNumber"),
    *("AcquisitionNumber", "ImagePositionPatient", "ImageOrientationPatient", "SamplesPerPixel", "NumberOfFrames"),
    *("PhotometricInterpretation", "Rows", "Columns", "PixelSpacing", "BitsAllocated", "BitsStored", "HighBit"),
    *("PixelRepresentation", "PixelPaddingValue", "RescaleIntercept", "RescaleSlope", "RescaleType", "PixelData"),
)
"""Attributes that later phases need and that identify nobody (compare DICOM PS3.15, table E.1-1)."""
PSEUDONYM_UIDS = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")
OLDEST_YEARS = 90
"""Ages over 89 years are one group in de-identified data."""


def deidentify_dicom(data: bytes, patient: str, series_uid: str, pseudonyms: Pseudonymiser) -> bytes:
    """Return a CT instance with only the attributes of the allow-list.

    Contrast phase and agent are kept as the words of the study's schema, because free text may name a person.

    Args:
        data: the DICOM file.
        patient: the patient's pseudonym.
        series_uid: the series' pseudonym.
        pseudonyms: the key.
    """
    source = pydicom.dcmread(io.BytesIO(data))
    kept = Dataset()
    for keyword in KEPT:
        if keyword in source:
            kept[keyword] = source[keyword]
    for keyword in PSEUDONYM_UIDS:
        if found := str(source.get(keyword) or ""):
            setattr(kept, keyword, pseudonyms.uid(found))
    kept.SOPClassUID = str(kept.get("SOPClassUID") or "") or CT_IMAGE_STORAGE
    if "SOPInstanceUID" not in kept:
        kept.SOPInstanceUID = pseudonyms.uid(hashlib.sha256(data).hexdigest())
    kept.SeriesInstanceUID = series_uid
    kept.PatientID, kept.PatientName = patient, ""
    kept.PatientIdentityRemoved = "YES"
    if age := cap_age(str(source.get("PatientAge") or "")):
        kept.PatientAge = age
    if phase := find_phase(str(source.get("SeriesDescription") or "")):
        kept.SeriesDescription = phase.value
    if agent := clean_agent(str(source.get("ContrastBolusAgent") or "")):
        kept.ContrastBolusAgent = agent if agent == "none" else "yes"
    kept.file_meta = FileMetaDataset()
    kept.file_meta.TransferSyntaxUID = source.file_meta.TransferSyntaxUID
    kept.file_meta.MediaStorageSOPClassUID = UID(kept.SOPClassUID)
    kept.file_meta.MediaStorageSOPInstanceUID = UID(kept.SOPInstanceUID)
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, kept, enforce_file_format=True)
    return stream.getvalue()


def cap_age(text: str) -> str:
    """Return a DICOM age string, years over 90 as `090Y`."""
    if text.endswith("Y") and text[:-1].isdigit() and int(text[:-1]) > OLDEST_YEARS:
        return f"{OLDEST_YEARS:03d}Y"
    return text


def deidentify_nifti(name: str, data: bytes) -> bytes:
    """Return a gzipped NIfTI-1 image with the same voxels and affine and a header that holds no text.

    Raises:
        ItemError: the file is no NIfTI image.
    """
    raw = igzip.decompress(data) if name.endswith(".gz") else data
    try:
        image = nib.Nifti1Image.from_bytes(raw)
    except (ImageFileError, ValueError) as error:
        raise ItemError(f"{name}: not a NIfTI-1 image: {error}") from None
    header = image.header.copy()
    for field in ("descrip", "aux_file", "intent_name", "db_name", "data_type"):
        header[field] = b""
    header.extensions.clear()
    clean = nib.Nifti1Image(image.dataobj.get_unscaled(), image.affine, header)  # type: ignore[attr-defined]
    clean.header.set_slope_inter(image.dataobj.slope, image.dataobj.inter)  # type: ignore[attr-defined]
    return igzip.compress(clean.to_bytes(), compresslevel=2, mtime=0)
