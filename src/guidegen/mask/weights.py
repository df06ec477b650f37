"""TotalSegmentator's weights: fetched where there is internet, and the same bytes for every mask of a study.

TotalSegmentator's client checks none. The first fetch therefore writes `data/mask/weights.tsv`, which git keeps: every
later fetch, job and machine must find the same bytes.
"""

import hashlib
import json
import os
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from guidegen.atomic import hash_file, replace_folder
from guidegen.errors import GuideGenError
from guidegen.mask.settings import TotalSegmentatorSettings
from guidegen.tables import read_tsv, write_tsv

TASK = "total"
SUB_MODES = {"normal": "default", "fast": "fast", "fastest": "fastest"}
MODEL_FILES = ("dataset.json", "plans.json", "fold_0/checkpoint_final.pth")
COLUMNS = ("speed", "file", "bytes", "sha256")


def resolve_home(study: Path, settings: TotalSegmentatorSettings) -> Path:
    """Return the folder of weights; a relative one is relative to the study."""
    return (study / settings.home).resolve()


def locate_table(study: Path) -> Path:
    """Return the table that states the weights of a study."""
    return study / "data" / "mask" / "weights.tsv"


def name_command(study: Path) -> str:
    """Return what a user does about missing weights."""
    return f"on a machine with internet, in the segmentation environment: guidegen mask --fetch-weights --study {study}"


def locate_weights(study: Path, settings: TotalSegmentatorSettings) -> list[Path]:
    """Return the files that the models of the chosen speed consist of.

    Raises:
        GuideGenError: TotalSegmentator is not installed here, or a file is missing; names it, and the command that
            fetches it.
    """
    folder = resolve_home(study, settings) / "nnunet" / "results"
    files = [folder / model / name for model in list_models(settings).values() for name in MODEL_FILES]
    missing = [path for path in files if not path.is_file()]
    if missing:
        raise GuideGenError(
            f"{missing[0]}: weights of TotalSegmentator (task {TASK}, speed {settings.speed}) are missing; "
            f"{name_command(study)}"
        )
    return files


def check_weights(study: Path, settings: TotalSegmentatorSettings) -> str:
    """Hash the weights and compare them with the study's table; return a hash over all of them.

    Raises:
        GuideGenError: a file is missing, is not stated in the table, or is another one than it states.
    """
    files = locate_weights(study, settings)
    table = locate_table(study)
    stated = read_stated(study, settings)
    home = resolve_home(study, settings)
    unstated = [path for path in files if str(path.relative_to(home)) not in stated]
    if unstated:
        raise GuideGenError(f"{table}: does not state {unstated[0].relative_to(home)}; {name_command(study)}")
    if altered := find_altered(study, settings):
        raise GuideGenError(
            f"{altered}; bring back the weights that the masks were made with, or delete {table} to use these"
        )
    return _digest(stated)


def read_stated(study: Path, settings: TotalSegmentatorSettings) -> dict[str, dict[str, str]]:
    """Return the rows of the study's table for the chosen speed by file; empty where there is no table."""
    table = locate_table(study)
    rows = read_tsv(table, COLUMNS) if table.is_file() else []
    return {row["file"]: row for row in rows if row["speed"] == settings.speed}


def find_altered(study: Path, settings: TotalSegmentatorSettings) -> str:
    """Return what is wrong with the first stated file that is missing or altered, "" where all are as stated."""
    home = resolve_home(study, settings)
    for name, row in read_stated(study, settings).items():
        path = home / name
        size = path.stat().st_size if path.is_file() else -1
        if size != int(row["bytes"]):
            found = f"{size} bytes" if size >= 0 else "nothing"
            return f"{path}: expected {row['bytes']} bytes as {locate_table(study)} states, found {found}"
        if (digest := hash_file(path)) != row["sha256"]:
            return f"{path}: sha256 is {digest}, {locate_table(study)} states {row['sha256']}"
    return ""


