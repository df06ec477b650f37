"""What a patient's data touched: series, volumes, prompts, models that learned from it, and all that these made."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from guidegen.errors import GuideGenError
from guidegen.study import Study
from guidegen.version.explain import build_graph
from guidegen.version.graph import Node, StudyGraph, name_patient
from guidegen.version.lineage import Row, find_makers
from guidegen.version.patients import read_index_at, split_owner
from guidegen.version.repository import Repository, is_repository

SOURCES = ("collection", "patient")


@dataclass(frozen=True)
class Affected:
    """What a patient's data touched."""

    patients: tuple[str, ...]
    """`<collection>/<patient>`."""
    own: list[Node]
    """Own data: series, volumes, prompts, arrays, predictions."""
    derived: list[Node]
    """What was made from it together with the data of others: tables, models, synthetic cases, figures."""
    runs: dict[str, list[str]]
    """Committed run → the patient's cases that it holds."""

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data."""

        def list_nodes(nodes: Iterable[Node]) -> list[dict[str, Any]]:
            return [{"key": node.key, "kind": node.kind, "files": list(node.files)} for node in nodes]

        parts = {"own": list_nodes(self.own), "derived": list_nodes(self.derived)}
        return {"patients": list(self.patients), **parts, "runs": self.runs}

    def describe(self) -> str:
        """Return it as text, by kind."""
        lines = [", ".join(self.patients)]
        for title, nodes in (
            ("Own data", self.own),
            ("Made from it and from data of others", self.derived),
        ):
            kinds: dict[str, list[Node]] = defaultdict(list)
            for node in nodes:
                kinds[node.kind].append(node)
            lines += ["", f"{title}:"]
            for kind, members in kinds.items():
                lines.append(f"  {kind} ({len(members)})")
                lines += [f"    {node.name}" for node in members]
        lines += ["", "Committed runs that hold the patient:"]
        lines += [f"  {tag}: {', '.join(cases)}" for tag, cases in self.runs.items()] or ["  none"]
        return "\n".join(lines)


def find_affected(study: Study, patient: str) -> Affected:
    """Return what a patient's data touched, in the study as it is and in its committed runs.

    Args:
        study: the study.
        patient: PatientID or the patient part of the case ids; `<collection>/<patient>` where two collections share it.

    Raises:
        GuideGenError: neither the study nor a committed run knows the patient, or a table is damaged.
    """
    graph = build_graph(study)
    runs = list_indexed_runs(study)
    patients = find_patients(graph, runs, patient)
    nodes = graph.walk_down(name_patient(*split_owner(owner)) for owner in patients)
    own = [node for node in nodes if node.patient in patients and node.kind not in SOURCES]
    derived = [node for node in nodes if node.patient not in patients]
    held: dict[str, list[str]] = {}
    for tag, cases in runs.items():
        found = sorted({case for owner, _, case in cases if owner in patients})
        if found:
            held[tag] = found
    return Affected(tuple(patients), own, derived, held)


def find_patients(graph: StudyGraph, runs: dict[str, list[tuple[str, str, str]]], wanted: str) -> list[str]:
    """Return all `<collection>/<patient>` that `wanted` names. Raises GuideGenError where there is none."""
    known = {node.patient: {node.patient, split_owner(node.patient)[1]} for node in graph.find("patient")}
    for node in graph.find("clinical record"):
        known[node.patient].add(node.key.partition("#")[2])
    for cases in runs.values():
        for owner, patient_id, _ in cases:
            known.setdefault(owner, {owner, split_owner(owner)[1]}).add(patient_id)
    found = sorted(owner for owner, names in known.items() if wanted in names)
    if not found:
        raise GuideGenError(
            f"'{wanted}': no patient of this study or of its committed runs; data/index/<collection>.tsv lists them "
            "(columns patient and patient_id; private collections go by their pseudonyms)"
        )
    return found


def list_indexed_runs(study: Study) -> dict[str, list[tuple[str, str, str]]]:
    """Return for each committed run the (`<collection>/<patient>`, patient_id, case) of its index, newest run first."""
    if not is_repository(study.root):
        return {}
    repository = Repository(study.root)
    return {tag: read_index_at(repository, tag) for tag in reversed(repository.list_tags())}


def list_reruns(lineage: list[Row], changed: Sequence[str]) -> list[Row]:
    """Return the jobs that must run again when the given files change, in the order in which they ran.

    The frozen index is not followed: a patient more or less changes the jobs of one shard only.
    """
    latest = {id(rows[-1]): rows[-1] for rows in find_makers(lineage).values()}
    waiting = sorted(latest.values(), key=lambda row: (row["start"], row["run"], row["file"]))
    stale, jobs = set(changed), list[Row]()
    while found := [row for row in waiting if row["phase"] != "index" and _is_stale(row, stale)]:
        jobs += found
        waiting = [row for row in waiting if row not in found]
        stale |= {path for row in found for path in row["outputs"]}
    return sorted(jobs, key=lambda row: row["start"])


def _is_stale(row: Row, stale: set[str]) -> bool:
    read = {path for path in row["inputs"] if not path.startswith("data/index/")}
    return not stale.isdisjoint(read) or not stale.isdisjoint(row["outputs"])
