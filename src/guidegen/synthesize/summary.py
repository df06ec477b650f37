"""What became of a set: how many cases passed, why draws were rejected, and what of its design was realised."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from guidegen.atomic import write_text
from guidegen.errors import GuideGenError
from guidegen.manifest import read_manifest
from guidegen.statements import Statements
from guidegen.study import Study
from guidegen.synthesize.design import count_cells
from guidegen.synthesize.plan import read_plan, read_set


def summarize_set(study: Study, name: str) -> dict[str, Any]:
    """Write `results/synthetic/<name>/summary.json` and return what is in it.

    Raises:
        GuideGenError: unknown set, or a shard was not made yet.
    """
    settings = read_set(study, name)
    rows = _read_rows(study, name)
    required = study.config.synthesize.gates.required
    found: dict[str, Any] = {
        "set": name,
        "cases": {state: sum(row["status"] == state for row in rows) for state in ("ok", "excluded", "failed")},
        "draws": sum(int(row["attempts"] or 0) for row in rows),
        "gates": count_outcomes(rows, required),
        "reasons": count_reasons(rows),
    }
    if settings.design:
        status = {row["case"]: row["status"] for row in rows}
        requests = read_plan(study, name)
        asked = [(Statements.model_validate(request.statements), status[request.case]) for request in requests]
        found["design"] = count_cells(settings.design, asked)
    path = study.root / "results" / "synthetic" / name / "summary.json"
    write_text(path, json.dumps(found, indent=1) + "\n")
    return found


def _read_rows(study: Study, name: str) -> list[dict[str, str]]:
    folder: Path = study.root / "results" / "synthetic" / name
    rows = []
    for shard in study.config.synthesize.list_shards(name):
        if not (folder / f"{shard}.tsv").is_file():
            raise GuideGenError(
                f"{folder / shard}.tsv: not made yet; run `guidegen synthesize --set {name} --shard {shard}`"
            )
        rows += read_manifest(folder / f"{shard}.tsv")
    return rows


def list_draws(row: Mapping[str, str]) -> list[dict[str, bool | None]]:
    """Return the outcome of the gates of each draw of a case, first to last."""
    if not row["gates"]:
        return []
    rejected = [entry["gates"] for entry in json.loads(row["rejections"])]
    return rejected if len(rejected) == int(row["attempts"]) else [*rejected, json.loads(row["gates"])]


def count_outcomes(rows: Sequence[Mapping[str, str]], required: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return gate → draws that it could judge, draws that failed, their share, and whether a case must pass it."""
    outcomes: dict[str, Counter[bool | None]] = {}
    for row in rows:
        for draw in list_draws(row):
            for gate, passed in draw.items():
                outcomes.setdefault(gate, Counter())[passed] += 1
    return {
        gate: {
            "required": gate in required,
            "judged": (judged := seen[True] + seen[False]),
            "failed": seen[False],
            "failed_share": round(seen[False] / judged, 4) if judged else None,
        }
        for gate, seen in outcomes.items()
    }


def count_reasons(rows: Sequence[Mapping[str, str]]) -> dict[str, int]:
    """Return how many draws were rejected by each combination of gates, most frequent first."""
    rejections = (entry for row in rows for entry in json.loads(row["rejections"] or "[]"))
    reasons = Counter(" + ".join(text.partition(" (")[0] for text in entry["failed"]) for entry in rejections)
    return dict(reasons.most_common())
