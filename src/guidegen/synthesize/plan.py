"""The prompt table of a synthetic set: what each case is asked to be."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from guidegen.errors import GuideGenError
from guidegen.pair.write import write_prompt
from guidegen.prepare.cohort import CohortCase, read_cohort
from guidegen.seeds import derive_rng, derive_seed
from guidegen.study import Study
from guidegen.synthesize.design import list_cells
from guidegen.synthesize.prompts import read_prompt_table
from guidegen.synthesize.settings import DesignSettings, SetSettings
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
    """Case whose prompt or numbers are used, "" for none."""
    split: str
    spacing: tuple[float, float, float] | None
    """Millimetres per voxel of the label grid."""
    coverage: tuple[float, float] | None
    seed: int


@dataclass(frozen=True)
class Wish:
    """Prompt, statements and source of numbers of one case of a set."""

    prompt: str
    statements: str
    """JSON."""
    source: CohortCase | None


MakeWish = Callable[[int, str], Wish]
"""Number and name of a case → what it is asked to be; the first cases of a set do not depend on its size."""


def read_set(study: Study, name: str) -> SetSettings:
    """Return the settings of a set. Raises GuideGenError where the config has none of this name."""
    sets = study.config.synthesize.sets
    if name not in sets:
        raise GuideGenError(f"synthesize.sets: no set '{name}'; the config has {', '.join(sets)}")
    return sets[name]


def plan_set(study: Study, name: str) -> list[dict[str, Any]]:
    """Write `results/synthetic/<name>/prompts.tsv` and return its rows.

    Prompts come from the patients of a split, from a design or from a user's file. They are dealt like cards: each
    source case, cell or line is used once before any is used again. Growing the set leaves its first cases as they
    were.

    Raises:
        GuideGenError: unknown set, no case of the split has a prompt, no cell of the design can exist, or the file has
            a prompt that cannot be used.
    """
    settings = read_set(study, name)
    if settings.design:
        make_wish = _deal_design(study, name, settings.design)
    elif settings.table:
        make_wish = _deal_table(study, name, settings)
    else:
        make_wish = _deal_cohort(study, name, settings)
    rows = [_plan_case(study, name, number, make_wish) for number in range(settings.cases)]
    write_tsv(study.root / "results" / "synthetic" / name / "prompts.tsv", PLAN_COLUMNS, rows)
    return rows


def locate_table(study: Study, name: str) -> Path | None:
    """Return the file that a set's prompts come from, None where they come from the cohort or a design."""
    table = read_set(study, name).table
    return study.root / table if table else None


def _deal_cohort(study: Study, name: str, settings: SetSettings) -> MakeWish:
    """Prompts of a split's patients, each time with a wording drawn anew."""
    wordings: dict[str, list[dict[str, str]]] = {}
    for row in read_tsv(study.root / "data" / "cohort" / "text" / "prompts.tsv", ("case", "prompt", "statements")):
        wordings.setdefault(row["case"], []).append(row)
    sources = [case for case in read_cohort(study) if case.split == settings.split and case.case in wordings]
    if not sources:
        raise GuideGenError(f"set '{name}': no case of split '{settings.split}' in data/cohort/cohort.tsv has a prompt")
    if settings.balance_tumour:
        return _deal_balanced(study, name, sources, wordings)

    def make_wish(number: int, case: str) -> Wish:
        source = sources[_deal(study, name, number, len(sources))]
        choices = wordings[source.case]
        row = choices[_derive_rng(study, name, "wording", case).integers(len(choices))]
        return Wish(row["prompt"], row["statements"], source)

    return make_wish


