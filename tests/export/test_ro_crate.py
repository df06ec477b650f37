"""The crate is what the run was: rocrate reads it, a validator passes it, every job is in it."""

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from rocrate import rocrate as rocrate_module
from rocrate.rocrate import ROCrate

from guidegen.errors import GuideGenError
from guidegen.export.release import Release
from guidegen.export.ro_crate import export_ro_crate
from guidegen.export.workflow_files import read_workflow
from guidegen.version.lineage import find_makers, read_lineage

REPOSITORY = Path(__file__).parents[2]
VALIDATOR = REPOSITORY / ".venv-crate" / "bin" / "python"
CONTEXT = Path(rocrate_module.__file__).parent / "data" / "ro-crate.jsonld"


@pytest.fixture(scope="module")
def folder(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("crate") / "crate"
    export_ro_crate(release, out)
    return out


@pytest.fixture(scope="module")
def crate(folder: Path) -> ROCrate:
    return ROCrate(str(folder))


def validate(folder: Path) -> dict[str, Any]:
    if not VALIDATOR.is_file():
        pytest.skip("the validator has an environment of its own: `make .venv-crate/ready`")
    script = Path(__file__).with_name("validate_crate.py")
    command = [VALIDATOR, script, folder, "provenance-run-crate-0.5", "REQUIRED", CONTEXT]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def of_type(crate: ROCrate, kind: str) -> list[Any]:
    return [entity for entity in crate.get_entities() if entity.type == kind]


def test_every_file_is_there_with_its_hash(crate: ROCrate, folder: Path, release: Release) -> None:
    files = [entity for entity in crate.data_entities if "File" in entity.type]
    for entity in files:
        content = (folder / entity.id).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entity["sha256"], entity.id
    names = {entity.id for entity in files}
    assert {"config/config.yaml", "data/cohort/cohort.tsv", "results/report/index.html", "workflow/Snakefile"} <= names
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert present == names | {"ro-crate-metadata.json"}
    assert not [name for name in names if name.endswith((".nii.gz", ".npy", ".safetensors", ".tar"))]


def test_every_job_that_made_what_is_there_is_an_action(crate: ROCrate, release: Release) -> None:
    makers = find_makers(read_lineage(release.study.root))
    jobs = {f"{made[-1]['run']}/{made[-1]['file'].removesuffix('.json')}" for made in makers.values()}
    actions = {action["name"]: action for action in of_type(crate, "CreateAction")}
    assert set(actions) == jobs | {f"Run of {release.title}"}
    (cohort,) = [name for name in jobs if name.endswith("/prepare")]
    action = actions[cohort]
    assert action["instrument"]["name"] == "guidegen prepare"
    assert {entity.id for entity in action["result"]} >= {"data/cohort/cohort.tsv", "data/cohort/arrays.tsv"}
    assert "data/text/tcga_luad.tsv" in {entity.id for entity in action["object"]}
    assert crate.mainEntity.id == "workflow/Snakefile"
    assert {step["name"] for step in crate.mainEntity["step"]} >= {"convert", "train", "report"}


def test_sources_are_cited(crate: ROCrate, release: Release) -> None:
    cited = {entity.id for entity in crate.root_dataset["citation"]}
    assert cited == {f"https://doi.org/{collection.doi}" for collection in release.study.collections.values()}


def test_a_validator_passes_it(folder: Path) -> None:
    told = validate(folder)
    assert told["issues"] == []
    assert told["checks"] > 80


def test_the_workflow_is_that_of_the_run() -> None:
    """Of the first commit of the code, where git knows it, and an unknown commit is refused."""
    done = subprocess.run(["git", "-C", REPOSITORY, "rev-list", "HEAD"], capture_output=True, text=True, check=False)
    commits = done.stdout.split()
    if len(commits) > 1:
        shown = ["git", "-C", REPOSITORY, "show", f"{commits[-1]}:Snakefile"]
        expected = subprocess.run(shown, capture_output=True, check=True).stdout
        assert read_workflow(commits[-1])["Snakefile"] == expected
    with pytest.raises(GuideGenError, match="the run was made by the code 000"):
        read_workflow("0" * 40)
