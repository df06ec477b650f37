"""Source `local`: a folder of DICOM or NIfTI files is searched for CT series, what annotates them, and label maps."""

import hashlib
import logging
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pydicom
from pydicom.errors import InvalidDicomError

from guidegen.errors import GuideGenError
from guidegen.index.series import Offer, Series
from guidegen.index.settings import LocalCollection

HEADER_TAGS = [
    "PatientID",
    "StudyInstanceUID",
    "StudyDate",
    "SeriesInstanceUID",
    "SeriesNumber",
    "SeriesDescription",
    "Modality",
    "BodyPartExamined",
    "SOPClassUID",
    "ReferencedSeriesSequence",
    "ReferencedFrameOfReferenceSequence",
    "SegmentSequence",
]
DICOM_MAGIC_AT = 128
UID_ROOT = "2.25."
log = logging.getLogger(__name__)


def read_local(name: str, local: LocalCollection, root: Path) -> Offer:
    """Search the folder of a local collection.

    A series without PatientID (de-identified data) gets its folder's name as patient, one without a UID gets a UID
    derived from its folder. A NIfTI file is a patient of its own, named as the file. A label map belongs to the CT
    whose file, folder, patient id or series UID it is named after; one without a CT becomes a label-only case.

    Args:
        name: collection id.
        local: its entry in `index.local`.
        root: the study folder, for relative paths.

    Raises:
        GuideGenError: the folder is missing, or holds neither CT nor label maps.
    """
    folder = _resolve(root, local.folder)
    labels = _resolve(root, local.labels) if local.labels else None
    for path, key in ((folder, "folder"), (labels, "labels")):
        if path and not path.is_dir():
            raise GuideGenError(f"index.local.{name}.{key}: no folder {path}")
    files = [path for path in _walk(folder) if labels is None or not path.is_relative_to(labels)]
    nifti = [path for path in files if is_nifti(path)]
    series = [_describe_nifti(name, path, folder) for path in nifti]
    series += _scan_dicom(name, [path for path in files if not is_nifti(path)], folder)
    for path in _walk(labels) if labels else ():
        if is_nifti(path):
            series.append(_describe_labels(name, path, folder, series))
    if not any(item.role in ("ct", "labels") for item in series):
        raise GuideGenError(
            f"index.local.{name}: no CT in {folder} ({len(files)} files searched; expected DICOM CT series, "
            "*.nii.gz, or label maps in `labels`)"
        )
    return Offer([replace(item, licence=local.licence) for item in series], "local")


def is_nifti(path: Path) -> bool:
    """Whether a file is named as NIfTI."""
    return path.name.endswith((".nii", ".nii.gz"))


def stem_of(path: Path) -> str:
    """Return a file's name without `.nii`, `.nii.gz` or its last suffix."""
    return path.name.removesuffix(".gz").removesuffix(".nii") if is_nifti(path) else path.stem


def read_header(path: Path, tags: list[str] | None = None) -> pydicom.Dataset | None:
    """Read the header of a DICOM file, None where the file is not DICOM."""
    with path.open("rb") as stream:
        stream.seek(DICOM_MAGIC_AT)
        if stream.read(4) != b"DICM":
            return None
    try:
        return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=tags)  # type: ignore[arg-type]
    except (InvalidDicomError, EOFError, ValueError, KeyError, AttributeError, NotImplementedError) as error:
        log.warning("%s: unreadable DICOM, left out: %s", path, error)
        return None


def derive_uid(text: str) -> str:
    """Return a UID for what has none: `2.25.` and 128 bits of the text's sha256."""
    return UID_ROOT + str(int(hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32], 16))


def _resolve(root: Path, path: Path) -> Path:
    path = path.expanduser()
    return (path if path.is_absolute() else root / path).resolve()


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            if not name.startswith(".") and path.is_file():
                yield path


def _describe_nifti(name: str, path: Path, folder: Path) -> Series:
    place = path.relative_to(folder).as_posix()
    return Series(
        collection=name,
        patient_id=stem_of(path),
        series_uid=derive_uid(f"{name}/ct/{place}"),
        format="nifti",
        instances=1,
        size=path.stat().st_size,
        location=place,
    )


