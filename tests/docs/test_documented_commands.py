"""Every command of README.md and docs/ runs, on a copy of the smoke study, and shows what the page says it shows."""

import os
import pkgutil
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from documented_code import PAGES, SHELL, read_blocks, read_indented, read_inline
from ruamel.yaml import YAML
from typer.testing import CliRunner

from guidegen.assets import ASSETS
from guidegen.cli import app
from guidegen.config import StudyConfig
from guidegen.config_files import load_preset, render_config

NOT_RUN = {
    r"git clone <.*": "no address, no internet",
    r"make demo": "the whole study at demo size; the smoke study stands for it",
    r"make (config|lint|test|\.venv/ready)": "tiers of CI, which runs them on the clone itself",
    r"guidegen run --study studies/demo-long": "an hour of trainings; the smoke study stands for it",
    r"guidegen run --study studies/paper( -- --(workflow-profile|until) .*)?": "73 GB from the internet, then GPUs",
    r"guidegen run --study studies/hospital -- data": "27 s of CPU; tests/real runs local data in whole",
    r"guidegen (estimate|doctor) --study studies/paper": "tests/estimate and tests/doctor run them; twice is too dear",
    r"sinfo .*|sacctmgr .*|guidegen doctor .* --slurm": "a cluster; tests/slurm asks one",
    r"apptainer build .*": "Apptainer and a registry of images",
    r"pip (download|install) .*": "packages from the internet",
}
"""Commands that cannot run here or cost too much, as patterns of whole lines, each with the reason."""
PAGES_ELSEWHERE = {"slurm-plugin-reports.md": "tests/slurm/test_slurm_plugin_reports.py runs them on a cluster"}
LAST = "audits.md"
"""This page takes a patient out of the study that the others look at."""
CHANGED = {"guidegen version commit": ("--allow-dirty", "the clone may hold edits that are in no commit")}
"""Commands that get an option here, with the reason."""
SHELL_SIGNS = frozenset("|&;<>$`*")
LANGUAGES = {*SHELL, "yaml", "text", "python"}
BLOCKS = {page: read_blocks(page) for page in sorted(PAGES, key=lambda page: page.name == LAST)}
SHELL_PAGES = [
    page
    for page, blocks in BLOCKS.items()
    if page.name not in PAGES_ELSEWHERE and any(block.language in SHELL for block in blocks)
]


def find_reason(command: str) -> str | None:
    return next((reason for pattern, reason in NOT_RUN.items() if re.fullmatch(pattern, command)), None)


def make_small_config() -> StudyConfig:
    """What the reader's editor leaves of the paper's config: one collection of the IDC, networks of the smoke study."""
    tree = load_preset("smoke").model_dump(mode="json")
    tree["study"] |= {"name": "guidegen-paper", "collections": ["tcga_lihc"]}
    tree["index"] |= {"source": "idc", "phantom": None, "idc_tables_url": ""}
    return StudyConfig.model_validate(tree)


@pytest.fixture(scope="module")
def clone(smoke_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that looks like the clone after `make demo`, with the smoke study for the demo's; tests work in it."""
    root = tmp_path_factory.mktemp("clone")
    (root / ".venv").symlink_to(sys.prefix)
    (root / "guidegen").symlink_to(root)
    shutil.copytree(smoke_study, root / "studies" / "demo", symlinks=True)
    (root / "small.yaml").write_text(render_config(make_small_config(), "The paper's study, small."))
    ssh = root / "home" / ".ssh"
    ssh.mkdir(parents=True, mode=0o700)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", ssh / "id_ed25519"], check=True)
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("GIT_", "GUIDEGEN_"))]:
            patch.delenv(name)
        patch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        patch.setenv("HOME", str(root / "home"))
        patch.setenv("EDITOR", f"cp {root / 'small.yaml'}")
        patch.chdir(root)
        yield root


@pytest.fixture(scope="module")
def done() -> set[str]:
    """Commands that were run on one page need not run on the next."""
    return set()


