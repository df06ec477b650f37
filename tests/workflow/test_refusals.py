"""Bad input ends in one clear message, exit code 2, and nothing half-made."""

from pathlib import Path

import pytest


@pytest.fixture
def study(tmp_path: Path, call) -> Path:
    call("init", tmp_path / "study", "--preset", "smoke")
    return tmp_path / "study"


def edit_config(study: Path, old: str, new: str) -> None:
    path = study / "config" / "config.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def refuse(call, study: Path) -> str:
    before = sorted(p for p in study.rglob("*") if ".git" not in p.parts)
    done = call("run", "--study", study, check=False)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    left = [p for p in sorted(study.rglob("*")) if ".git" not in p.parts and p not in before]
    assert not [p for p in left if p.parts[len(study.parts)] in ("data", "results", "archive")], left
    return done.stderr


def test_wrong_key_names_line_and_the_right_key(call, study: Path) -> None:
    edit_config(study, "series_per_patient:", "series_per_pateint:")
    message = refuse(call, study)
    assert "config.yaml, line" in message
    assert "series_per_pateint" in message
    assert "did you mean 'series_per_patient'" in message


def test_unknown_collection_lists_the_known(call, study: Path) -> None:
    edit_config(study, "tcga_lihc", "tcga_nowhere")
    message = refuse(call, study)
    assert "tcga_nowhere" in message
    assert "tcga_lihc" in message


def test_missing_archive_says_which_command_makes_it(call, study: Path) -> None:
    text = (study / "config" / "config.yaml").read_text()
    start = text.index("  phantom:")
    lines = text[start:].splitlines()
    end = next(i for i, line in enumerate(lines[1:], 1) if not line.startswith("    "))
    (study / "config" / "config.yaml").write_text(text[:start] + "  phantom: null\n" + "\n".join(lines[end:]) + "\n")
    message = refuse(call, study)
    assert "archive" in message
    assert "guidegen phantom" in message


def test_folder_without_ct_is_named(call, study: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "notes.txt").write_text("no images here")
    edit_config(study, "  local: {}", f"  local: {{hospital: {{folder: {empty}}}}}")
    edit_config(study, "collections: [tcga_luad, tcga_kirc, tcga_lihc, cptac_pda]", "collections: []")
    message = refuse(call, study)
    assert str(empty) in message


def test_init_refuses_a_folder_with_content(call, study: Path) -> None:
    done = call("init", study, "--preset", "smoke", check=False)
    assert done.returncode == 2
    assert "not empty" in done.stderr


def test_unknown_preset_lists_the_known(call, tmp_path: Path) -> None:
    done = call("init", tmp_path / "s", "--preset", "tiny", check=False)
    assert done.returncode == 2
    assert "smoke" in done.stderr
    assert not (tmp_path / "s").exists()
