"""A whole study on real CT: how a hospital's own data enters, and that every stage takes it."""

import importlib
import json
import os
import shutil
from pathlib import Path

import pytest

from guidegen.manifest import read_manifest
from guidegen.study import Study
from guidegen.tables import read_tsv

pytestmark = pytest.mark.real
REALDATA = Path(os.environ.get("GUIDEGEN_REALDATA", Path(__file__).parents[2].parent / "shared" / "realdata"))
COLLECTIONS = """\
  local:
    lusc: {{folder: {real}/TCGA-LUSC_TCGA-34-2605/dicom, site: lung, licence: CC BY 3.0, private: false,
      clinical: {real}/clinical/gdc_tcga_lusc_clinical_subset.tsv}}
    pda: {{folder: {real}/CPTAC-PDA_C3L-00189/dicom, site: pancreas, licence: CC BY 4.0, private: false,
      clinical: {real}/clinical/cptac_pdac_clinical_140.tsv}}
    crlm: {{folder: {real}/CRLM-CT-1006/dicom, site: liver, licence: CC BY 4.0, private: true}}
    torso: {{folder: {torso}/ct, labels: {torso}/labels, licence: Apache-2.0, private: false}}
    labels: {{folder: {torso}/none, labels: {torso}/only, licence: CC BY 4.0, private: false}}
"""


@pytest.fixture(scope="module")
def real_study(tmp_path_factory: pytest.TempPathFactory, call) -> Path:
    if not REALDATA.is_dir():
        pytest.skip(f"no real CT series at {REALDATA}; set GUIDEGEN_REALDATA to the folder that holds them")
    folder = tmp_path_factory.mktemp("real")
    torso = folder / "torso"
    for source, target in (
        ("TotalSegmentator_testdata/example_ct.nii.gz", "ct/example.nii.gz"),
        ("TotalSegmentator_testdata/example_seg_fast_force_split.nii.gz", "labels/example.nii.gz"),
        ("TotalSegmentator_dataset_masks/s0327_total117_1p5mm.nii.gz", "only/s0327.nii.gz"),
        ("TotalSegmentator_dataset_masks/s0328_total117_1p5mm.nii.gz", "only/s0328.nii.gz"),
    ):
        (torso / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REALDATA / source, torso / target)
    (torso / "none").mkdir()
    root = folder / "study"
    call("init", root, "--preset", "smoke")
    path = root / "config" / "config.yaml"
    text = path.read_text()
    text = text.replace("collections: [tcga_luad, tcga_kirc, tcga_lihc, cptac_pda]", "collections: []")
    text = text.replace("  local: {}\n", COLLECTIONS.format(real=REALDATA, torso=torso))
    text = text.replace("pseudonym_key: ~/.config/guidegen/pseudonym.key", f"pseudonym_key: {folder}/pseudonym.key")
    path.write_text(text)
    call("run", "--study", root)
    return root


def read_cohort(root: Path) -> dict[str, dict[str, str]]:
    return {row["collection"]: row for row in read_tsv(root / "data" / "cohort" / "cohort.tsv")}


def test_all_six_cases_are_in_the_cohort(real_study: Path) -> None:
    rows = read_tsv(real_study / "data" / "cohort" / "cohort.tsv")
    assert [row["status"] for row in rows] == ["ok"] * 6, [row["reason"] for row in rows]
    content = {row["collection"]: (row["has_ct"], row["has_labels"]) for row in rows}
    assert content["lusc"] == content["pda"] == content["crlm"] == ("true", "false")
    assert content["torso"] == ("true", "true")
    assert content["labels"] == ("false", "true")


@pytest.mark.parametrize(
    ("collection", "expected"),
    [
        ("lusc", {"age": 76, "sex": "male", "site": "lung", "t": "T4", "n": "N1", "m": "M0", "stage": "IIIB"}),
        (
            "pda",
            {"age": 68, "sex": "female", "subsite": "head", "stage": "IIB", "smoking": "former"},
        ),
    ],
)
def test_prompts_state_what_the_clinical_rows_say(real_study: Path, collection: str, expected: dict) -> None:
    row = next(row for row in read_tsv(real_study / "data" / "text" / f"{collection}.tsv") if row["variant"] == "0")
    statements = json.loads(row["statements"])
    assert {key: statements[key] for key in expected} == expected
    assert set(json.loads(row["sources"])) >= set(expected)


