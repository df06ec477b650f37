"""The paper's figures, and what our own come from."""

import json
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


def describe_data(study: Study, cohort: Sequence[CohortCase]) -> dict[str, Any]:
    """Return what data the study's figures come from: `line` for the reader, and the numbers in it."""
    path = study.root / "data" / "index" / "index.json"
    index = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    phantoms = any(isinstance(entry, dict) and entry.get("phantom") for entry in (index, *index.values()))
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
