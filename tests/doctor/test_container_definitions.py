"""The Apptainer definitions name the same Python, packages and files as the locks and the wheel; none is built here."""

import re
import subprocess
import tomllib

import pytest
from ruamel.yaml import YAML

from guidegen.assets import ASSETS

ENVIRONMENTS = ("core", "segmentation")
SECTIONS = ["files", "post", "environment", "runscript", "test", "labels"]


def read_definition(name: str) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return header and sections of a definition file, without comments."""
    header: dict[str, str] = {}
    sections: dict[str, list[str]] = {}
    section = None
    for line in (ASSETS / "envs" / f"{name}.def").read_text().splitlines():
        if line.startswith("%"):
            section = sections.setdefault(line[1:], [])
        elif section is not None and line.strip():
            section.append(line.strip())
        elif line.strip() and not line.startswith("#"):
            key, value = line.split(": ")
            header[key] = value
    return header, sections


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_sections_are_there_and_the_scripts_are_valid_shell(name: str) -> None:
    header, sections = read_definition(name)
    assert header["Bootstrap"] == "docker"
    assert list(sections) == SECTIONS
    for section in ("post", "environment", "runscript", "test"):
        subprocess.run(["sh", "-n"], input="\n".join(sections[section]), text=True, check=True)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_python_is_that_of_the_conda_environment(name: str) -> None:
    tree = YAML(typ="safe").load((ASSETS / "envs" / f"{name}.yaml").read_text())
    python = next(entry for entry in tree["dependencies"] if str(entry).startswith("python="))
    assert read_definition(name)[0]["From"].startswith(f"python:{python.removeprefix('python=')}-")


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_files_exist_and_are_all_that_the_wheel_is_built_from(name: str) -> None:
    files = dict(line.split() for line in read_definition(name)[1]["files"])
    for source, target in files.items():
        assert (ASSETS / source).exists(), source
        assert target == f"/opt/guidegen/{source}"
    project = tomllib.loads((ASSETS / "pyproject.toml").read_text())
    build = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {*build["force-include"], *(package.split("/")[0] for package in build["packages"])}
    needed |= {"pyproject.toml", project["project"]["readme"], "LICENSE"}
    assert set(files) == needed


def test_core_installs_the_project_under_the_lock() -> None:
    post = read_definition("core")[1]["post"]
    (install,) = [line for line in post if "pip install" in line]
    assert install.endswith("-c /opt/guidegen/envs/constraints.txt /opt/guidegen")


def test_segmentation_installs_its_lock_and_the_project_without_dependencies() -> None:
    installs = [line for line in read_definition("segmentation")[1]["post"] if "pip install" in line]
    assert installs[0].endswith("-r /opt/guidegen/envs/segmentation.txt")
    assert installs[1].endswith("--no-deps /opt/guidegen")
    text = (ASSETS / "envs" / "segmentation.txt").read_text()
    assert "-c constraints.txt" in text.splitlines()
    pins = dict(
        line.split("==") for line in (ASSETS / "envs" / "constraints.txt").read_text().splitlines() if "==" in line
    )
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==(\S+)$", text, re.MULTILINE):
        assert pins[name.lower()] == version
