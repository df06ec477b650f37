"""The part of the graph from the sources to the cohort."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from guidegen.ids import clean_patient
from guidegen.manifest import BASE_COLUMNS, list_files
from guidegen.study import Study
from guidegen.tables import read_tsv
from guidegen.version.graph import Node, StudyGraph, name_patient

INDEX_COLUMNS = ("case", "patient", "patient_id", "collection", "role", "series_uid", "licence", "shard")
SERIES_FACTS = (
    *("series_uid", "study_uid", "modality", "role", "licence", "doi", "source", "source_version", "location"),
    "crdc_series_uuid",
)
COHORT_FACTS = ("split", "licence", "status", "reason", "sex", "age", "phase", "tumour_size_mm", "tumour_side")


def add_data(study: Study, graph: StudyGraph) -> None:
    """Add collections, patients, series and everything below `data/`."""
    for collection in _list_indexed(study):
        rows = read_tsv(study.index_table(collection), INDEX_COLUMNS)
        _add_sources(study, graph, collection, rows)
        owners = {row["case"]: f"{collection}/{row['patient']}" for row in rows}
        raw = _add_raw(study, graph, collection, owners)
        records = _add_clinical(study, graph, collection, rows)
        _add_volumes(study, graph, collection, owners, raw)
        _add_prompts(study, graph, collection, rows, owners, records)
    _add_cohort(study, graph)


def read_rows(path: Path, columns: Iterable[str] = BASE_COLUMNS) -> list[dict[str, str]]:
    """Rows of a table, none where it was not made yet. Raises GuideGenError where it is damaged."""
    return read_tsv(path, tuple(columns)) if path.is_file() else []


def add_table(graph: StudyGraph, name: str, rows: Iterable[str]) -> None:
    """Add a table that was made of the given rows; nothing where there are none."""
    keys = list(rows)
    if keys:
        graph.add(Node(name, "table", (name,)), keys)


def name_files(row: Mapping[str, str]) -> tuple[str, ...]:
    """Files of a manifest row, the main one first."""
    return tuple(name for _, name, _, _ in list_files(row))


def _list_indexed(study: Study) -> list[str]:
    tables = sorted((study.root / "data" / "index").glob("*.tsv"))
    return [path.stem for path in tables if not path.name.endswith(".excluded.tsv")]


def _add_sources(study: Study, graph: StudyGraph, collection: str, rows: list[dict[str, str]]) -> None:
    entry = study.collections.get(collection)
    facts = {"name": entry.name, "licence": entry.licence, "doi": entry.doi, "source": entry.source} if entry else {}
    graph.add(Node(f"collection {collection}", "collection", facts=facts))
    for row in rows:
        owner = f"{collection}/{row['patient']}"
        patient = Node(name_patient(collection, row["patient"]), "patient", patient=owner)
        graph.add(patient, [f"collection {collection}"])
        found = {name: row[name] for name in SERIES_FACTS if row.get(name)}
        graph.add(Node(f"series {row['series_uid']}", "series", patient=owner, facts=found), [patient.key])
    add_table(graph, f"data/index/{collection}.tsv", (f"series {row['series_uid']}" for row in rows))


def _add_raw(study: Study, graph: StudyGraph, collection: str, owners: Mapping[str, str]) -> dict[str, list[str]]:
    """Return for each case the keys of its series' items, that of the CT first."""
    found: dict[str, list[str]] = defaultdict(list)
    for shard in _list_shards(study, "raw", collection):
        name = f"data/raw/{collection}/{shard}.tsv"
        keys = []
        for row in read_rows(study.root / name, (*BASE_COLUMNS, "parent", "series_uid")):
            key = f"{name}#{row['case']}"
            keys.append(key)
            facts = {part: row[part] for part in ("role", "format", "instances", "status", "reason") if row.get(part)}
            graph.add(
                Node(key, "series as retrieved", name_files(row), owners.get(row["parent"], ""), facts),
                [f"series {row['series_uid']}"],
            )
            found[row["parent"]].insert(0 if row.get("role") == "ct" else len(found[row["parent"]]), key)
        add_table(graph, name, keys)
    return found


def _list_shards(study: Study, phase: str, collection: str) -> list[str]:
    tables = sorted((study.root / "data" / phase / collection).glob("*.tsv"))
    return [path.stem for path in tables if path.stem != "clinical"]


def _add_clinical(study: Study, graph: StudyGraph, collection: str, rows: list[dict[str, str]]) -> dict[str, str]:
    """Return for each patient_id of the clinical table the key of its record."""
    manifest = f"data/raw/{collection}/clinical.tsv"
    clean = {row["patient_id"]: row["patient"] for row in rows}
    records: dict[str, str] = {}
    for row in read_rows(study.root / manifest, (*BASE_COLUMNS, "key_column")):
        for entry in read_rows(study.root / row["path"], ()) if row["path"] else []:
            patient_id = entry[row["key_column"]]
            if not patient_id.strip() or patient_id in records:
                continue
            patient = clean.get(patient_id) or clean_patient(patient_id)
            owner = name_patient(collection, patient)
            if owner not in graph.nodes:
                graph.add(Node(owner, "patient", patient=f"{collection}/{patient}"), [f"collection {collection}"])
            records[patient_id] = f"{row['path']}#{patient_id}"
            graph.add(Node(records[patient_id], "clinical record", patient=f"{collection}/{patient}"), [owner])
        key = f"{manifest}#{row['case']}"
        graph.add(Node(key, "clinical table", name_files(row)), records.values())
        add_table(graph, manifest, [key])
    return records


