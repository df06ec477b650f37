"""Every file of a whole study is explained; samples are made again; a withdrawal reruns what the patient touched."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from guidegen.errors import GuideGenError
from guidegen.manifest import read_manifest
from guidegen.stages import NETWORKS
from guidegen.study import Study
from guidegen.tables import read_tsv, write_tsv
from guidegen.version.affected import find_affected, list_reruns
from guidegen.version.commit import commit_run
from guidegen.version.explain import build_graph, explain_file
from guidegen.version.lineage import read_lineage
from guidegen.version.sample import recompute_sample
from guidegen.version.verify import verify_study
from guidegen.version.withdraw import withdraw_patient
from guidegen.version.workspace import plan_removal

Call = Callable[..., subprocess.CompletedProcess[str]]
KINDS = {
    "data/raw/tcga_kirc/s000/*.tar": {"series"},
    "data/ct/tcga_kirc/s000/*.nii.gz": {"series as retrieved"},
    "data/mask/tcga_kirc/s000/*.torso.nii.gz": {"series as retrieved", "CT"},
    "data/cohort/arrays/*.ct.npy": {"CT", "label map"},
    "results/models/contrast_autoencoder/model.safetensors": {"arrays"},
    "results/models/latent_generator/model.safetensors": {"arrays", "cohort prompt", "latents", "model"},
    "results/synthetic/train/s000/*.ct.nii.gz": {"requested prompt", "model", "segmenter"},
    "results/synthetic/adherence/s000/*.json": {"requested prompt", "model"},
    "results/synthetic/train/summary.json": {"synthetic case"},
    "results/segmentation/synthetic/model.safetensors": {"arrays", "synthetic case"},
    "results/segmentation/real/predictions/*.npy": {"arrays", "segmenter"},
    "results/evaluation/segmentation.json": {"prediction", "arrays"},
    "results/report/index.html": {"evaluation", "table"},
}


@pytest.fixture(scope="module")
def whole(smoke_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A committed copy of the smoke study."""
    root = tmp_path_factory.mktemp("whole") / "study"
    shutil.copytree(smoke_study, root, symlinks=True)
    study = Study.load(root)
    commit_run(study, allow_dirty=True)
    return study


@pytest.mark.parametrize("pattern", list(KINDS))
def test_every_kind_of_file_leads_back_to_series_licence_and_doi(whole: Study, pattern: str) -> None:
    path = sorted(whole.root.glob(pattern))[0]
    found = explain_file(whole, str(path))
    told = found.as_json()
    assert not found.problem
    direct = {told["nodes"][key]["kind"] for key in told["nodes"][told["subject"]]["made_from"]}
    assert direct == KINDS[pattern]
    assert {"collection", "patient", "series"} <= {node["kind"] for node in told["nodes"].values()}
    assert told["sources"]
    for source in told["sources"]:
        assert source["dois"]
        assert source["licences"] == ["CC0 1.0"]
        assert all(series["series_uid"] for series in source["series"])


def test_no_origin_is_missing_and_every_file_of_every_manifest_is_known(whole: Study) -> None:
    graph = build_graph(whole)
    assert [origin for origins in graph.origins.values() for origin in origins if origin not in graph.nodes] == []
    for manifest in (path for top in ("data", "results") for path in (whole.root / top).rglob("*.tsv")):
        if "case\tstatus\treason\tpath" in manifest.open().readline():
            for row in read_manifest(manifest):
                assert not row["path"] or row["path"] in graph.owners


def test_a_patient_without_label_map_is_behind_the_models_that_learn_from_cts_alone(whole: Study) -> None:
    path = whole.root / "data" / "cohort" / "arrays.tsv"
    before, rows = path.read_text(), read_tsv(path)
    case = next(
        node.key.partition("#")[2] for node in build_graph(whole).find("arrays") if node.facts["split"] == "train"
    )
    try:
        write_tsv(path, tuple(rows[0]), [row | ({"labels_path": ""} if row["case"] == case else {}) for row in rows])
        graph = build_graph(whole)
    finally:
        path.write_text(before)
    key = f"data/cohort/arrays.tsv#{case}"
    learned = {stage: key in graph.origins[f"results/models/{stage}.tsv#model"] for stage in NETWORKS}
    assert learned == {"semantic_synthesizer": False, "contrast_autoencoder": True, "latent_generator": True}


def test_a_figure_is_explained_by_its_own_arm(whole: Study, call: Call) -> None:
    name = "results/evaluation/segmentation.json"
    tree = json.loads((whole.root / name).read_text())
    structure = next(iter(tree["arms"]["dice"]["real"]))
    figure = f"{name}#arms/dice/real/{structure}/value"
    told = json.loads(call("version", "explain", figure, "--json", "--study", whole.root).stdout)
    assert told["value"] == tree["arms"]["dice"]["real"][structure]["value"]
    arms = {key.split("/")[2].split(".")[0] for key, node in told["nodes"].items() if node["kind"] == "prediction"}
    assert arms == {"real"}
    assert not [node for node in told["nodes"].values() if node["kind"] == "synthetic case"]
    with pytest.raises(GuideGenError, match="no 'dise' in"):
        explain_file(whole, f"{name}#arms/dise")


