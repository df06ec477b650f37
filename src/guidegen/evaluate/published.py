"""The paper's figures, and what our own come from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from guidegen.prepare.cohort import CohortCase
from guidegen.study import Study
from guidegen.tables import read_tsv

SOURCE = "as reported for GuideGen, AAAI-26, arXiv 2403.07247; other data, backbones and grids than ours"


def read_published(part: str) -> dict[str, Any]:
    """Return `source` and `figures` (what, data, measure, system, value) of the paper for a file of the results."""
    rows = read_tsv(Path(__file__).parent / "published.tsv", ("part", "what", "data", "measure", "system", "value"))
    figures = [{**row, "value": float(row["value"])} for row in rows if row.pop("part") == part]
    return {"source": SOURCE, "figures": figures}


def holds_phantoms(study: Study) -> bool:
    """Whether any converted CT is that of a phantom: the manufacturer in its headers says so."""
    tables = (path for name in study.collections for path in study.root.glob(f"data/ct/{name}/s*.tsv"))
    return any("phantom" in row.get("manufacturer", "").lower() for path in tables for row in read_tsv(path))


def describe_data(study: Study, cohort: Sequence[CohortCase]) -> dict[str, Any]:
    """Return what data the study's figures come from: `line` for the reader, and the numbers in it."""
    phantoms = holds_phantoms(study)
    patients = {
        split: len({case.patient for case in cohort if case.split == split}) for split in ("train", "val", "test")
    }
    collections = sorted({case.collection for case in cohort})
    origin = "parametric phantoms, not of patients" if phantoms else "patients"
    grid = study.config.prepare.grid
    line = (
        f"Our figures come from CTs of {origin}: {len(collections)} collections, {patients['train']} training and "
        f"{patients['test']} test patients, label grid {grid}³, CT grid {2 * grid}³."
    )
    return {"line": line, "phantoms": phantoms, "patients": patients, "collections": collections}
