"""Joins the manifests of convert, mask and pair: every case of the index becomes one candidate with a status."""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from guidegen.errors import GuideGenError
from guidegen.manifest import read_manifest
from guidegen.study import Study
from guidegen.tables import read_tsv


@dataclass(frozen=True)
class Prompt:
    """One wording of a case's prompt."""

    case: str
    variant: int
    text: str
    statements: str
    """JSON of `guidegen.statements.Statements`."""


@dataclass(frozen=True)
class Candidate:
    """One case of the index with what the phases before know of it."""

    case: str
    patient: str
    collection: str
    site: str
    licence: str
    ct: dict[str, str]
    """Row of the CT manifest, empty where there is none."""
    mask: dict[str, str]
    """Row of the mask manifest, empty where there is none."""
    prompts: tuple[Prompt, ...]
    status: str
    reason: str

    @property
    def has_ct(self) -> bool:
        return self.ct.get("status") == "ok" and bool(self.ct.get("path"))

    @property
    def has_labels(self) -> bool:
        return self.mask.get("status") == "ok" and bool(self.mask.get("path"))

    def find_statement(self, attribute: str) -> str:
        """Return an attribute as the canonical prompt states it, "" where it does not."""
        value = json.loads(self.prompts[0].statements).get(attribute) if self.prompts else None
        return "" if value is None else str(value)


def list_inputs(study: Study) -> list[Path]:
    """Return every table that the join reads."""
    paths = [study.index_table(name) for name in study.collections]
    for name in study.collections:
        paths += [study.manifest("data", phase, name, s) for s in study.list_shards(name) for phase in ("ct", "mask")]
        paths.append(study.root / "data" / "text" / f"{name}.tsv")
    return paths


def join_tables(study: Study) -> list[Candidate]:
    """Return all cases of all collections, sorted by case id.

    Raises:
        GuideGenError: a manifest is missing; names the command that makes it.
    """
    found: list[Candidate] = []
    for collection in study.collections:
        prompts = _read_prompts(study, collection)
        for shard in study.list_shards(collection):
            ct = _read_rows(study, "ct", "convert", collection, shard)
            mask = _read_rows(study, "mask", "mask", collection, shard)
            cases = {row["case"]: row for row in study.read_index(collection, shard) if row["role"] != "annotation"}
            for case, row in cases.items():
                found.append(_join_case(study, row, ct.get(case, {}), mask.get(case, {}), prompts.get(case, [])))
    return sorted(found, key=lambda candidate: candidate.case)


def _join_case(
    study: Study, row: dict[str, str], ct: dict[str, str], mask: dict[str, str], prompts: list[Prompt]
) -> Candidate:
    status, reason = _judge(ct, mask)
    return Candidate(
        case=row["case"],
        patient=row["patient"],
        collection=row["collection"],
        site=study.collections[row["collection"]].site,
        licence=row["licence"],
        ct=ct,
        mask=mask,
        prompts=tuple(sorted(prompts, key=lambda prompt: prompt.variant)),
        status=status,
        reason=reason,
    )


def _judge(ct: dict[str, str], mask: dict[str, str]) -> tuple[str, str]:
    """A case needs a CT or labels; a failure before this phase keeps it out, a missing label source does not."""
    for phase, row in (("convert", ct), ("mask", mask)):
        if not row:
            return "failed", f"{phase}: no row for this case in its manifest"
        if row["status"] == "failed":
            return "failed", f"{phase}: {row['reason']}"
    if ct["status"] == "excluded":
        return "excluded", f"convert: {ct['reason']}"
    if not ct["path"] and not (mask["status"] == "ok" and mask["path"]):
        return "excluded", f"neither a CT nor labels: {mask['reason']}"
    return "ok", ""


def _read_rows(study: Study, folder: str, phase: str, collection: str, shard: str) -> dict[str, dict[str, str]]:
    path = study.manifest("data", folder, collection, shard)
    if not path.is_file():
        raise GuideGenError(
            f"{path}: no such manifest; run `guidegen {phase} --collection {collection} --shard {shard} "
            f"--study {study.root}` first"
        )
    return {row["case"]: row for row in read_manifest(path)}


def _read_prompts(study: Study, collection: str) -> dict[str, list[Prompt]]:
    path = study.root / "data" / "text" / f"{collection}.tsv"
    if not path.is_file():
        raise GuideGenError(f"{path}: no such table; run `guidegen pair --collection {collection}` first")
    found: dict[str, list[Prompt]] = defaultdict(list)
    for row in read_tsv(path, ("case", "variant", "status", "prompt", "statements")):
        if row["status"] == "ok":
            found[row["case"]].append(Prompt(row["case"], int(row["variant"]), row["prompt"], row["statements"]))
    return found
