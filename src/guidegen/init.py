"""Make a study folder."""

import shutil
from pathlib import Path

from guidegen.assets import ASSETS
from guidegen.atomic import replace_folder
from guidegen.config_files import load_preset, render_config
from guidegen.errors import GuideGenError
from guidegen.version.repository import init_repository

TABLES = ("collections.tsv", "labels.tsv", "source_labels.tsv", "slurm.yaml")


def make_study(folder: Path, preset: str) -> None:
    """Make a study: `config/` with a documented config and the tables, a git and a DVC repository.

    Raises:
        GuideGenError: the folder holds something already, or the preset is unknown; nothing is made then.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise GuideGenError(f"{folder}: exists and is not empty; choose another folder, or run what is there")
    config = load_preset(preset)
    with replace_folder(folder.resolve()) as new:
        (new / "config").mkdir()
        text = render_config(config, f"A study made from the preset `{preset}`.")
        (new / "config" / "config.yaml").write_text(text, encoding="utf-8")
        for name in TABLES:
            shutil.copyfile(ASSETS / "config" / name, new / "config" / name)
        init_repository(new)