def _deal_balanced(
    study: Study, name: str, sources: Sequence[CohortCase], wordings: Mapping[str, Sequence[dict[str, str]]]
) -> MakeWish:
    """Prompts that ask for a tumour and prompts that do not in turn, each kind dealt from a deck of its own.

    Where a split has few patients of one kind they come again, each time in another of their wordings while they have
    one. All cases of a patient stay one unit of the bootstrap, so that few patients give wide intervals.
    """
    decks: dict[bool, list[CohortCase]] = {True: [], False: []}
    for source in sources:
        decks[bool(json.loads(wordings[source.case][0]["statements"]).get("tumour"))].append(source)
    for asks, deck in decks.items():
        if not deck:
            raise GuideGenError(
                f"set '{name}': no prompt {'with' if asks else 'without'} a tumour in split '{sources[0].split}'; set "
                f"synthesize.sets.{name}.balance_tumour to false"
            )

    def make_wish(number: int, case: str) -> Wish:
        asks, turn = number % 2 == 0, number // 2
        source = decks[asks][_deal(study, name, turn, len(decks[asks]), "tumour" if asks else "no tumour")]
        choices = wordings[source.case]
        row = choices[_deal(study, name, turn // len(decks[asks]), len(choices), "wording", source.case)]
        return Wish(row["prompt"], row["statements"], source)

    return make_wish


def _deal_design(study: Study, name: str, design: DesignSettings) -> MakeWish:
    cells, left_out = list_cells(design)
    if not cells:
        raise GuideGenError(
            f"set '{name}': every combination of its design contradicts itself, e.g. {left_out[0][1]}; change "
            f"synthesize.sets.{name}.design"
        )
    donors = _Donors(study, name)

    def make_wish(number: int, case: str) -> Wish:
        said = cells[_deal(study, name, number, len(cells))].draw(_derive_rng(study, name, "levels", case))
        statements = said.model_dump(mode="json", exclude_defaults=True)
        prompt = write_prompt(said, study.config.study.seed, 1 + number)
        return Wish(prompt, json.dumps(statements), donors.choose(case, statements))

    return make_wish


def _deal_table(study: Study, name: str, settings: SetSettings) -> MakeWish:
    path = study.root / settings.table
    prompts = read_prompt_table(path)
    if settings.cases < len(prompts):
        raise GuideGenError(
            f"{path} has {len(prompts)} prompts, synthesize.sets.{name}.cases is {settings.cases}: some would never be "
            f"used; set it to {len(prompts)} or more"
        )
    donors = _Donors(study, name)

    def make_wish(number: int, case: str) -> Wish:
        prompt = prompts[number % len(prompts)]
        return Wish(prompt.text, json.dumps(prompt.statements), donors.choose(case, prompt.statements))

    return make_wish


class _Donors:
    """Real cases that lend spacing and covered range to prompts that are nobody's."""

    def __init__(self, study: Study, name: str) -> None:
        settings = read_set(study, name)
        self.study, self.name = study, name
        wanted = settings.split if settings.numeric_conditions else None
        self.cases = [case for case in read_cohort(study) if case.split == wanted]

    def choose(self, case: str, statements: dict[str, Any]) -> CohortCase | None:
        """Return one that covers what the statements say, None where they say nothing or none does."""
        stated = statements.get("coverage_first"), statements.get("coverage_last")
        fitting = [donor for donor in self.cases if (donor.coverage_first, donor.coverage_last) == stated]
        return fitting[_derive_rng(self.study, self.name, "numbers", case).integers(len(fitting))] if fitting else None


def _derive_rng(study: Study, name: str, *parts: str | int) -> np.random.Generator:
    return derive_rng(study.config.study.seed, "synthesize", name, *parts)


def _deal(study: Study, name: str, number: int, size: int, *deck: str) -> int:
    """Return which of `size` cards of a deck the case with this number gets; they are shuffled anew for each round."""
    deal, place = divmod(number, size)
    return int(_derive_rng(study, name, "deal", *deck, deal).permutation(size)[place])


def _plan_case(study: Study, name: str, number: int, make_wish: MakeWish) -> dict[str, Any]:
    case = f"{name}-{number:05d}"
    wish, settings = make_wish(number, case), read_set(study, name)
    source = wish.source
    numeric = source if settings.numeric_conditions else None
    return {
        "case": case,
        "prompt": wish.prompt,
        "statements": wish.statements,
        "split": source.split if source else "",
        "source_case": source.case if source else "",
        "spacing_mm": ",".join(f"{value:.6g}" for value in numeric.spacing) if numeric else "",
        "coverage_top": numeric.coverage[0] if numeric and numeric.coverage else "",
        "coverage_bottom": numeric.coverage[1] if numeric and numeric.coverage else "",
        "seed": derive_seed(study.config.study.seed, "synthesize", name, case),
        "shard": study.config.synthesize.name_shard(number),
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