def test_the_tree_is_whole_without_a_terminal_and_names_the_licence_of_the_series(whole: Study, call: Call) -> None:
    path = next(whole.root.glob("results/synthetic/train/s*/*.ct.nii.gz")).relative_to(whole.root)
    lines = call("version", "explain", path, "--study", whole.root).stdout.splitlines()
    assert max(map(len, lines)) > 80
    assert any("series" in line and "licence CC0 1.0" in line for line in lines)
    collections = [line for line in lines if "collection " in line]
    assert collections
    assert all("licence" not in line and "doi 10." in line for line in collections if "(above)" not in line)


def test_an_altered_file_is_explained_with_a_warning_and_a_foreign_one_refused(whole: Study, tmp_path: Path) -> None:
    path = sorted(whole.root.glob("data/ct/tcga_luad/s000/*.nii.gz"))[0]
    before = path.read_bytes()
    path.write_bytes(before + b"x")
    assert "this file was altered" in explain_file(whole, str(path)).problem
    path.write_bytes(before)
    (tmp_path / "x").touch()
    with pytest.raises(GuideGenError, match="no such file in the study"):
        explain_file(whole, str(tmp_path / "x"))
    with pytest.raises(GuideGenError, match="config files are written by people"):
        explain_file(whole, "config/config.yaml")


def test_a_sample_of_every_phase_comes_out_the_same_and_a_forged_one_does_not(whole: Study, tmp_path: Path) -> None:
    names, findings = recompute_sample(whole, 5)
    assert findings == []
    assert {name.split("/")[1] for name in names} == {"ct", "mask", "cohort", "synthetic", "text"}
    forged = Study(tmp_path / "forged", whole.config)
    shutil.copytree(whole.root, forged.root, symlinks=True)
    for path in forged.root.glob("data/text/*.tsv"):
        path.write_text(path.read_text().replace("-year-old", "-year-young"))
    _, findings = recompute_sample(forged, 5)
    assert {(finding.kind, finding.path.split("/")[1]) for finding in findings} == {("recomputed", "text")}
    assert "prompt was" in findings[0].message


def test_the_page_says_what_was_found(whole: Study, call: Call, tmp_path: Path) -> None:
    call("version", "verify", "--study", whole.root, "--page", tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "Everything is as the study says" in text
    assert "guidegen-smoke" in text


def test_a_withdrawal_deletes_all_traces_and_snakemake_reruns_what_the_plan_says(
    whole: Study, call: Call, tmp_path: Path
) -> None:
    study = Study(tmp_path / "study", whole.config)
    shutil.copytree(whole.root, study.root, symlinks=True)
    row = next(row for row in read_tsv(study.root / "data/cohort/cohort.tsv") if row["split"] == "train")
    patient, case = row["patient"], row["case"]
    affected = find_affected(study, patient)
    touched = {node.kind for node in (*affected.own, *affected.derived)}
    assert {"CT", "label map", "prompt", "arrays", "latents", "model", "synthetic case", "segmenter"} <= touched
    jobs = list_reruns(read_lineage(study.root), plan_removal(study, affected.patients).changed)
    done = withdraw_patient(study, patient, "")
    for top in ("data", "results", "logs", ".guidegen", ".snakemake"):
        for path in (study.root / top).rglob("*"):
            assert case not in path.name
            assert not path.is_file() or case.encode() not in path.read_bytes(), path
            named = path.is_file() and path.suffix in (".tsv", ".json") and patient in path.read_text(errors="replace")
            assert not named, path
    told = call("run", "--study", study.root, "--cores", "1", "--", "--dry-run", "--quiet", "rules").stdout
    assert len(done.jobs) == len(jobs)
    words = [line.split() for line in told.splitlines()]
    counted = {line[0]: int(line[1]) for line in words if len(line) == 2 and line[1].isdecimal()}
    expected: dict[str, int] = {}
    for job in jobs:
        rule = job["phase"] + ("_clinical" if job["job"].get("shard") == "clinical" else "")
        rule += f"_{job['job']['step']}" if "step" in job["job"] else ""
        expected[rule] = expected.get(rule, 0) + 1
    assert {name: count for name, count in counted.items() if name in expected} == expected
    assert set(counted) - set(expected) <= {"all", "total", "job"}
    errors = verify_study(study).errors
    assert errors, "not whole until it was run again"
    assert not [finding for finding in errors if finding.path.startswith("data/index/")]
    call("index", "--force", "--study", study.root)
    call("retrieve", "--clinical", "--collection", row["collection"], "--study", study.root)
    told = "".join(path.read_text() for path in study.root.glob("data/*/**/*.tsv"))
    assert told
    assert patient not in told, "the archive still has the patient, the study takes nothing of it"
