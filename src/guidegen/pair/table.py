"""The phase's work on one collection: from manifests and the clinical table to the prompt table."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from guidegen.errors import GuideGenError
from guidegen.manifest import read_manifest
from guidegen.pair.clinical import ClinicalTable, read_clinical
from guidegen.pair.join import CaseStatements, join_case
from guidegen.pair.parse import read_statements
from guidegen.pair.record import PatientRecord, build_record
from guidegen.pair.reports import merge_report, read_reports
from guidegen.pair.write import write_prompt
from guidegen.study import Study
from guidegen.tables import write_tsv

COLUMNS = ("case", "variant", "status", "reason", "prompt", "statements", "sources", "conflicts")


def list_inputs(study: Study, collection: str) -> list[Path]:
    """Return the manifests that the collection's prompts are made from."""
    shards = study.list_shards(collection)
    parts = [(kind, shard) for kind in ("ct", "mask") for shard in shards]
    tables = [study.manifest("data", kind, collection, shard) for kind, shard in parts]
    return [study.manifest("data", "raw", collection, "clinical"), *tables]


def pair_collection(study: Study, collection: str) -> Path:
    """Write `data/text/<collection>.tsv` and return its path."""
    target = study.root / "data" / "text" / f"{collection}.tsv"
    write_tsv(target, COLUMNS, list(make_rows(study, collection)))
    return target


def make_rows(study: Study, collection: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of the prompt table, sorted by case and variant."""
    ct_rows = _read_shards(study, "ct", collection)
    masks = {row["case"]: row for row in _read_shards(study, "mask", collection)}
    patients = [row["patient_id"] for row in ct_rows]
    tables, reports = read_tables(study, collection, patients), read_reports(study, collection, patients)
    for row in sorted(ct_rows, key=lambda r: r["case"]):
        if row["status"] != "ok":
            reason = f"convert: {row['status']}: {row['reason']}"
            yield {"case": row["case"], "variant": 0, "status": "excluded", "reason": reason}
            continue
        record = merge_records(study, row["patient_id"], tables, reports.get(row["patient_id"]))
        joined = join_case(record, row, masks.get(row["case"]), study.collections[collection], study.config.pair)
        joined.conflicts += [note for table in tables for note in table.notes]
        yield from _word_case(study, row["case"], joined)


def merge_records(
    study: Study, patient: str, tables: list[ClinicalTable], report: PatientRecord | None
) -> PatientRecord:
    """Return a patient's record: the first table that knows the patient speaks, other tables and the report fill in."""
    records = [build_record(table, patient, study.config.pair.columns) for table in tables]
    merged = next((record for record in records if record.values), records[0] if records else PatientRecord())
    for record in records:
        for attribute in record.values.keys() - merged.values.keys():
            merged.values[attribute] = record.values[attribute]
        merged.sources = record.sources | merged.sources
    if report:
        merge_report(merged, report)
    return merged


def read_tables(study: Study, collection: str, patients: list[str]) -> list[ClinicalTable]:
    """Read the clinical tables of a collection; none where it has none."""
    rows = read_manifest(study.manifest("data", "raw", collection, "clinical"))
    return [read_clinical(study.root / row["path"], patients) for row in rows if row["status"] == "ok" and row["path"]]


def show_case(study: Study, case: str) -> str:
    """Return prompts, statements and sources of one case side by side, as text for a terminal."""
    collection = case.split("__")[0]
    rows = [row for row in make_rows(study, collection) if row["case"] == case]
    if not rows:
        raise GuideGenError(f"{case}: no such case in {collection}; data/ct/{collection}/*.tsv lists its cases")
    first = rows[0]
    if first["status"] != "ok":
        return f"{case}: {first['status']}: {first['reason']}"
    statements, sources = json.loads(first["statements"]), json.loads(first["sources"])
    lines = [case, ""] + [f"  prompt {row['variant']}: {row['prompt']}" for row in rows] + [""]
    for name, value in statements.items():
        keys = [f"absent.{organ}" for organ in value] if name == "absent" else [name]
        lines += [f"  {name:16} {value!s:32} {_format_source(sources[key])}" for key in keys if key in sources]
    return "\n".join([*lines, *(f"  conflict: {text}" for text in json.loads(first["conflicts"]))])


def _format_source(source: Mapping[str, str]) -> str:
    place = ", ".join(part for part in (source["name"], source["field"], source["row"]) if part)
    return f"<- {source['kind']}: {place} = {source['value']!r}"


def _word_case(study: Study, case: str, joined: CaseStatements) -> Iterator[dict[str, Any]]:
    statements = joined.build()
    shared = {
        "case": case,
        "statements": json.dumps(statements.model_dump(mode="json", exclude_defaults=True), sort_keys=True),
        "sources": json.dumps(
            {k: s.model_dump(exclude_defaults=True) | _blank(s) for k, s in joined.sources.items()}, sort_keys=True
        ),
    }
    prompts: list[str] = []
    for variant in range(study.config.pair.variants + 1):
        prompts.append(_word_variant(statements, study.config.study.seed, variant, prompts))
    unread = sorted({name for text in prompts for name in _list_differences(statements, text)})
    conflicts = joined.conflicts + [f"{name}: the parser does not read this wording back" for name in unread]
    status, reason = ("ok", "") if prompts[0] else ("excluded", "nothing is known that a prompt could state")
    for variant, prompt in enumerate(prompts if prompts[0] else [""]):
        yield shared | {
            "variant": variant,
            "status": status,
            "reason": reason,
            "prompt": prompt,
            "conflicts": json.dumps(conflicts),
        }


def _blank(source: Any) -> dict[str, str]:
    return {name: getattr(source, name) for name in ("kind", "name", "field", "row", "value")}


def _word_variant(statements: Any, seed: int, variant: int, taken: list[str]) -> str:
    """A wording that differs from those before it, as far as the statements allow."""
    prompt = write_prompt(statements, seed, variant)
    for attempt in range(1, 10):
        if prompt not in taken:
            break
        prompt = write_prompt(statements, seed, variant + 1000 * attempt)
    return prompt


def _list_differences(statements: Any, prompt: str) -> list[str]:
    read = read_statements(prompt)
    return [name for name, value in statements if getattr(read, name) != value]


def _read_shards(study: Study, kind: str, collection: str) -> list[dict[str, str]]:
    rows = []
    for shard in study.list_shards(collection):
        rows += read_manifest(study.manifest("data", kind, collection, shard))
    return rows
