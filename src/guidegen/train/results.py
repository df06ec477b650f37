"""What a training leaves behind: `results/models/<stage>/` and its manifest."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from guidegen.atomic import hash_file, replace_folder
from guidegen.manifest import BASE_COLUMNS
from guidegen.study import Study
from guidegen.tables import write_tsv
from guidegen.train.checkpoints import Curves
from guidegen.train.cohort import CohortCase


def write_results(study: Study, stage: str, fill: Callable[[Path], None]) -> None:
    """Write the stage's folder at once and then its manifest, one row per file.

    Args:
        study: the study.
        stage: name of the stage.
        fill: writes all files into the given empty folder.
    """
    target = study.root / "results" / "models" / stage
    with replace_folder(target) as folder:
        fill(folder)
    rows = [
        {
            "case": path.name,
            "status": "ok",
            "path": str(path.relative_to(study.root)),
            "bytes": path.stat().st_size,
            "sha256": hash_file(path),
        }
        for path in sorted(target.iterdir())
    ]
    write_tsv(study.manifest("results", "models", stage), BASE_COLUMNS, rows)


def write_curves(folder: Path, curves: Curves, steps: int, held_out: list[float]) -> None:
    """Write curves.csv: step, name, value; the last point is the final held-out loss."""
    rows = [*curves.rows, (steps, "held_out", sum(held_out) / len(held_out))]
    text = "".join(["step,name,value\n", *format_curves(rows)])
    (folder / "curves.csv").write_text(text, encoding="utf-8")


def format_curves(rows: Iterable[tuple[int, str, float]]) -> list[str]:
    """Return the lines of curves.csv, without its heading."""
    return [f"{step},{name},{value:.6g}\n" for step, name, value in rows]


class Measured(Protocol):
    """A stage as far as its held-out loss is concerned."""

    measure: str
    """What the loss is, with its unit."""
    baseline: str
    """What the predictor knows that the loss is compared with."""
    held_out: list[CohortCase]

    def measure_baseline(self) -> list[float]:
        """Return the loss of that predictor for each held-out case."""
        ...


def write_held_out(folder: Path, stage: Measured, losses: list[float]) -> None:
    """Write held_out.json: the mean loss and that of a predictor which knows only averages, and both case by case."""
    baselines = stage.measure_baseline()
    facts = {
        "loss": sum(losses) / len(losses),
        "baseline": sum(baselines) / len(baselines),
        "baseline_name": stage.baseline,
        "measure": stage.measure,
        "cases": [case.case for case in stage.held_out],
        "losses": losses,
        "baselines": baselines,
    }
    (folder / "held_out.json").write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n", encoding="utf-8")
