"""A study folder, and an archive with two hand-made patients in the IDC's columns."""

import shutil
import textwrap
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hand_made_ct import make_ct, to_bytes
from pydicom import Dataset
from pydicom.uid import generate_uid

from guidegen.study import Study

CONFIG = Path(__file__).parents[2] / "config"


def make_study(root: Path, config: str) -> Study:
    """Make a study folder with the project's tables and the given config."""
    (root / "config").mkdir(parents=True, exist_ok=True)
    for name in ("collections.tsv", "labels.tsv", "source_labels.tsv"):
        shutil.copyfile(CONFIG / name, root / "config" / name)
    (root / "config" / "config.yaml").write_text(textwrap.dedent(config))
    return Study.load(root)


def archive_config(**index: Any) -> str:
    """Config of a study on the hand-made archive."""
    lines = "".join(f"  {key}: {value}\n" for key, value in index.items())
    return (
        "study: {name: small, collections: [tcga_luad]}\n"
        "retrieve: {min_free_gb: 0}\n"
        f"index:\n  source: archive\n{lines}"
        "  selection: {archive: {min_instances: 12}}\n"
    )


class Archive:
    """A growing archive; each call of `add` writes a series and its index row."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []

    def add(self, patient: str, datasets: list[Dataset], **row: Any) -> str:
        """Write the files of one series, return its UID; `row` overrides what the index says."""
        first = datasets[0]
        files = [to_bytes(ds) for ds in datasets]
        place = self.folder / "tcga_luad" / patient / str(first.SeriesInstanceUID)
        place.mkdir(parents=True)
        for ds, data in zip(datasets, files, strict=True):
            (place / f"{ds.SOPInstanceUID}.dcm").write_bytes(data)
        self.rows.append(
            {
                "collection_id": "tcga_luad",
                "PatientID": patient,
                "PatientSex": "F",
                "PatientAge": "061Y",
                "StudyInstanceUID": str(first.StudyInstanceUID),
                "StudyDate": "2001-02-03",
                "SeriesInstanceUID": str(first.SeriesInstanceUID),
                "crdc_series_uuid": None,
                "SeriesDate": "2001-02-03",
                "SeriesNumber": "3",
                "Modality": str(first.Modality),
                "SeriesDescription": str(first.SeriesDescription),
                "BodyPartExamined": "CHEST",
                "Manufacturer": "Maker",
                "SOPClassUID": str(first.SOPClassUID),
                "TransferSyntaxUID": str(first.file_meta.TransferSyntaxUID),
                "instanceCount": len(files),
                "series_size_MB": sum(map(len, files)) / 1e6,
                "license_short_name": "CC BY 3.0",
                "source_DOI": "10.7937/k9/tcia.2016.jgnihep5",
                "analysis_result_id": None,
                "aws_bucket": None,
                "series_aws_url": None,
            }
            | row
        )
        return str(first.SeriesInstanceUID)

    def annotate(self, patient: str, ct_uid: str, algorithm: str = "MANUAL", description: str = "Tumour") -> str:
        """Add a DICOM SEG of a CT series; only its header matters here."""
        seg = make_ct(1)[0]
        seg.Modality, seg.SOPClassUID = "SEG", "1.2.840.10008.5.1.4.1.1.66.4"
        seg.SeriesInstanceUID, seg.SeriesDescription = generate_uid(), description
        uid = self.add(patient, [seg])
        self.annotations.append({"SeriesInstanceUID": uid, "segmented_SeriesInstanceUID": ct_uid})
        self.annotations[-1] |= {"total_segments": 1, "AlgorithmType": algorithm, "AlgorithmName": None}
        self.annotations[-1] |= {"SegmentationType": "BINARY"}
        return uid

    def write(self) -> None:
        """Write the index tables."""
        pq.write_table(pa.Table.from_pylist(self.rows), self.folder / "idc_index.parquet")
        if self.annotations:
            pq.write_table(pa.Table.from_pylist(self.annotations), self.folder / "seg_index.parquet")


def make_archive(folder: Path) -> Archive:
    """Make an archive of two patients; the first has a scout, a reformat, two usable CTs and a tumour annotation."""
    archive = Archive(folder)
    for slices, description in ((12, "SCOUT"), (3, "CHEST 5.0"), (12, "COR MPR")):
        datasets = make_ct(slices)
        for ds in datasets:
            ds.SeriesDescription, ds.SeriesInstanceUID = description, datasets[0].SeriesInstanceUID
        archive.add("P-1", datasets)
    sharp = make_ct(14)
    for ds in sharp:
        ds.SeriesDescription = "CHEST 2.5 B70f LUNG"
    archive.annotate("P-1", archive.add("P-1", sharp))
    archive.add("P-1", make_ct(16))
    second = make_ct(12)
    for ds in second:
        ds.PatientID = "P-2"
    archive.add("P-2", second)
    archive.write()
    return archive