def _add_volumes(
    study: Study, graph: StudyGraph, collection: str, owners: Mapping[str, str], raw: Mapping[str, list[str]]
) -> None:
    for phase, kind in (("ct", "CT"), ("mask", "label map")):
        for shard in _list_shards(study, phase, collection):
            name = f"data/{phase}/{collection}/{shard}.tsv"
            keys = []
            for row in read_rows(study.root / name):
                key, case = f"{name}#{row['case']}", row["case"]
                keys.append(key)
                series = raw.get(case, [])
                origins = series[:1] if phase == "ct" else [f"data/ct/{collection}/{shard}.tsv#{case}", *series[1:]]
                if phase == "mask" and len(series) == 1 and graph.nodes[series[0]].facts.get("role") != "ct":
                    origins.append(series[0])
                wanted = ("status", "reason", "shape", "spacing_mm", "backend", "repairs", "transfer_syntax", "flags")
                facts = {part: row[part] for part in wanted if row.get(part)}
                graph.add(Node(key, kind, name_files(row), owners.get(case, ""), facts), origins)
            add_table(graph, name, keys)


def _add_prompts(
    study: Study,
    graph: StudyGraph,
    collection: str,
    index: list[dict[str, str]],
    owners: Mapping[str, str],
    records: Mapping[str, str],
) -> None:
    name = f"data/text/{collection}.tsv"
    shards = {row["case"]: (row["shard"], row["patient_id"]) for row in index}
    keys = []
    for row in read_rows(study.root / name, ("case", "variant", "status", "reason", "prompt", "sources")):
        key, case = f"{name}#{row['case']}", row["case"]
        if row["variant"] != "0":
            continue
        keys.append(key)
        shard, patient_id = shards.get(case, ("", ""))
        origins = [f"data/{phase}/{collection}/{shard}.tsv#{case}" for phase in ("ct", "mask")]
        origins += [records[patient_id]] if patient_id in records else []
        facts = {part: row[part] for part in ("status", "reason", "prompt", "sources") if row[part]}
        graph.add(Node(key, "prompt", patient=owners.get(case, ""), facts=facts), origins)
    add_table(graph, name, keys)


def _add_cohort(study: Study, graph: StudyGraph) -> None:
    folder = study.root / "data" / "cohort"
    cohort = read_rows(folder / "cohort.tsv", ("case", "patient", "collection", "split", "licence", "status"))
    owners = {row["case"]: f"{row['collection']}/{row['patient']}" for row in cohort}
    volumes: dict[str, list[str]] = defaultdict(list)
    for node in (*graph.find("CT"), *graph.find("label map")):
        volumes[node.key.partition("#")[2]].append(node.key)
    splits = {row["case"]: row["split"] for row in cohort if row["status"] == "ok"}
    for row in cohort:
        case = row["case"]
        facts = {part: row[part] for part in COHORT_FACTS if row.get(part)}
        origins = [*volumes[case], f"data/text/{row['collection']}.tsv#{case}"]
        graph.add(Node(f"data/cohort/cohort.tsv#{case}", "cohort row", patient=owners[case], facts=facts), origins)
    for name in ("data/cohort/cohort.tsv", "data/cohort/splits.json"):
        add_table(graph, name, (f"data/cohort/cohort.tsv#{case}" for case in owners))
    arrays = read_rows(folder / "arrays.tsv")
    prompts = {row["case"] for row in read_rows(folder / "text" / "prompts.tsv", ("case", "variant", "prompt"))}
    for row in arrays:
        case = row["case"]
        has = {"ct": row.get("ct_path"), "labels": row.get("labels_path"), "prompts": case in prompts}
        facts = {"split": splits.get(case, ""), "status": row["status"], "has": [part for part in has if has[part]]}
        node = Node(f"data/cohort/arrays.tsv#{case}", "arrays", name_files(row), owners.get(case, ""), facts)
        graph.add(node, volumes[case])
    add_table(graph, "data/cohort/arrays.tsv", (f"data/cohort/arrays.tsv#{row['case']}" for row in arrays))
    _add_cohort_text(study, graph, owners)


def _add_cohort_text(study: Study, graph: StudyGraph, owners: Mapping[str, str]) -> None:
    name = "data/cohort/text/prompts.tsv"
    keys = []
    for case in dict.fromkeys(row["case"] for row in read_rows(study.root / name, ("case", "variant", "prompt"))):
        keys.append(f"{name}#{case}")
        owner = owners.get(case, "")
        graph.add(Node(keys[-1], "cohort prompt", patient=owner), [f"data/text/{owner.split('/')[0]}.tsv#{case}"])
    manifest = "data/cohort/text.tsv"
    items = []
    for row in read_rows(study.root / manifest):
        items.append(f"{manifest}#{row['case']}")
        kind = "token states" if row["case"].endswith(".safetensors") else "cohort prompts"
        graph.add(Node(items[-1], kind, name_files(row)), keys)
    add_table(graph, manifest, items)
