"""Runs the phase: one shard of a planned set, or cases of prompts that a user writes."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from guidegen.atomic import hash_file
from guidegen.codehash import code_hash
from guidegen.errors import GuideGenError
from guidegen.manifest import Item, Outcome, Shard, process_items
from guidegen.seeds import derive_seed
from guidegen.study import STATE_FOLDER, Study
from guidegen.synthesize.agreement import choose_segmenter
from guidegen.synthesize.cases import CASE_COLUMNS, CaseMaker, hash_settings
from guidegen.synthesize.plan import CaseRequest, read_plan, read_set
from guidegen.synthesize.prompts import Prompt, list_notes
from guidegen.synthesize.sampler import read_model_hashes
from guidegen.synthesize.settings import check_segmenters
from guidegen.tables import read_tsv

PROMPT_COLUMNS = ("prompt", "seed")
log = logging.getLogger(__name__)


def synthesize_shard(study: Study, name: str, shard: str) -> list[dict[str, str]]:
    """Make one shard of a set and return its manifest's rows.

    Raises:
        GuideGenError: the set is unknown or not planned, or the models or its segmenter are missing or do not fit the
            study.
        ShardFailed: more cases failed than the config allows.
    """
    settings = read_set(study, name)
    check_segmenters({name: settings}, study.config.segment)
    requests = read_plan(study, name, shard)
    inputs = {"reject": str(settings.reject), **read_model_hashes(study), **_hash_segmenter(study, settings.segmenter)}
    maker = CaseMaker.load(study, requests, settings.reject, choose_segmenter(study, settings.segmenter))
    return process_items(
        study.shard("results", "synthetic", name, shard),
        _list_items(requests, inputs),
        maker.make,
        fingerprint=code_hash("synthesize") + hash_settings(study),
        columns=CASE_COLUMNS,
        max_failed_share=study.config.study.max_failed_share,
    )


def synthesize_prompts(
    study: Study, prompts: Sequence[Prompt], count: int, out: Path, seed: int | None = None
) -> list[dict[str, str]]:
    """Make `count` cases of each prompt in a folder of its own, gates recorded but rejecting nothing.

    What is complete is kept: the same call again goes on where a killed one ended, and a larger count adds cases.

    Args:
        study: holds the trained models.
        prompts: from `check_prompt` or `read_prompt_table`.
        count: cases of each.
        out: folder; `cases.tsv` lists what is in its folder `cases`.
        seed: instead of `study.seed`.

    Returns:
        The rows of `cases.tsv`; a case that could not be made is one with status failed.

    Raises:
        GuideGenError: the models are missing, or the folder holds cases of other prompts.
        ShardFailed: no case could be made.
    """
    base = study.config.study.seed if seed is None else seed
    requests = [
        _request_case(
            prompt, f"case-{place * count + number:04d}", derive_seed(base, "synthesize", prompt.text, number)
        )
        for place, prompt in enumerate(prompts)
        for number in range(count)
    ]
    shard = _place_folder(out.resolve())
    _check_folder(shard, requests)
    for prompt in prompts:
        for note in list_notes(prompt.text, study.labels):
            log.warning("%r: %s", prompt.text[:60], note)
    maker = CaseMaker.load(study, requests, reject=False)

    def make(item: Item, folder: Path) -> Outcome:
        outcome = maker.make(item, folder)
        return Outcome(outcome.files, {**outcome.columns, "prompt": item.payload.prompt, "seed": item.payload.seed})

    return process_items(
        shard,
        _list_items(requests, read_model_hashes(study)),
        make,
        fingerprint=code_hash("synthesize") + hash_settings(study),
        columns=(*CASE_COLUMNS, *PROMPT_COLUMNS),
        max_failed_share=1 - 1 / len(requests),
    )


def _request_case(prompt: Prompt, case: str, seed: int) -> CaseRequest:
    return CaseRequest(case, prompt.text, prompt.statements, "", "", None, None, seed)


def _list_items(requests: Sequence[CaseRequest], inputs: dict[str, str]) -> list[Item]:
    return [Item(request.case, {"request": repr(request), **inputs}, request) for request in requests]


def _hash_segmenter(study: Study, name: str) -> dict[str, str]:
    """What of a set's segmenter a case depends on; one that is missing is an error as soon as it is loaded."""
    path = study.manifest("results", "segmentation", name) if name else Path()
    return {"segmenter": hash_file(path) if path.is_file() else name} if name else {}


def _place_folder(out: Path) -> Shard:
    state = out / STATE_FOLDER
    return Shard(out, out / "cases.tsv", out / "cases", state, state / "orphans", f"synthesize {out.name}")


def _check_folder(shard: Shard, requests: Sequence[CaseRequest]) -> None:
    """Raise GuideGenError where the folder holds something else than cases of these prompts."""
    asked: dict[str, tuple[Any, ...]] = {request.case: (request.prompt, str(request.seed)) for request in requests}
    if not shard.manifest.is_file():
        if shard.bulk.exists() and not shard.state.exists():
            raise GuideGenError(f"{shard.bulk}: exists and is not of guidegen synthesize; choose another --out")
        return
    for row in read_tsv(shard.manifest, ("case", *PROMPT_COLUMNS)):
        if asked.get(row["case"], (row["prompt"], row["seed"])) != (row["prompt"], row["seed"]):
            raise GuideGenError(
                f"{shard.manifest}: {row['case']} is of another prompt or seed ('{row['prompt'][:60]}'); choose "
                "another --out, or move this folder away"
            )
