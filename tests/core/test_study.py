"""A study folder: its collections, and where things lie."""

import shutil
from pathlib import Path

import pytest

from guidegen.errors import GuideGenError
from guidegen.study import Study
from guidegen.tables import write_tsv

CONFIG = Path(__file__).parents[2] / "config"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "config").mkdir()
    for name in ("collections.tsv", "labels.tsv", "source_labels.tsv"):
        shutil.copyfile(CONFIG / name, tmp_path / "config" / name)
    return tmp_path


def load(root: Path, text: str) -> Study:
    (root / "config" / "config.yaml").write_text(text)
    return Study.load(root)


def test_a_set_names_its_collections(root: Path) -> None:
    assert len(load(root, "study:\n  collections: paper12\n").collections) == 12
    chosen = load(root, "study:\n  collections: [tcga_lusc, tcga_luad]\n").collections
    assert list(chosen) == ["tcga_lusc", "tcga_luad"]
    assert chosen["tcga_luad"].site == "lung"


@pytest.mark.parametrize(
    ("collections", "message"),
    [
        ("papr12", "no set 'papr12' in .*known sets: .*paper12"),
        ("[tcga_luad, tcga_laud]", "unknown collection 'tcga_laud'; did you mean 'tcga_luad'"),
        ("[zzzzzz]", "unknown collection 'zzzzzz'; .* lists .*tcga_luad"),
        ("[]", "study.collections is empty"),
    ],
)
def test_an_unknown_collection_is_refused_and_the_known_are_named(root: Path, collections: str, message: str) -> None:
    with pytest.raises(GuideGenError, match=message):
        load(root, f"study:\n  collections: {collections}\n")


def test_a_collections_table_without_a_needed_column_is_refused(root: Path) -> None:
    write_tsv(root / "config" / "collections.tsv", ("collection", "name", "sets", "site"), [{"collection": "a"}])
    with pytest.raises(GuideGenError, match=r"column\(s\) .*licence.* missing"):
        load(root, "")


def test_shards_come_from_the_frozen_index(root: Path) -> None:
    study = load(root, "study:\n  collections: [tcga_luad]\n")
    with pytest.raises(GuideGenError, match="the index was not built yet; run `guidegen index"):
        study.list_shards("tcga_luad")
    rows = [{"case": f"c{n}", "shard": f"s00{n % 2}"} for n in range(4)]
    write_tsv(study.index_table("tcga_luad"), ("case", "patient", "role", "series_uid", "shard"), rows)
    assert study.list_shards("tcga_luad") == ["s000", "s001"]
    assert [row["case"] for row in study.read_index("tcga_luad", "s001")] == ["c1", "c3"]


def test_a_shard_lies_beside_its_manifest_and_its_state_in_neither_git_nor_dvc(root: Path) -> None:
    shard = load(root, "").shard("data", "ct", "tcga_luad", "s000")
    assert shard.manifest == root / "data/ct/tcga_luad/s000.tsv"
    assert shard.bulk == root / "data/ct/tcga_luad/s000"
    assert shard.state.is_relative_to(root / ".guidegen")
    assert shard.orphans.is_relative_to(root / ".guidegen")
    assert shard.state != shard.orphans


def test_the_clone_is_no_study() -> None:
    with pytest.raises(GuideGenError, match=r"the clone of the project, not a study; name a study folder"):
        Study.load(CONFIG.parent)
