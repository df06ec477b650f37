"""No attribute that DICOM's confidentiality profile removes reaches a volume, a manifest or a record.

The list is that of the Basic Application Level Confidentiality Profile, DICOM PS3.15 2026c, table E.1-1
(`ps3_15_table_e1_1.tsv`). Each of its attributes is written with a value of its own into every file of a CT series.
"""

import datetime
import gzip
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hand_made_ct import make_ct, make_pattern, to_bytes
from pydicom import Dataset
from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag
from small_study import make_study
from typer.testing import CliRunner

from guidegen.cli import app
from guidegen.index.build import build_index
from guidegen.manifest import read_manifest
from guidegen.retrieve.shards import find_collection, retrieve_shard
from guidegen.study import Study
from guidegen.tables import read_tsv

TABLE = Path(__file__).parent / "ps3_15_table_e1_1.tsv"
STATED = {"PatientSex": "F", "PatientAge": "061Y"}
"""Facts that the study needs and the manifest states."""
UNSEARCHABLE = ("US", "AS")
"""Representations too short to be told from other bytes."""


def list_attributes() -> list[int]:
    """Return the tags of the table that a CT file can hold; group 0000 is of messages, 50xx and 60xx repeat."""
    tags = [row["tag"].split(",") for row in read_tsv(TABLE)]
    return [
        int(group.replace("xx", "00") + element.replace("xxxx", "3000"), 16)
        for group, element in tags
        if group != "0000"
    ]


def find_vr(tag: int) -> str:
    """Return an attribute's value representation; text where it is newer than the dictionary."""
    return dictionary_VR(tag).split(" or ")[0] if dictionary_has_tag(tag) else "LO"


def make_marker(tag: int, number: int, vr: str) -> str:
    """Return a value of the representation that occurs nowhere else."""
    day = datetime.date(1741, 1, 1) + datetime.timedelta(days=number)
    values = {
        "UI": f"1.2.826.0.1.3680043.10.{tag}.77",
        "DA": f"{day:%Y%m%d}",
        "DT": f"{day:%Y%m%d}121314.{number:06d}",
        "TM": f"121314.{number:06d}",
        "DS": f"-7{number:06d}.25",
        "IS": f"-7{number:06d}",
        "AS": "099Y",
    }
    return values.get(vr, f"MARK{tag:08X}")


def mark(datasets: list[Dataset]) -> dict[str, str]:
    """Write every attribute into every file and return the marker by name, those of the needed facts excepted."""
    markers: dict[str, str] = {}
    for number, tag in enumerate(list_attributes()):
        vr, name = find_vr(tag), keyword_for_tag(tag) or f"{tag:08X}"
        if name in STATED or name == "MediaStorageSOPInstanceUID":  # repeats SOPInstanceUID
            continue
        marker = make_marker(tag, number, vr)
        if vr not in UNSEARCHABLE:
            markers[name] = marker
        for slice_number, ds in enumerate(datasets):
            own = f"{marker}.{slice_number}" if name == "SOPInstanceUID" else marker
            put(ds.file_meta if tag >> 16 == 2 else ds, tag, vr, own)
    return markers


def put(ds: Dataset, tag: int, vr: str, marker: str) -> None:
    if vr == "SQ":
        item = Dataset()
        item.PatientName, item.PatientComments = marker, marker
        ds.add_new(tag, vr, [item])
    elif vr in ("OB", "OW", "UN"):
        ds.add_new(tag, "UN" if vr == "UN" else "OB", marker.encode())
    elif vr == "US":
        ds.add_new(tag, vr, 48879)
    else:
        ds.add_new(tag, vr, marker)


