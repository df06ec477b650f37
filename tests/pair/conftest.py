"""A small study of phantoms, from the archive to the prompts."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from guidegen.cli import app
from guidegen.study import Study

sys.path.append(str(Path(__file__).parent))
COLLECTIONS = ("tcga_kirc", "tcga_luad", "cptac_pda")


def run_here(*words: str | Path) -> str:
    """Run a `guidegen` command in this process (data phases start quickly, tests start many); return its output."""
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(scope="session", name="run_here")
def fixture_run_here() -> Callable[..., str]:
    return run_here


@pytest.fixture(scope="session")
def phantom_study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Three patients of each of three collections at the small size; truth in `archive/truth.tsv` is left for tests."""
    root = tmp_path_factory.mktemp("pair") / "study"
    run_here("init", root, "--preset", "smoke")
    archive = root / "archive"
    wanted = ",".join(COLLECTIONS)
    run_here("phantom", "--out", archive, "--patients", "3", "--size", "small", "--collections", wanted)
    config = root / "config" / "config.yaml"
    text = config.read_text()
    known = next(line for line in text.splitlines() if "collections: [" in line)
    config.write_text(text.replace(known.strip(), f"collections: [{', '.join(COLLECTIONS)}]"))
    run_here("index", "--study", root)
    study = Study.load(root)
    for collection in COLLECTIONS:
        for shard in study.list_shards(collection):
            for phase in ("retrieve", "convert", "mask"):
                run_here(phase, "--collection", collection, "--shard", shard, "--study", root)
        run_here("retrieve", "--collection", collection, "--clinical", "--study", root)
        run_here("pair", "--collection", collection, "--study", root)
    return study


@pytest.fixture(scope="session")
def truth(phantom_study: Study) -> dict[str, dict[str, str]]:
    from guidegen.tables import read_tsv

    return {row["patient_id"]: row for row in read_tsv(Path(phantom_study.root) / "archive" / "truth.tsv")}
