"""Follows every row back to the frozen index; checks splits and licences."""

import json
from collections import defaultdict
from collections.abc import Iterator

from guidegen.errors import GuideGenError
from guidegen.export.licences import is_releasable
from guidegen.study import Study
from guidegen.tables import read_tsv
from guidegen.version.findings import Finding

BY_SHARD = ("raw", "ct", "mask")
INDEX_COLUMNS = ("case", "patient", "collection", "role", "series_uid", "licence", "shard")


def check_tracing(study: Study) -> Iterator[Finding]:
    """Yield what breaks the chain from the index to the cohort: rows, splits, licences."""
    index, broken = _read_index(study)
    yield from broken
    if not index:
        return
    for collection, rows in index.items():
        for phase in BY_SHARD:
            yield from _check_shards(study, phase, collection, rows)
    yield from _check_licences(index)
    yield from _check_release(index)
    yield from _check_cohort(study, index)


def _read_index(study: Study) -> tuple[dict[str, list[dict[str, str]]], list[Finding]]:
    found: dict[str, list[dict[str, str]]] = {}
    broken: list[Finding] = []
    for path in sorted((study.root / "data" / "index").glob("*.tsv")):
        if path.name.endswith(".excluded.tsv"):
            continue
        try:
            found[path.stem] = read_tsv(path, INDEX_COLUMNS)
        except GuideGenError as error:
            broken.append(Finding("untraced", f"data/index/{path.name}", str(error)))
    return found, broken


def _check_shards(study: Study, phase: str, collection: str, index: list[dict[str, str]]) -> Iterator[Finding]:
    folder = study.root / "data" / phase / collection
    if not folder.is_dir():
        return
    expected: dict[str, set[str]] = defaultdict(set)
    for row in index:
        expected[row["shard"]].add(f"{row['case']} {row['series_uid']}" if phase == "raw" else row["case"])
    for shard in sorted(expected):
        name = f"data/{phase}/{collection}/{shard}.tsv"
        path = study.root / name
        if not path.is_file():
            yield Finding("missing", name, f"the index has {len(expected[shard])} row(s) in this shard")
            continue
        try:
            rows = read_tsv(path, ("case", "parent", "series_uid") if phase == "raw" else ("case",))
        except GuideGenError as error:
            yield Finding("manifest", name, str(error))
            continue
        found = {f"{row['parent']} {row['series_uid']}" if phase == "raw" else row["case"] for row in rows}
        for case in sorted(expected[shard] - found):
            yield Finding("untraced", name, f"the index has {case}, the manifest has no row for it")
        for case in sorted(found - expected[shard]):
            yield Finding("untraced", name, f"{case} is not in shard {shard} of data/index/{collection}.tsv")


def _check_licences(index: dict[str, list[dict[str, str]]]) -> Iterator[Finding]:
    for collection, rows in index.items():
        for row in rows:
            if not row["licence"]:
                name = f"data/index/{collection}.tsv"
                yield Finding("licence", name, f"{row['case']}: series {row['series_uid']} has none")


def _check_release(index: dict[str, list[dict[str, str]]]) -> Iterator[Finding]:
    """To be known, not wrong: what may be studied may not always be released; `export` refuses then."""
    for collection, rows in index.items():
        forbidding = sorted({row["licence"] for row in rows if row["licence"] and not is_releasable(row["licence"])})
        if forbidding:
            told = f"licence '{', '.join(forbidding)}': no set that was made from this collection may be released"
            yield Finding("licence", f"data/index/{collection}.tsv", told, warning=True)


def _check_cohort(study: Study, index: dict[str, list[dict[str, str]]]) -> Iterator[Finding]:
    name = "data/cohort/cohort.tsv"
    path = study.root / name
    if not path.is_file():
        return
    try:
        rows = read_tsv(path, ("case", "patient", "collection", "split", "licence", "status"))
    except GuideGenError as error:
        yield Finding("manifest", name, str(error))
        return
    origins = {row["case"]: row for series in index.values() for row in series}
    splits: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        origin = origins.get(row["case"])
        if origin is None:
            yield Finding("untraced", name, f"{row['case']} is in no table of data/index")
        elif origin["patient"] != row["patient"]:
            yield Finding("untraced", name, f"{row['case']} belongs to {origin['patient']}, not to {row['patient']}")
        if row["status"] == "ok":
            splits[row["patient"]].add(row["split"])
            if not row["licence"]:
                yield Finding("licence", name, f"{row['case']} has none")
            elif origin and origin["licence"] != row["licence"]:
                yield Finding(
                    "licence", name, f"{row['case']}: '{row['licence']}', the index says '{origin['licence']}'"
                )
    yield from _check_state(study, splits)
    for patient, found in sorted(splits.items()):
        if len(found) > 1:
            yield Finding("split", name, f"patient {patient} is in {' and in '.join(sorted(found))}")
        for unknown in sorted(found - {"train", "val", "test"}):
            yield Finding("split", name, f"patient {patient} is in '{unknown}', which is no split")


def _check_state(study: Study, splits: dict[str, set[str]]) -> Iterator[Finding]:
    """Compare the cohort's splits with the state file that keeps old patients where they are."""
    name = "data/cohort/splits.json"
    path = study.root / name
    if not path.is_file():
        return
    try:
        kept = {patient: entry["split"] for patient, entry in json.loads(path.read_bytes())["patients"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        yield Finding("manifest", name, f"no state of splits: {type(error).__name__}: {error}")
        return
    for patient, found in sorted(splits.items()):
        if found != {kept.get(patient, "no split")}:
            told = " and ".join(sorted(found))
            yield Finding(
                "split", name, f"patient {patient} is in {kept.get(patient, 'no split')}, the cohort says {told}"
            )
