"""The manifest says what each series states and what became of each irregularity."""

from pathlib import Path

import pytest
from hand_made_ct import CORONAL, make_ct, make_pattern
from pydicom import Dataset
from small_study import Archive, archive_config, make_study

from guidegen.convert.shards import COLUMNS, convert_shard
from guidegen.errors import ShardFailed
from guidegen.index.build import build_index
from guidegen.retrieve.shards import find_collection, retrieve_shard
from guidegen.study import Study

COLLECTION = "tcga_luad"
FACTS = {
    "sex": "male",
    "age": "47",
    "contrast_agent": "Iohexol 350",
    "phase": "portal venous",
    "phase_source": "SeriesDescription",
    "kernel": "B30f 2",
    "thickness_mm": "3.75",
    "kvp": "110",
    "manufacturer": "Acme Medical",
    "description": "ABD/PEL PORTAL VENOUS 2.5",
    "body_part": "ABDOMEN",
    "transfer_syntax": "1.2.840.10008.1.2.1",
    "shape": "40,36,13",
    "spacing_mm": "0.8,0.7,2.5",
    "extent_mm": "32,25.2,32.5",
    "hu_min": "-1024",
    "hu_max": "1399",
    "padding_value": "-2000",
    "padding_share": "0.05",
    "repairs": "",
    "content": "ct",
    "patient": "P-1",
    "patient_id": "P-1",
}


def state_facts(datasets: list[Dataset]) -> list[Dataset]:
    for ds in datasets:
        ds.PatientSex, ds.PatientAge, ds.ContrastBolusAgent = "M", "047Y", " Iohexol  350"
        ds.SeriesDescription, ds.BodyPartExamined = "ABD/PEL PORTAL VENOUS 2.5", "ABDOMEN"
        ds.ConvolutionKernel, ds.SliceThickness, ds.KVP = ["B30f", "2"], 3.75, 110
        ds.Manufacturer = "Acme Medical"
    return datasets


def convert(root: Path, patients: dict[str, list[Dataset]], policy: str = "") -> list[dict[str, str]]:
    """Index, retrieve and convert one series per patient; return the manifest's rows of all shards."""
    archive = Archive(root / "archive")
    for patient, datasets in patients.items():
        for ds in datasets:
            ds.PatientID = patient
        archive.add(patient, datasets)
    archive.write()
    study = make_study(root, archive_config() + policy)
    build_index(study)
    return [row for shard in study.list_shards(COLLECTION) for row in convert_one(study, shard)]


def convert_one(study: Study, shard: str) -> list[dict[str, str]]:
    collection = find_collection(study, COLLECTION)
    retrieve_shard(study, collection, shard)
    return convert_shard(study, collection, shard)


def test_acquisition_facts_are_in_the_manifest(tmp_path: Path) -> None:
    hu = make_pattern(13)
    hu[:, :, :2] = -2000
    (row,) = convert(tmp_path / "study", {"P-1": state_facts(make_ct(13, hu=hu))})
    assert {name: row[name] for name in FACTS} == FACTS
    assert set(FACTS) == set(COLUMNS)


def make_irregular() -> dict[str, list[Dataset]]:
    """One irregular series per patient."""
    whole, later = state_facts(make_ct(14)), state_facts(make_ct(14, hu=make_pattern(14) + 60))
    for ds in later:
        ds.SeriesInstanceUID, ds.AcquisitionNumber = whole[0].SeriesInstanceUID, 2
    gap = make_ct(30)
    tilted = make_ct(14)
    for number, ds in enumerate(tilted):
        x, y, z = (float(value) for value in ds.ImagePositionPatient)
        ds.ImagePositionPatient = [x, round(y + 0.35 * number, 4), z]
    return {
        "P-coronal": make_ct(14, orientation=CORONAL),
        "P-gap": gap[:8] + gap[9:],
        "P-phases": whole + later,
        "P-tilt": tilted,
        "P-whole": make_ct(14),
    }


def test_each_irregularity_has_its_outcome(tmp_path: Path) -> None:
    rows = {row["patient"]: row for row in convert(tmp_path / "study", make_irregular())}
    outcomes = {patient: (row["status"], row["reason"].partition(":")[0]) for patient, row in rows.items()}
    assert outcomes == {
        "P-coronal": ("excluded", "orientation"),
        "P-gap": ("excluded", "missing_slice"),
        "P-phases": ("excluded", "stacked_volumes"),
        "P-tilt": ("ok", ""),
        "P-whole": ("ok", ""),
    }
    assert rows["P-tilt"]["repairs"] == (
        "gantry_tilt: 8.0 degrees, 4.5 mm from first to last slice, slices moved back within their planes"
    )
    assert rows["P-tilt"]["shape"] == "40,43,14"
    assert [rows[name]["path"] for name in ("P-coronal", "P-gap", "P-phases")] == [""] * 3


def test_policy_of_the_config_decides(tmp_path: Path) -> None:
    policy = "convert: {irregular: {gantry_tilt: exclude, missing_slice: repair, stacked_volumes: repair}}\n"
    rows = {row["patient"]: row for row in convert(tmp_path / "study", make_irregular(), policy)}
    assert rows["P-tilt"]["reason"].startswith("gantry_tilt: 8.0 degrees")
    assert rows["P-gap"]["repairs"].startswith("missing_slice: 1 missing at a spacing of 2.5 mm, the 21 of 29 slices")
    assert rows["P-gap"]["shape"] == "40,36,21"
    assert rows["P-phases"]["repairs"].startswith("stacked_volumes: different images at one position")
    facts = [rows["P-phases"][name] for name in ("contrast_agent", "phase", "phase_source", "description")]
    assert facts == ["Iohexol 350", "", "", "ABD/PEL PORTAL VENOUS 2.5"]


def test_failing_policy_fails_the_shard_and_names_the_case(tmp_path: Path) -> None:
    series = {"P-tilt": make_irregular()["P-tilt"]}
    with pytest.raises(ShardFailed, match=r"tcga_luad__P-tilt__[0-9a-f]{8}: gantry_tilt: 8\.0 degrees"):
        convert(tmp_path / "study", series, "convert: {irregular: {gantry_tilt: fail}}\n")