def _describe_labels(name: str, path: Path, folder: Path, series: list[Series]) -> Series:
    stem = stem_of(path)
    owners = [
        item
        for item in series
        if item.role == "ct"
        and stem in (stem_of(Path(item.location)), item.patient_id, item.series_uid, *Path(item.location).parts)
    ]
    if len({item.series_uid for item in owners}) > 1:
        raise GuideGenError(
            f"{path}: {len(owners)} CT series fit this label map's name; name it after one series UID: "
            f"{', '.join(sorted(item.series_uid for item in owners))}"
        )
    return Series(
        collection=name,
        patient_id=owners[0].patient_id if owners else stem,
        series_uid=derive_uid(f"{name}/labels/{path.name}"),
        modality="SEG",
        role="labels",
        format="nifti",
        instances=1,
        size=path.stat().st_size,
        location=Path(os.path.relpath(path, folder)).as_posix(),
        target_uid=owners[0].series_uid if owners else "",
    )


def _scan_dicom(name: str, files: list[Path], folder: Path) -> list[Series]:
    groups: dict[tuple[str, str], list[tuple[Path, pydicom.Dataset]]] = {}
    others = 0
    for path in files:
        header = read_header(path, HEADER_TAGS)
        if header is None:
            others += 1
            continue
        uid = str(header.get("SeriesInstanceUID") or "")
        place = path.parent.relative_to(folder).as_posix()
        groups.setdefault((uid, place), []).append((path, header))
    if others:
        log.warning("index.local.%s: %d file(s) in %s are neither DICOM nor NIfTI", name, others, folder)
    places: dict[str, list[str]] = {}
    for uid, place in groups:
        places.setdefault(uid, []).append(place)
    for uid, found in places.items():
        if uid and len(found) > 1:
            raise GuideGenError(f"index.local.{name}: series {uid} lies in {len(found)} folders: {', '.join(found)}")
    described = [_describe_dicom(name, uid, place, members) for (uid, place), members in groups.items()]
    return [item for item in described if item is not None]


def _describe_dicom(name: str, uid: str, place: str, members: list[tuple[Path, pydicom.Dataset]]) -> Series | None:
    first = members[0][1]
    modality = str(first.get("Modality") or "")
    if modality not in ("CT", "SEG", "RTSTRUCT"):
        log.info("index.local.%s: series of modality %s in %s left out", name, modality or "(none)", place)
        return None
    segments = first.get("SegmentSequence") or []
    return Series(
        collection=name,
        patient_id=str(first.get("PatientID") or "").strip() or members[0][0].parent.name,
        series_uid=uid or derive_uid(f"{name}/dicom/{place}"),
        study_uid=str(first.get("StudyInstanceUID") or ""),
        modality=modality,
        role="ct" if modality == "CT" else "annotation",
        description=str(first.get("SeriesDescription") or ""),
        body_part=str(first.get("BodyPartExamined") or ""),
        study_date=str(first.get("StudyDate") or ""),
        series_number=str(first.get("SeriesNumber") or ""),
        sop_class=str(first.get("SOPClassUID") or ""),
        transfer_syntax=str(first.file_meta.get("TransferSyntaxUID") or ""),
        instances=len(members),
        size=sum(path.stat().st_size for path, _ in members),
        algorithm_type=str(segments[0].get("SegmentAlgorithmType") or "") if segments else "",
        location=place,
        target_uid=find_target(first),
    )


def find_target(header: pydicom.Dataset) -> str:
    """Return the UID of the image series that a SEG or RTSTRUCT refers to, "" where it names none."""
    for item in header.get("ReferencedSeriesSequence") or []:
        return str(item.get("SeriesInstanceUID") or "")
    for frame in header.get("ReferencedFrameOfReferenceSequence") or []:
        for study in frame.get("RTReferencedStudySequence") or []:
            for item in study.get("RTReferencedSeriesSequence") or []:
                return str(item.get("SeriesInstanceUID") or "")
    return ""
