"""One committed smoke study that all exports are made of; tests that alter it copy it."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from guidegen.export.release import Release, open_release
from guidegen.study import Study
from guidegen.version.commit import commit_run


@pytest.fixture(autouse=True, scope="session")
def _own_git_identity(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the user's git config out of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("GIT_")]:
            patch.delenv(name)
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        yield


@pytest.fixture(scope="session")
def committed(smoke_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smoke study, committed; without its archive."""
    root = tmp_path_factory.mktemp("committed") / "study"
    shutil.copytree(smoke_study, root, symlinks=True, ignore=shutil.ignore_patterns("archive", "logs", ".snakemake"))
    commit_run(Study.load(root), allow_dirty=True)
    return root


@pytest.fixture(scope="session")
def release(committed: Path) -> Release:
    return open_release(Study.load(committed))
