"""Generated and pinned files agree with what they are made from."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from guidegen.assets import ASSETS
from guidegen.config import StudyConfig, load_config
from guidegen.config_files import load_preset, render_config, render_schema

PINS = dict(
    line.strip().split("==") for line in (ASSETS / "envs" / "constraints.txt").read_text().splitlines() if "==" in line
)


def test_default_config_is_what_the_models_say() -> None:
    assert load_config(ASSETS / "config" / "config.yaml") == StudyConfig()
    text = (ASSETS / "config" / "config.yaml").read_text()
    assert text.split("\n", 1)[1] == render_config(StudyConfig(), "").split("\n", 1)[1], "run `make config`"


def test_schema_is_what_the_models_say() -> None:
    assert (ASSETS / "workflow" / "schemas" / "config.schema.json").read_text() == render_schema(), "run `make config`"


@pytest.mark.parametrize("preset", ["smoke", "demo", "paper"])
def test_rendered_presets_read_back_equal(preset: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(render_config(load_preset(preset), preset))
    assert load_config(path) == load_preset(preset)


@pytest.mark.parametrize("name", ["core", "segmentation"])
def test_conda_environments_agree_with_the_lock(name: str) -> None:
    tree = YAML(typ="safe").load((ASSETS / "envs" / f"{name}.yaml").read_text())
    pip = next(entry["pip"] for entry in tree["dependencies"] if isinstance(entry, dict))
    pinned = [re.fullmatch(r"([A-Za-z0-9._-]+)(?:\[.*\])?==(.+)", line) for line in pip]
    assert sum(match is not None for match in pinned) >= 5
    for match in filter(None, pinned):
        assert PINS[match[1].lower().replace("_", "-").replace(".", "-")] == match[2]


def test_snakemake_lint_finds_nothing(smoke_study: Path) -> None:
    """One finding is accepted: the environments are named in the config, which also allows conda and Apptainer."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ASSETS / "Snakefile"), "--lint"]
    done = subprocess.run([*command, "--directory", str(smoke_study)], capture_output=True, text=True, check=False)
    findings = re.findall(r"^ +\* (.+?):?$", done.stdout + done.stderr, re.MULTILINE)
    assert done.returncode == 0 or findings, "the linter itself failed: " + done.stdout + done.stderr
    assert set(findings) <= {"Specify a conda environment or container for each rule."}, done.stdout + done.stderr