def test_private_patient_leaves_no_trace(real_study: Path) -> None:
    """The name, the ids and the UIDs of a private patient are in no table, volume or log that git or DVC would keep."""
    import pydicom

    first = sorted((REALDATA / "CRLM-CT-1006" / "dicom").glob("*.dcm"))[0]
    header = pydicom.dcmread(first, stop_before_pixels=True)
    words = [str(header.PatientID), str(header.SeriesInstanceUID), str(header.StudyInstanceUID)]
    for top in ("data", "results"):
        for path in (real_study / top).rglob("*"):
            if path.is_file() and "raw" not in path.parts:
                data = path.read_bytes()
                assert not [word for word in words if word.encode() in data], path


def test_every_stage_was_trained_and_sampled(real_study: Path) -> None:
    study = Study.load(real_study)
    for stage in ("semantic_synthesizer", "contrast_autoencoder", "latents", "latent_generator"):
        rows = read_manifest(study.manifest("results", "models", stage))
        assert {row["status"] for row in rows} == {"ok"}
    made = list((real_study / "results" / "synthetic").rglob("*.ct.nii.gz"))
    assert made


def test_real_study_verifies(real_study: Path, call) -> None:
    assert call("version", "verify", "--study", real_study).returncode == 0


@pytest.fixture(scope="module")
def exports(real_study: Path, tmp_path_factory: pytest.TempPathFactory, call) -> Path:
    """The real study, committed, in all four forms."""
    folder = tmp_path_factory.mktemp("exports")
    call("version", "commit", "--allow-dirty", "--study", real_study)
    for form in ("ro-crate", "croissant", "benchmark", "cards"):
        call("version", "export", f"--{form}", "--out", folder / form, "--study", real_study)
    return folder


def test_a_synthetic_ct_is_explained_down_to_the_licences(real_study: Path, exports: Path, call) -> None:
    volume = sorted((real_study / "results" / "synthetic").rglob("*.ct.nii.gz"))[0]
    name = volume.relative_to(real_study)
    told = json.loads(call("version", "explain", name, "--json", "--study", real_study).stdout)
    licences = {licence for source in told["sources"] for licence in source["licences"]}
    assert licences <= {"CC BY 3.0", "CC BY 4.0", "Apache-2.0"}
    assert licences


def test_the_benchmark_reads_the_public_series_and_names_the_others(
    exports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = exports / "benchmark"
    rows = {row["collection"]: row for row in read_tsv(release / "cases.tsv")}
    reasons = {row["case"].split("__")[0]: row["reason"] for row in read_tsv(release / "left_out.tsv")}
    assert set(rows) == {"lusc", "pda"}
    assert reasons["crlm"].startswith("private")
    assert "no DICOM series" in reasons["torso"]
    assert reasons["labels"] == "no CT"
    monkeypatch.syspath_prepend(release)
    loader = importlib.import_module("guidegen_benchmark")
    for case in loader.Benchmark(release, REALDATA).list_cases():
        hu, _ = case.load_ct()
        assert hu.min() >= -1024
        assert case.prompt


def test_no_export_names_the_private_patient(exports: Path) -> None:
    import pydicom

    header = pydicom.dcmread(sorted((REALDATA / "CRLM-CT-1006" / "dicom").glob("*.dcm"))[0], stop_before_pixels=True)
    words = [str(header.PatientID), str(header.SeriesInstanceUID), str(header.StudyInstanceUID)]
    for path in exports.rglob("*"):
        if path.is_file() and path.name != "config.yaml":  # the config names the folder that the user gave
            assert not [word for word in words if word.encode() in path.read_bytes()], path
    assert "https://doi.org" not in (exports / "cards" / "DATA_CARD.md").read_text()
    assert "| CC BY 4.0 |" in (exports / "cards" / "DATA_CARD.md").read_text()
