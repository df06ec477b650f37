"""The config: what is wrong is refused at once, with its place and what would be right."""

import json
from pathlib import Path

import pytest

from guidegen.config import StudyConfig, load_config
from guidegen.errors import GuideGenError


def load(tmp_path: Path, text: str) -> StudyConfig:
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
    return load_config(tmp_path / "config.yaml")


def explain(tmp_path: Path, text: str) -> str:
    with pytest.raises(GuideGenError) as caught:
        load(tmp_path, text)
    assert caught.value.exit_code == 2
    message = str(caught.value)
    assert message.startswith(str(tmp_path / "config.yaml"))
    return message.removeprefix(str(tmp_path / "config.yaml"))


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    assert load(tmp_path, "") == load(tmp_path, "study: {}\n") == StudyConfig()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("study:\n  name: a\n  sed: 5\n", ", line 3: unknown key 'study.sed' (value 5); did you mean 'seed'?"),
        ("stduy: {}\n", ", line 1: unknown key 'stduy' (value {}); did you mean 'study'?"),
        ("study:\n  zzzzz: 1\n", "known keys: collections, max_failed_share, name, seed, threads"),
        ("study:\n  threads: 0\n", ", line 2: 'study.threads' is 0: Input should be greater than or equal to 1"),
        (
            "study:\n  max_failed_share: lots\n",
            ", line 2: 'study.max_failed_share' is 'lots': Input should be a valid number",
        ),
        ("study:\n  max_failed_share: .nan\n", "'study.max_failed_share' is nan"),
        (
            "study:\n  collections: 7\n",
            ", line 2: 'study.collections' is 7: Input should be a valid string; or: Input should be a valid list",
        ),
        ("study:\n  collections: [a, 7]\n", "'study.collections.1' is 7: Input should be a valid string"),
        ("study:\n  name: Has Spaces\n", ", line 2: 'study.name' is 'Has Spaces'"),
        ("study: 5\n", ", line 1: 'study' is 5"),
        ("- study\n", ": expected sections such as `study:`, found"),
        ("study: {\n", ": not valid YAML"),
        ("study:\n  seed: 1\n  seed: 2\n", ": not valid YAML"),
        ("version:\n  remot: x\n", ", line 2: unknown key 'version.remot' (value 'x'); did you mean 'remote'?"),
        (
            "index:\n  local:\n    ward:\n      foldr: x\n",
            ", line 4: unknown key 'index.local.ward.foldr' (value 'x'); did you mean 'folder'?",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_place_and_what_would_be_right(tmp_path: Path, text: str, message: str) -> None:
    assert message in explain(tmp_path, text)


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    assert len(explain(tmp_path, "study:\n  sed: 5\n  threads: 0\nversion:\n  remot: x\n").splitlines()) == 3


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes(b"study:\n  name: \xff\n")
    with pytest.raises(GuideGenError, match="not UTF-8"):
        load_config(tmp_path / "config.yaml")


def test_a_missing_file_tells_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(GuideGenError, match="no such config file; `guidegen init DIR --preset demo`"):
        load_config(tmp_path / "config.yaml")


def test_a_section_hash_changes_with_that_section_seed_and_threads_only(tmp_path: Path) -> None:
    base = load(tmp_path, "").hash_sections("retrieve")
    assert load(tmp_path, "version:\n  remote: x\n").hash_sections("retrieve") == base
    assert load(tmp_path, "study:\n  name: other\n").hash_sections("retrieve") == base
    assert load(tmp_path, "study:\n  seed: 1\n").hash_sections("retrieve") != base
    assert load(tmp_path, "study:\n  threads: 1\n").hash_sections("retrieve") != base
    version = load(tmp_path, "").hash_sections("version")
    assert load(tmp_path, "version:\n  remote: x\n").hash_sections("version") != version
    assert load(tmp_path, "version:\n  endpoint_url: x\n").hash_sections("version.remote") == load(
        tmp_path, ""
    ).hash_sections("version.remote")


def test_a_section_hash_is_the_same_however_the_file_is_written(tmp_path: Path) -> None:
    first = load(tmp_path, "# a study\nstudy: {seed: 3, threads: 1}\n")
    second = load(tmp_path, json.dumps({"study": {"threads": 1, "seed": 3}}))
    assert first.hash_sections("convert", "index") == second.hash_sections("convert", "index")


def test_a_loaded_config_cannot_be_changed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(tmp_path, "").study.seed = 5
