"""The prompt table of a synthetic set: what each case is asked to be."""

import json
from dataclasses import dataclass
from typing import Any

from guidegen.errors import GuideGenError
from guidegen.prepare.cohort import CohortCase, read_cohort
from guidegen.seeds import derive_rng, derive_seed
from guidegen.study import Study
from guidegen.synthesize.settings import SetSettings
from guidegen.tables import read_tsv, write_tsv

PLAN_COLUMNS = (
    *("case", "prompt", "statements", "split", "source_case", "spacing_mm", "coverage_top", "coverage_bottom"),
    *("seed", "shard"),
)


@dataclass(frozen=True)
class CaseRequest:
    """What one synthetic case is asked to be; a numeric condition that is None is nulled."""

    case: str
    prompt: str
    statements: dict[str, Any]
    source_case: str
    split: str
    spacing: tuple[float, float, float] | None
    """Millimetres per voxel of the label grid."""
    coverage: tuple[float, float] | None
    seed: int


def read_set(study: Study, name: str) -> SetSettings:
    """Return the settings of a set. Raises GuideGenError where the config has none of this name."""
    sets = study.config.synthesize.sets
    if name not in sets:
        raise GuideGenError(f"synthesize.sets: no set '{name}'; the config has {', '.join(sets)}")
    return sets[name]


def plan_set(study: Study, name: str) -> list[dict[str, Any]]:
    """Write `results/synthetic/<name>/prompts.tsv` from the prompts of one split and return its rows.

    Source cases are dealt like cards: each is used once before any is used again, each time with a wording drawn
    anew. Growing the set leaves its first cases as they were.

    Raises:
        GuideGenError: unknown set, or no case of the split has a prompt.
    """
    settings = read_set(study, name)
    wordings: dict[str, list[dict[str, str]]] = {}
    for row in read_tsv(study.root / "data" / "cohort" / "text" / "prompts.tsv", ("case", "prompt", "statements")):
        wordings.setdefault(row["case"], []).append(row)
    sources = [case for case in read_cohort(study) if case.split == settings.split and case.case in wordings]
    if not sources:
        raise GuideGenError(f"set '{name}': no case of split '{settings.split}' in data/cohort/cohort.tsv has a prompt")
    rows = [_plan_case(study, name, number, sources, wordings) for number in range(settings.cases)]
    write_tsv(study.root / "results" / "synthetic" / name / "prompts.tsv", PLAN_COLUMNS, rows)
    return rows


def _plan_case(
    study: Study, name: str, number: int, sources: list[CohortCase], wordings: dict[str, list[dict[str, str]]]
) -> dict[str, Any]:
    seed, settings = study.config.study.seed, study.config.synthesize
    deal, place = divmod(number, len(sources))
    order = derive_rng(seed, "synthesize", name, "deal", deal).permutation(len(sources))
    source = sources[order[place]]
    case = f"{name}-{number:05d}"
    choices = wordings[source.case]
    row = choices[derive_rng(seed, "synthesize", name, "wording", case).integers(len(choices))]
    numeric = settings.sets[name].numeric_conditions
    return {
        "case": case,
        "prompt": row["prompt"],
        "statements": row["statements"],
        "split": source.split,
        "source_case": source.case,
        "spacing_mm": ",".join(f"{value:.6g}" for value in source.spacing) if numeric else "",
        "coverage_top": source.coverage[0] if numeric and source.coverage else "",
        "coverage_bottom": source.coverage[1] if numeric and source.coverage else "",
        "seed": derive_seed(seed, "synthesize", name, case),
        "shard": settings.name_shard(number),
    }


def read_plan(study: Study, name: str, shard: str | None = None) -> list[CaseRequest]:
    """Return what a set's cases, or those of one shard, are asked to be.

    Raises:
        GuideGenError: the set was not planned yet, or has no such shard.
    """
    path = study.root / "results" / "synthetic" / name / "prompts.tsv"
    if not path.is_file():
        raise GuideGenError(f"{path}: not planned yet; run `guidegen synthesize --plan --set {name}`")
    rows = read_tsv(path, PLAN_COLUMNS)
    if shard is not None and all(row["shard"] != shard for row in rows):
        shards = ", ".join(sorted({row["shard"] for row in rows}))
        raise GuideGenError(f"{path}: no shard '{shard}'; it has {shards}")
    return [_read_request(row) for row in rows if shard in (None, row["shard"])]


def _read_request(row: dict[str, str]) -> CaseRequest:
    spacing = tuple(float(value) for value in row["spacing_mm"].split(",")) if row["spacing_mm"] else None
    return CaseRequest(
        case=row["case"],
        prompt=row["prompt"],
        statements=json.loads(row["statements"]),
        source_case=row["source_case"],
        split=row["split"],
        spacing=spacing,  # type: ignore[arg-type]
        coverage=(float(row["coverage_top"]), float(row["coverage_bottom"])) if row["coverage_top"] else None,
        seed=int(row["seed"]),
    )