def run_command(command: str) -> str:
    """Run one command and return what it printed; fail where it fails.

    `guidegen` runs in this process: to start Python and load PyTorch anew would cost more than most of its work.
    """
    for start, (option, _) in CHANGED.items():
        command = command.replace(start, f"{start} {option}")
    if command.startswith("guidegen ") and not SHELL_SIGNS & set(command):
        ran = CliRunner().invoke(app, shlex.split(command)[1:], input="y\n")
        if ran.exception and not isinstance(ran.exception, SystemExit):
            raise ran.exception
        assert ran.exit_code == 0, f"{command} -> {ran.exit_code}\n{ran.output[-3000:]}"
        return ran.output
    bash = subprocess.run(["bash", "-euo", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert bash.returncode == 0, f"{command} -> {bash.returncode}\n{bash.stdout[-3000:]}{bash.stderr[-3000:]}"
    return bash.stdout


@pytest.mark.parametrize("page", SHELL_PAGES, ids=lambda page: page.relative_to(ASSETS).as_posix())
def test_commands_of_a_page_run_and_show_what_it_says(page: Path, clone: Path, done: set[str]) -> None:
    shown = ""
    for block in BLOCKS[page]:
        if block.title:
            (clone / block.title).write_text(block.code)
        elif block.language in SHELL:
            commands = [command for command in block.list_commands() if not find_reason(command)]
            shown = "".join(run_command(command) for command in commands if command not in done)
            done.update(commands)
        elif block.language == "text" and shown:
            missing = [line for line in block.code.splitlines() if line not in shown]
            assert not missing, f"{block.place}: not in the output of the block before: {missing}\n{shown}"


def test_every_reason_not_to_run_a_command_is_needed() -> None:
    commands = [c for page in SHELL_PAGES for b in BLOCKS[page] if b.language in SHELL for c in b.list_commands()]
    unused = [pattern for pattern in NOT_RUN if not any(re.fullmatch(pattern, command) for command in commands)]
    assert unused == []
    assert [name for name in PAGES_ELSEWHERE if not any(page.name == name for page in PAGES)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ASSETS).as_posix())
def test_code_is_in_fenced_blocks_that_name_their_language(page: Path) -> None:
    assert [block.place for block in BLOCKS[page] if block.language not in LANGUAGES] == []
    commands = ("guidegen ", "make ", ".venv/bin/", "git ", "pip ", "$ ")
    assert [line for line in read_indented(page) if line.startswith(commands)] == []


def test_every_piece_of_config_is_valid() -> None:
    pieces = [block for blocks in BLOCKS.values() for block in blocks if block.language == "yaml"]
    assert pieces
    for block in pieces:
        StudyConfig.model_validate(YAML(typ="safe").load(block.code))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ASSETS).as_posix())
def test_commands_in_running_text_exist_with_their_options(page: Path) -> None:
    for text in read_inline(page):
        if match := re.fullmatch(r"guidegen ([a-z].*)", text):
            check_words(match[1].split(" -- ")[0].split(), f"{page.name}: `{text}`")


def check_words(words: list[str], place: str) -> None:
    """Fail where words name a command or an option that does not exist."""
    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="guidegen")
    for word in words:
        if word.startswith("--"):
            options = {name for parameter in command.get_params(context) for name in parameter.opts}
            assert word.split("=")[0] in options, f"{place}: no option {word}; there are {sorted(options)}"
        elif hasattr(command, "commands"):
            names = command.commands  # type: ignore[attr-defined]
            assert word in names, f"{place}: no command {word}; there are {sorted(names)}"
            command = names[word]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ASSETS).as_posix())
def test_files_that_the_text_names_exist(page: Path) -> None:
    tops = ("src/", "tests/", "docs/", "rules/", "config/", "workflow/", "benchmarks/", "envs/")
    named = [text for text in read_inline(page) if text.startswith(tops) and not set(text) & set("<*…{ ")]
    study = ("config/withdrawn.tsv",)
    assert [name for name in named if name not in study and not (ASSETS / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ASSETS).as_posix())
def test_functions_that_the_text_names_exist(page: Path) -> None:
    for name in read_inline(page):
        if re.fullmatch(r"guidegen(\.\w+)+", name):
            pkgutil.resolve_name(name)