@pytest.fixture
def marked(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A folder of a marked CT series, and its markers."""
    datasets = make_ct(14)
    markers = mark(datasets)
    for ds in datasets:
        for keyword, value in STATED.items():
            setattr(ds, keyword, value)
        ds.add_new(0x00091001, "LO", "MARKPRIVATE")
    folder = tmp_path / "scans"
    folder.mkdir()
    for number, ds in enumerate(datasets, 1):
        (folder / f"IM{number:04d}").write_bytes(to_bytes(ds))
    return folder, markers | {"private": "MARKPRIVATE"}


def convert(tmp_path: Path, folder: Path, private: bool) -> tuple[Study, dict[str, str], str]:
    """Index, retrieve and convert by the command; return the study, the manifest's row and what was printed."""
    study = make_study(
        tmp_path / "study",
        "study: {name: lab, collections: []}\nretrieve: {min_free_gb: 0}\n"
        f"index:\n  pseudonym_key: {tmp_path}/keys/key\n  selection: {{local: {{min_instances: 12}}}}\n"
        f"  local: {{lab: {{folder: {folder}, private: {str(private).lower()}}}}}\n",
    )
    build_index(study)
    retrieve_shard(study, find_collection(study, "lab"), "s000")
    done = CliRunner().invoke(
        app, ["--verbose", "convert", "--study", str(study.root), "--collection", "lab", "--shard", "s000"]
    )
    assert done.exit_code == 0, done.output
    (row,) = read_manifest(study.manifest("data", "ct", "lab", "s000"))
    assert (row["status"], row["reason"], row["sex"], row["age"]) == ("ok", "", "female", "61")
    return study, row, done.output


def find_markers(markers: dict[str, str], parts: Iterator[bytes]) -> set[str]:
    found = set()
    for part in parts:
        found |= {name for name, marker in markers.items() if marker.encode() in part}
    return found


def read_all(folders: list[Path]) -> Iterator[bytes]:
    """Yield every file, those that are compressed also as what they hold, and their names."""
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            yield str(path.relative_to(folder)).encode()
            if path.is_file():
                data = path.read_bytes()
                yield data
                if path.suffix == ".gz":
                    yield gzip.decompress(data)


def test_every_attribute_of_the_profile_is_in_the_series(marked: tuple[Path, dict[str, str]]) -> None:
    folder, markers = marked
    assert len(markers) >= 630
    assert find_markers(markers, read_all([folder])) == set(markers)


def test_public_volume_holds_none_of_them_and_the_manifest_three(
    tmp_path: Path, marked: tuple[Path, dict[str, str]]
) -> None:
    """The case id and the manifest hold the collection's public patient code, as the clinical tables do."""
    folder, markers = marked
    study, row, output = convert(tmp_path, folder, private=False)
    image = nib.Nifti1Image.load(study.root / row["path"])
    header = image.header
    texts = [header[name].item() for name in ("descrip", "aux_file", "intent_name", "db_name", "data_type")]
    assert (texts, list(header.extensions), int(header["vox_offset"])) == ([b""] * 5, [], 0)
    assert find_markers(markers, read_all([(study.root / row["path"]).parent])) == {"PatientID"}
    assert find_markers(markers, iter([image.to_bytes()])) == set()
    assert find_markers(markers, iter([output.encode()])) <= {"PatientID"}
    made = [study.root / "data" / "ct", study.root / "results", study.root / ".guidegen" / "state" / "data" / "ct"]
    assert all(any(path.is_file() for path in folder.rglob("*")) for folder in made)
    stated = {"PatientID", "SeriesDescription", "ContrastBolusAgent"}
    assert find_markers(markers, read_all(made)) <= stated
    manifest = study.manifest("data", "ct", "lab", "s000")
    assert find_markers(markers, iter([manifest.read_bytes()])) == stated
    assert [row[name] for name in ("patient_id", "description", "contrast_agent")] == [
        markers[name] for name in ("PatientID", "SeriesDescription", "ContrastBolusAgent")
    ]


def test_private_collection_holds_none_of_them_anywhere(tmp_path: Path, marked: tuple[Path, dict[str, str]]) -> None:
    folder, markers = marked
    study, row, output = convert(tmp_path, folder, private=True)
    hidden = study.root / ".guidegen" / "private"
    assert find_markers(markers, read_all([hidden])) >= {"PatientID", "SeriesInstanceUID"}
    for path in hidden.iterdir():
        path.unlink()
    assert find_markers(markers, read_all([study.root])) == set()
    assert find_markers(markers, iter([output.encode()])) == set()
    assert row["contrast_agent"] == "yes"
    volume = np.frombuffer(gzip.decompress((study.root / row["path"]).read_bytes()), "<i2", offset=352)
    assert np.array_equal(np.sort(volume), np.sort(make_pattern(14), axis=None))
