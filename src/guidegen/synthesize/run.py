"""Runs the phase: one shard of a planned set, or cases of one prompt."""

import logging
from pathlib import Path
from typing import Any

from guidegen.codehash import code_hash
from guidegen.errors import GuideGenError
from guidegen.manifest import BASE_COLUMNS, Item, process_items
from guidegen.pair.parse import read_statements
from guidegen.progress import track_progress
from guidegen.seeds import derive_seed
from guidegen.study import Study
from guidegen.synthesize.cases import CASE_COLUMNS, CaseMaker
from guidegen.synthesize.plan import CaseRequest, read_plan, read_set
from guidegen.synthesize.sampler import read_model_hashes
from guidegen.tables import write_tsv

LONGEST_PROMPT = 2000
log = logging.getLogger(__name__)


def synthesize_shard(study: Study, name: str, shard: str) -> list[dict[str, str]]:
    """Make one shard of a set and return its manifest's rows.

    Raises:
        GuideGenError: the set is unknown or not planned, or the models are missing or do not fit the study.
        ShardFailed: more cases failed than the config allows.
    """
    settings = read_set(study, name)
    models = read_model_hashes(study)
    parts = ("gates", "max_attempts", "keep_rejected")
    config = study.config.hash_sections(*(f"synthesize.{part}" for part in parts), "prepare.grid", "prepare.encoder")
    items = [
        Item(request.case, {"request": repr(request), "reject": str(settings.reject), **models}, request)
        for request in read_plan(study, name, shard)
    ]
    maker = CaseMaker.load(study, settings.reject)
    return process_items(
        study.shard("results", "synthetic", name, shard),
        items,
        maker.make,
        fingerprint=code_hash("synthesize") + config,
        columns=CASE_COLUMNS,
        max_failed_share=study.config.study.max_failed_share,
    )


def synthesize_prompt(study: Study, prompt: str, count: int, out: Path, seed: int | None = None) -> list[Path]:
    """Make `count` cases of one prompt in a folder of its own, gates recorded but rejecting nothing.

    Args:
        study: holds the trained models.
        prompt: free text.
        count: cases.
        out: folder; `cases.tsv` lists what is in it.
        seed: instead of `study.seed`.

    Returns:
        The CT files.

    Raises:
        GuideGenError: the prompt is empty or too long, or the models are missing.
    """
    text = " ".join(prompt.split())
    if not text:
        raise GuideGenError("--prompt is empty; say what the CT should show, e.g. '68-year-old woman, chest to pelvis'")
    if len(text) > LONGEST_PROMPT:
        raise GuideGenError(f"--prompt has {len(text)} characters, at most {LONGEST_PROMPT} are read")
    statements = understand_prompt(text)
    maker = CaseMaker.load(study, reject=False)
    base = study.config.study.seed if seed is None else seed
    rows = []
    out.mkdir(parents=True, exist_ok=True)
    with track_progress("synthesize", count) as advance:
        for number in range(count):
            case = f"case-{number:04d}"
            request = CaseRequest(
                case, text, statements, "", "", None, None, derive_seed(base, "synthesize", text, number)
            )
            draw = maker.draw(request)
            files = maker.write(out, request, draw)
            rows.append({"case": case, "status": "ok", "path": files[""], **draw.list_columns()})
            advance(1, case)
    columns = [name for name in (*BASE_COLUMNS, *CASE_COLUMNS) if name in rows[0]]
    write_tsv(out / "cases.tsv", columns, rows)
    return [out / row["path"] for row in rows]


def understand_prompt(text: str) -> dict[str, Any]:
    """Return what a free prompt states, for the gates and the sidecar; the networks read the text itself.

    Raises:
        GuideGenError: the prompt contradicts itself.
    """
    stated = read_statements(text)
    place = " ".join(filter(None, (stated.side, stated.site)))
    if stated.tumour and place in stated.absent:
        raise GuideGenError(f"--prompt contradicts itself: the {place} is said to be absent and to hold a mass")
    found = {key: value for key, value in stated.model_dump(mode="json").items() if value not in (None, [])}
    if not found:
        log.warning("--prompt: no statement understood in %r; it goes to the text encoder as it is", text[:80])
    return found
