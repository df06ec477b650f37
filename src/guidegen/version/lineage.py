"""Lineage of a study: the rows of all jobs, gathered from one file per job."""

import json
from collections.abc import Iterator
from pathlib import Path

from guidegen.atomic import hash_file, write_text
from guidegen.errors import GuideGenError
from guidegen.tables import read_tsv
from guidegen.version.findings import Finding
from guidegen.version.inventory import PROVENANCE, Inventory
from guidegen.version.jobs import Row, check_jobs, name_job

LINEAGE = PROVENANCE / "lineage.jsonl"


def read_lineage(root: Path) -> list[Row]:
    """Return the rows of all jobs, those committed and those of later runs, oldest first.

    Each row carries `run` and `file`, the run id and the name of the job's record; of two rows with the same pair the
    record on disk counts.

    Raises:
        GuideGenError: a record is no JSON object, or lacks what a lineage row must have.
    """
    rows: dict[tuple[str, str], Row] = {}
    gathered = root / LINEAGE
    if gathered.is_file():
        for number, line in enumerate(gathered.read_text(encoding="utf-8").splitlines(), 1):
            row = _parse_row(line, f"{gathered}, line {number}")
            rows[row["run"], row["file"]] = row
    for path in sorted((root / PROVENANCE).glob("*/*.json")):
        if path.name.startswith(".tmp-"):
            continue
        row = _parse_row(path.read_text(encoding="utf-8"), str(path), run=path.parent.name, file=path.name)
        rows[row["run"], row["file"]] = row
    return sorted(rows.values(), key=lambda row: (row["start"], row["run"], row["file"]))


def write_lineage(root: Path, rows: list[Row]) -> None:
    """Write `lineage.jsonl`, one row per line, keys sorted."""
    write_text(root / LINEAGE, "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows))


def find_makers(rows: list[Row]) -> dict[str, list[Row]]:
    """Return for each output (path relative to the study) the rows that made it, oldest first."""
    makers: dict[str, list[Row]] = {}
    for row in rows:
        for path in row["outputs"]:
            makers.setdefault(path, []).append(row)
    return makers


def check_lineage(root: Path, inventory: Inventory) -> Iterator[Finding]:
    """Yield where tables and manifests on disk are not what the last job that made them recorded, or were made of
    others than lie there, and jobs whose times cannot be.
    """
    try:
        rows = read_lineage(root)
    except GuideGenError as error:
        yield Finding("lineage", LINEAGE.as_posix(), str(error))
        return
    makers = find_makers(rows)
    yield from check_jobs(root, makers)
    for path, made_by in sorted(makers.items()):
        last, file = made_by[-1], root / path
        if not file.is_file() and _is_dropped(root, path):
            continue
        if not file.is_file():
            yield Finding("missing", path, f"made by {name_job(last)}, not there any more")
        elif (found := hash_file(file)) != last["outputs"][path]:
            earlier = [row for row in made_by if row["outputs"][path] == found]
            hint = f"; it is what {name_job(earlier[-1])} made" if earlier else ""
            yield Finding("altered", path, f"not what {name_job(last)} made{hint}")
    for manifest in inventory.manifests:
        name = manifest.relative_to(root).as_posix()
        if name not in makers:
            yield Finding("lineage", name, "no lineage row names this manifest as its output", warning=True)


def _is_dropped(root: Path, path: str) -> bool:
    """Tell whether a table is gone because the index has nothing for it any more: no such shard, no such collection."""
    top, phase, *rest = path.split("/")
    if top != "data" or phase not in ("raw", "ct", "mask", "text"):
        return False
    index = root / "data" / "index" / f"{rest[0].removesuffix('.tsv')}.tsv"
    if not index.is_file():
        return True
    if phase == "text" or rest[-1] == "clinical.tsv":
        return False
    return rest[-1].removesuffix(".tsv") not in {row["shard"] for row in read_tsv(index, ("shard",))}


def _parse_row(text: str, place: str, **added: str) -> Row:
    try:
        row = json.loads(text)
    except ValueError as error:
        raise GuideGenError(f"{place}: not JSON: {error}") from None
    if not isinstance(row, dict):
        raise GuideGenError(f"{place}: expected a lineage row (a JSON object), found {type(row).__name__}")
    row |= added
    missing = [key for key in ("run", "file", "phase", "start", "outputs", "inputs", "code_commit") if key not in row]
    if missing:
        raise GuideGenError(f"{place}: lineage row without {', '.join(missing)}")
    return row
