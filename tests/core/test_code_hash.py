"""The code hash sees what can change an output, and nothing else."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import guidegen

SCRIPT = "import sys; from guidegen.codehash import code_hash; print(code_hash(*sys.argv[1:]))"


class Package:
    """A small `guidegen` of its own, with the real codehash.py."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "guidegen"
        self.write("__init__.py", "")
        shutil.copyfile(Path(guidegen.__file__).parent / "codehash.py", self.folder / "codehash.py")
        self.write("helper.py", "LIMIT = 3\n")
        self.write("deep.py", "from guidegen.helper import LIMIT\n")
        self.write("progress.py", "WIDTH = 80\n")
        self.write("unrelated.py", "X = 1\n")
        self.write("convert/__init__.py", '"""The phase."""\n')
        self.write("convert/command.py", "import guidegen.unrelated\n")
        self.write(
            "convert/geometry.py",
            '"""Geometry."""\n\nfrom guidegen import deep\nimport guidegen.progress\n\n\n'
            'def scale(x):\n    """Scale."""\n    return x * 2  # twice\n',
        )

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def edit(self, name: str, old: str, new: str) -> None:
        text = (self.folder / name).read_text()
        assert old in text
        self.write(name, text.replace(old, new))

    def hash(self, *modules: str) -> str:
        command = [sys.executable, "-c", SCRIPT, *(modules or ("convert",))]
        done = subprocess.run(command, cwd=self.root, capture_output=True, text=True, check=True)
        return done.stdout.strip()


@pytest.fixture
def package(tmp_path: Path) -> Package:
    return Package(tmp_path)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("convert/geometry.py", "# twice", "# two times"),
        ("convert/geometry.py", '"""Scale."""', '"""Scale it up."""'),
        ("convert/geometry.py", "x * 2", "(x\n        * 2)"),
        ("convert/geometry.py", '"""Geometry."""', ""),
        ("convert/command.py", "import guidegen.unrelated", "import guidegen.helper"),
        ("unrelated.py", "1", "2"),
        ("progress.py", "80", "100"),
    ],
)
def test_what_cannot_change_an_output_does_not_count(package: Package, file: str, old: str, new: str) -> None:
    before = package.hash()
    package.edit(file, old, new)
    assert package.hash() == before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("convert/geometry.py", "x * 2", "x * 3"),
        ("convert/geometry.py", "def scale", "def rescale"),
        ("convert/geometry.py", "import guidegen.progress", "import guidegen.unrelated"),
        ("helper.py", "LIMIT = 3", "LIMIT = 4"),
        ("deep.py", "from guidegen.helper import LIMIT", "LIMIT = 3"),
    ],
)
def test_what_can_change_an_output_counts(package: Package, file: str, old: str, new: str) -> None:
    before = package.hash()
    package.edit(file, old, new)
    assert package.hash() != before


@pytest.mark.parametrize("text", ["from . import deep\n", "from ..helper import LIMIT\n", "from .. import helper\n"])
def test_relative_imports_are_followed(package: Package, text: str) -> None:
    package.write("convert/io/__init__.py", "")
    package.write("convert/deep.py", "from guidegen.helper import LIMIT\n")
    package.write("convert/geometry.py", text)
    before = package.hash("convert.geometry")
    package.edit("helper.py", "3", "4")
    assert package.hash("convert.geometry") != before


def test_the_package_init_of_an_imported_module_counts(package: Package) -> None:
    package.write("models/__init__.py", "SCALE = 1\n")
    package.write("models/unet.py", "A = 1\n")
    package.edit("convert/geometry.py", "import guidegen.progress", "from guidegen.models.unet import A")
    before = package.hash()
    package.edit("models/__init__.py", "1", "2")
    assert package.hash() != before


def test_files_that_ship_with_a_package_count(package: Package) -> None:
    package.write("convert/template.html", "<p>{{ title }}</p>")
    before = package.hash()
    package.write("convert/template.html", "<h1>{{ title }}</h1>")
    assert package.hash() != before


def test_a_new_module_of_the_package_counts(package: Package) -> None:
    before = package.hash()
    package.write("convert/extra.py", "A = 1\n")
    assert package.hash() != before


def test_an_import_cycle_ends(package: Package) -> None:
    package.write("helper.py", "import guidegen.deep\n")
    assert len(package.hash()) == 16


def test_a_misspelt_phase_is_an_error(package: Package) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        package.hash("konvert")


def test_what_an_earlier_process_found_is_used_and_need_not_be_there(package: Package) -> None:
    before = package.hash()
    (kept,) = (package.folder / "__pycache__").glob("codehash.*.json")
    text = kept.read_text()
    kept.write_text("{")
    assert package.hash() == before
    assert kept.read_text() == text
    (digest, *_), *_ = json.loads(text).values()
    kept.write_text(text.replace(digest, "0" * 64))
    assert package.hash() != before