def fetch_weights(study: Path, settings: TotalSegmentatorSettings) -> Path:
    """Fetch the models that are not there, compare all with the study's table, and add them to it if they are new.

    Runs on the login node; compute jobs never call it.

    Returns:
        The table.

    Raises:
        GuideGenError: the download failed, or the files are others than the table states.
    """
    home = resolve_home(study, settings)
    results = home / "nnunet" / "results"
    for task, model in list_models(settings).items():
        if not all((results / model / name).is_file() for name in MODEL_FILES):
            _download(task, results / Path(model).parent, home)
    files = locate_weights(study, settings)
    stated = read_stated(study, settings)
    if altered := find_altered(study, settings):
        raise GuideGenError(f"{altered}; the weights that the study's masks were made with are right, not these")
    table = locate_table(study)
    known = read_tsv(table, COLUMNS) if table.is_file() else []
    new: list[dict[str, Any]] = [
        {"speed": settings.speed, "file": name, "bytes": path.stat().st_size, "sha256": hash_file(path)}
        for path in files
        if (name := str(path.relative_to(home))) not in stated
    ]
    if new:
        write_tsv(table, COLUMNS, sorted([*known, *new], key=lambda row: (row["speed"], row["file"])))
    return table


def list_models(settings: TotalSegmentatorSettings) -> dict[int, str]:
    """Return the folder of each model of the chosen speed, relative to nnU-Net's results, by task id.

    Raises:
        GuideGenError: TotalSegmentator is not installed here.
    """
    try:
        from totalsegmentator.map_tasks_config import (  # pyright: ignore[reportMissingImports]
            TASK_CONFIGS,
            TASK_ID_WEIGHTS_CONFIGS,
        )
    except ImportError:
        raise GuideGenError(
            f"TotalSegmentator is not installed for {sys.executable}, but a collection uses the backend "
            "`totalsegmentator`; `environments.segmentation` in the config must name the `guidegen` of an environment "
            "that has it (envs/segmentation.txt)"
        ) from None
    mode = TASK_CONFIGS[TASK]["sub_modes"][SUB_MODES[settings.speed]]
    tasks = mode["task_id"] if isinstance(mode["task_id"], list) else [mode["task_id"]]
    trainer = f"{mode['trainer']}__nnUNetPlans__3d_fullres"
    return {task: f"{TASK_ID_WEIGHTS_CONFIGS[task]['foldername']}/{trainer}" for task in tasks}


@contextmanager
def use_weights(results: Path) -> Iterator[None]:
    """Let TotalSegmentator read its weights from a folder, with a settings folder of this process' own.

    Jobs that share a settings folder overwrite each other's config.json. Usage statistics are off.
    """
    before = {name: os.environ.get(name) for name in ("TOTALSEG_HOME_DIR", "TOTALSEG_WEIGHTS_PATH")}
    with tempfile.TemporaryDirectory(prefix="totalsegmentator-") as folder:
        config = {"totalseg_id": "", "send_usage_stats": False, "prediction_counter": 0}
        config["statistics_disclaimer_shown"] = True
        (Path(folder) / "config.json").write_text(json.dumps(config), encoding="utf-8")
        os.environ |= {"TOTALSEG_HOME_DIR": folder, "TOTALSEG_WEIGHTS_PATH": str(results)}
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def _download(task: int, target: Path, home: Path) -> None:
    """Fetch one model with TotalSegmentator's own client; it appears whole or not at all."""
    import requests
    from totalsegmentator.libs import download_pretrained_weights  # pyright: ignore[reportMissingImports]

    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=home) as folder, replace_folder(target) as temporary:
        try:
            with use_weights(Path(folder)):
                download_pretrained_weights(task)
        except (requests.RequestException, OSError, ValueError, zipfile.BadZipFile) as error:
            raise GuideGenError(
                f"{target}: TotalSegmentator's model could not be fetched ({type(error).__name__}: {error}); fetch it "
                f"on a machine with internet and copy the folder {home} from there"
            ) from error
        for path in (Path(folder) / target.name).iterdir():
            path.rename(temporary / path.name)


def _digest(stated: Mapping[str, Mapping[str, str]]) -> str:
    text = "\n".join(f"{name} {row['sha256']}" for name, row in sorted(stated.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
