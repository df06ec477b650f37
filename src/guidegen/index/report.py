"""What `guidegen index` prints."""

from typing import Any

from guidegen.index.build import CollectionIndex, build_collection, hash_selection
from guidegen.index.sources import read_offers
from guidegen.study import Study

LEGEND = """Each line says what is left after its criterion. Patterns and thresholds: {keys} in config/config.yaml;
licence: index.licences; series_per_patient: index.series_per_patient, the best first (docs/sources.md).
`guidegen index` lists what is used in data/index/<collection>.tsv, and all other series, each with the criterion that
excluded it, in data/index/<collection>.excluded.tsv."""


def explain_selection(study: Study) -> str:
    """Return the funnel of each collection and of all: series, patients and GB after each criterion."""
    lines = [f"{'collection':<28} {'criterion':<20} {'series':>7} {'patients':>8} {'GB':>8}"]
    totals: dict[str, list[float]] = {}
    for collection, offer in read_offers(study, list(study.collections.values())).items():
        for step in build_collection(study, collection, offer).funnel:
            lines.append(_format(collection.id, step.criterion, step.series, step.patients, step.gigabytes))
            total = totals.setdefault(step.criterion, [0, 0, 0.0])
            for place, value in enumerate((step.series, step.patients, step.gigabytes)):
                total[place] += value
    lines += [_format("all", name, int(t[0]), int(t[1]), t[2]) for name, t in totals.items()]
    sources = sorted({collection.source for collection in study.collections.values()})
    lines += ["", LEGEND.format(keys=", ".join(f"index.selection.{source}" for source in sources))]
    return "\n".join(lines)


def summarise(study: Study, built: dict[str, CollectionIndex]) -> str:
    """Return one line per collection: patients, cases, annotations, shards, what was left out."""
    lines = []
    for name in study.collections:
        result = built.get(name)
        rows: list[dict[str, Any]] = [*result.rows] if result else [*study.read_index(name)]
        cases, patients = len({row["case"] for row in rows}), len({row["patient"] for row in rows})
        shards = len({row["shard"] for row in rows})
        extra = sum(row["role"] != "ct" for row in rows)
        done = f"{len(result.excluded)} series left out" if result else "kept as it was"
        lines.append(f"{name}: {patients} patients, {cases} cases, {extra} annotations, {shards} shards, {done}")
    return "\n".join(lines)


def list_stale(study: Study, state: dict[str, dict[str, Any]]) -> list[str]:
    """Return the collections whose index was built with other settings than the config has now."""
    return [
        name
        for name, collection in study.collections.items()
        if name in state and state[name]["settings"] != hash_selection(study, collection)
    ]


def _format(collection: str, criterion: str, series: int, patients: int, gigabytes: float) -> str:
    return f"{collection:<28} {criterion:<20} {series:>7} {patients:>8} {gigabytes:>8.2f}"
