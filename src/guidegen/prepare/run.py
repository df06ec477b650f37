"""Makes the cohort: joined table, splits, arrays, token states."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from guidegen.codehash import code_hash
from guidegen.errors import GuideGenError
from guidegen.manifest import Item, process_items
from guidegen.prepare.arrays import ARRAY_COLUMNS, ArrayTask, make_arrays
from guidegen.prepare.cohort import COHORT_COLUMNS
from guidegen.prepare.join import Candidate, join_tables
from guidegen.prepare.splits import Stratum, assign_splits, read_splits, write_splits
from guidegen.prepare.text import write_text_tables
from guidegen.study import Study
from guidegen.tables import write_tsv


def prepare_cohort(study: Study) -> list[dict[str, Any]]:
    """Make `data/cohort/` and return the rows of its table, one per case of the index.

    Raises:
        GuideGenError: no case is usable, or a table of an earlier phase is missing.
        ShardFailed: more arrays failed than the config allows.
    """
    candidates = join_tables(study)
    usable = [candidate for candidate in candidates if candidate.status == "ok"]
    if not usable:
        reasons = sorted({candidate.reason for candidate in candidates})[:5]
        raise GuideGenError(f"{study.root}: none of {len(candidates)} cases is usable: {'; '.join(reasons)}")
    arrays = {row["case"]: row for row in make_all_arrays(study, usable)}
    splits = _update_splits(study, [c for c in usable if arrays[c.case]["status"] == "ok"])
    rows = [_describe(candidate, arrays.get(candidate.case), splits) for candidate in candidates]
    kept = {row["case"] for row in rows if row["status"] == "ok"}
    write_text_tables(study, [p for c in candidates if c.case in kept for p in c.prompts])
    write_tsv(study.root / "data" / "cohort" / "cohort.tsv", COHORT_COLUMNS, rows)
    return rows


def make_all_arrays(study: Study, candidates: Iterable[Candidate]) -> list[dict[str, str]]:
    """Cut and resample the volumes of the candidates into `data/cohort/arrays`; return the manifest's rows."""
    settings, classes = study.config.prepare, len(study.labels)
    items = []
    for candidate in candidates:
        box = candidate.mask.get("trunk_box", "")
        task = ArrayTask(
            ct=_locate(study, candidate.ct) if candidate.has_ct else None,
            labels=_locate(study, candidate.mask) if candidate.has_labels else None,
            box=tuple(int(value) for value in box.split(",")) if box else None,
            grid=settings.grid,
            classes=classes,
            trunk_only=settings.trunk_only,
        )
        hashes = {"ct": candidate.ct.get("sha256", ""), "labels": candidate.mask.get("sha256", ""), "box": box}
        items.append(Item(candidate.case, hashes, task))
    return process_items(
        study.shard("data", "cohort", "arrays"),
        items,
        make_arrays,
        fingerprint=f"{code_hash('prepare.arrays')}-{settings.grid}-{classes}-{settings.trunk_only}",
        columns=ARRAY_COLUMNS,
        max_failed_share=study.config.study.max_failed_share,
        workers=study.config.study.threads,
    )


def _locate(study: Study, row: dict[str, str]) -> Path:
    return study.root / row["path"]


def _update_splits(study: Study, candidates: Iterable[Candidate]) -> dict[str, str]:
    path = study.root / "data" / "cohort" / "splits.json"
    placed = read_splits(path)
    strata: dict[str, Stratum] = {}
    for candidate in candidates:
        coverage = f"{candidate.mask.get('coverage_first', '')}-{candidate.mask.get('coverage_last', '')}"
        strata.setdefault(candidate.patient, Stratum(candidate.collection, _find_sex(candidate), coverage))
    shares = study.config.prepare.splits.model_dump()
    splits = assign_splits(strata, placed, shares, study.config.study.seed)
    new = {patient: (split, strata[patient]) for patient, split in splits.items() if patient not in placed}
    write_splits(path, [(patient, *entry) for patient, entry in {**placed, **new}.items()])
    return splits


def _find_sex(candidate: Candidate) -> str:
    return candidate.find_statement("sex") or candidate.ct.get("sex", "")


def _describe(candidate: Candidate, arrays: dict[str, str] | None, splits: dict[str, str]) -> dict[str, Any]:
    status, reason = candidate.status, candidate.reason
    if arrays is not None and arrays["status"] != "ok":
        status, reason = arrays["status"], f"prepare: {arrays['reason']}"
    used = status == "ok"
    mask = candidate.mask if candidate.has_labels else {}
    copied = ("coverage_first", "coverage_last", "coverage_top", "coverage_bottom", "tumour_size_mm", "tumour_side")
    return {
        "case": candidate.case,
        "patient": candidate.patient,
        "collection": candidate.collection,
        "site": candidate.site,
        "split": splits[candidate.patient] if used else "",
        "has_ct": used and candidate.has_ct,
        "has_labels": used and candidate.has_labels,
        "tumour_annotated": mask.get("tumour_annotated", "") == "true",
        "sex": _find_sex(candidate),
        "age": candidate.find_statement("age") or candidate.ct.get("age", ""),
        "phase": candidate.find_statement("phase") or candidate.ct.get("phase", ""),
        **{name: mask.get(name, "") for name in (*copied, "absent")},
        "spacing_mm": arrays["spacing_mm"] if used and arrays else "",
        "licence": candidate.licence,
        "status": status,
        "reason": reason,
        "prompts": len(candidate.prompts),
    }
