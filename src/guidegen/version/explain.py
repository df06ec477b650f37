"""Where a file of a study comes from: back through models, cohort, prompts, masks and CTs to the sources."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.tree import Tree

from guidegen.atomic import hash_file
from guidegen.errors import GuideGenError
from guidegen.manifest import list_files, read_manifest
from guidegen.study import Study
from guidegen.version.graph import Node, StudyGraph
from guidegen.version.graph_data import add_data
from guidegen.version.graph_results import add_results
from guidegen.version.lineage import Row, find_makers, read_lineage

MOST_SHOWN = 4
"""Origins of one kind that the tree shows one by one; more are counted by collection (JSON lists them all)."""
JOB_FACTS = ("phase", "job", "command", "code_commit", "code", "config", "environment", "seed", "host", "start", "end")
SHOWN_FACTS = ("role", "split", "status", "reason", "prompt", "stage", "arm", "set", "training_cases", "licence", "doi")


@dataclass(frozen=True)
class Explanation:
    """One file or figure, all that it was made from, and the jobs that made it."""

    subject: Node
    value: Any
    """The figure that was asked for, None where a whole file was."""
    nodes: list[Node]
    """The subject and all its origins, nearest first."""
    origins: dict[str, list[str]]
    makers: dict[str, Row]
    """Table or file → the job that made it last."""
    problem: str
    """Why the file on disk is not the one that is explained; empty where it is."""

    def list_sources(self) -> list[dict[str, Any]]:
        """Return the collections behind the file: licence, DOI, patients and series UIDs."""
        patients: dict[str, set[str]] = defaultdict(set)
        series: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for node in self.nodes:
            collection = node.patient.partition("/")[0]
            if node.kind == "series":
                patients[collection].add(node.patient)
                series[collection].append(dict(node.facts))
        facts = {node.key.partition(" ")[2]: node.facts for node in self.nodes if node.kind == "collection"}
        return [
            {
                "collection": name,
                "name": facts.get(name, {}).get("name", name),
                "licences": sorted({entry.get("licence", "") for entry in series[name]}),
                "dois": sorted({entry["doi"] for entry in series[name] if entry.get("doi")}),
                "patients": sorted(patient.partition("/")[2] for patient in patients[name]),
                "series": sorted(series[name], key=lambda entry: entry["series_uid"]),
            }
            for name in sorted(series)
        ]

    def as_json(self) -> dict[str, Any]:
        """Return the explanation as plain data: a flat list of nodes, each with the keys of its origins."""
        return {
            "subject": self.subject.key,
            "value": self.value,
            "intact": not self.problem,
            "problem": self.problem,
            "sources": self.list_sources(),
            "nodes": {
                node.key: {
                    "kind": node.kind,
                    "files": list(node.files),
                    "patient": node.patient,
                    "facts": dict(node.facts),
                    "made_by": _describe_job(self.makers.get(node.table)),
                    "made_from": self.origins.get(node.key, []),
                }
                for node in self.nodes
            },
        }

    def draw_tree(self) -> Tree:
        """Return the explanation for people; what was shown once is not drawn again."""
        by_key = {node.key: node for node in self.nodes}
        value = "" if self.value is None else escape(f" = {json.dumps(self.value, ensure_ascii=False)}")
        tree = Tree(f"[bold]{_label(self.subject, self.makers)}{value}[/bold]")
        if self.problem:
            tree.add(f"[bold red]{escape(self.problem)}[/bold red]")
        self._grow(tree, self.subject.key, by_key, {self.subject.key})
        return tree

    def _grow(self, branch: Tree, key: str, nodes: dict[str, Node], seen: set[str]) -> None:
        kinds: dict[str, list[Node]] = defaultdict(list)
        for origin in self.origins.get(key, []):
            if origin in nodes:
                kinds[nodes[origin].kind].append(nodes[origin])
        for kind, members in kinds.items():
            if len(members) > MOST_SHOWN:
                self._summarise(branch.add(f"{len(members)} × {kind}"), members, nodes)
                continue
            for node in members:
                if node.key in seen:
                    branch.add(f"[dim]{escape(_name(node))} (above)[/dim]")
                    continue
                seen.add(node.key)
                self._grow(branch.add(_label(node, self.makers)), node.key, nodes, seen)

    def _summarise(self, branch: Tree, members: Sequence[Node], nodes: dict[str, Node]) -> None:
        part = StudyGraph(nodes, self.origins)
        series = [node for node in part.walk_up(node.key for node in members) if node.kind == "series"]
        found: dict[str, list[Node]] = defaultdict(list)
        for node in series:
            found[node.patient.partition("/")[0]].append(node)
        for collection, entries in sorted(found.items()):
            patients = len({node.patient for node in entries})
            licences = ", ".join(sorted({str(node.facts.get("licence", "")) for node in entries}))
            dois = ", ".join(
                sorted({f"https://doi.org/{node.facts['doi']}" for node in entries if "doi" in node.facts})
            )
            branch.add(f"{collection}: {patients} patient(s), {len(entries)} series, {licences}, {dois or 'no DOI'}")


def build_graph(study: Study) -> StudyGraph:
    """Return what everything in the study was made from. Raises GuideGenError where a table is damaged."""
    graph = StudyGraph()
    add_data(study, graph)
    add_results(study, graph)
    return graph


def explain_file(study: Study, name: str) -> Explanation:
    """Explain a file, a row of a table (`<table>#<case>`) or a figure (`<file>.json#arms/dice/real/liver`).

    Raises:
        GuideGenError: no such file or figure, or nothing in the study says where it comes from.
    """
    text, _, fragment = name.partition("#")
    path = _find_file(study, text)
    graph = build_graph(study)
    key, value = graph.owners.get(path, path), None
    origins = graph.origins
    if fragment and path.endswith(".json"):
        value = _read_figure(study.root / path, fragment)
        origins = origins | {key: _narrow(graph, key, fragment)}
    elif fragment:
        key = f"{path}#{fragment}"
    if key not in graph.nodes:
        raise GuideGenError(
            f"{study.root / path}: no manifest or table of the study says where {name} comes from"
            + ("; config files are written by people" if path.startswith("config/") else "")
        )
    narrowed = StudyGraph(graph.nodes, origins)
    makers = {table: rows[-1] for table, rows in find_makers(read_lineage(study.root)).items()}
    subject = graph.nodes[key]
    problem = _find_problem(study, subject, path, makers)
    return Explanation(subject, value, narrowed.walk_up([key]), origins, makers, problem)


def _find_file(study: Study, text: str) -> str:
    """Return the path relative to the study, given relative to it, to the working folder, or absolute."""
    for path in (study.root / text, Path(text)):
        if path.is_file() and path.resolve().is_relative_to(study.root):
            return path.resolve().relative_to(study.root).as_posix()
    raise GuideGenError(f"{text}: no such file in the study {study.root}")


def _read_figure(path: Path, fragment: str) -> Any:
    tree = json.loads(path.read_text(encoding="utf-8"))
    for part in fragment.strip("/").split("/"):
        if not isinstance(tree, dict) or part not in tree:
            known = ", ".join(map(str, tree)) if isinstance(tree, dict) else "nothing below it"
            raise GuideGenError(f"{path}: no '{part}' in '{fragment}'; there is {known}")
        tree = tree[part]
    return tree


def _narrow(graph: StudyGraph, key: str, fragment: str) -> list[str]:
    """Leave out the arms or stages that a figure does not name, where it names any."""
    words = set(fragment.replace("/", " ").split())
    kept = graph.list_origins(key)
    for attribute in ("arm", "stage"):
        named = words & {node.facts[attribute] for node in kept if attribute in node.facts}
        if named:
            kept = [node for node in kept if node.facts.get(attribute) in {None, *named}]
    return [node.key for node in kept]


def _find_problem(study: Study, subject: Node, path: str, makers: dict[str, Row]) -> str:
    found = hash_file(study.root / path)
    stated = makers.get(path, {}).get("outputs", {}).get(path)
    if stated is None and subject.table.endswith(".tsv") and path in subject.files:
        rows = read_manifest(study.root / subject.table)
        stated = next((digest for row in rows for _, file, _, digest in list_files(row) if file == path), None)
    if stated is None or stated == found:
        return ""
    return f"this file was altered: its sha256 is {found}, the study says {stated}"


def _label(node: Node, makers: dict[str, Row]) -> str:
    # a collection's licence is that of the public one; what holds for a file is its series' (phantoms have their own)
    names = [name for name in SHOWN_FACTS if name != "licence" or node.kind != "collection"]
    facts = [f"{name} {node.facts[name]}" for name in names if node.facts.get(name) not in (None, "", "ok")]
    row = makers.get(node.table)
    job = f" [dim]({row['phase']}, {row['start']}, code {row['code_commit'][:12]})[/dim]" if row else ""
    return escape(_name(node) + (": " + ", ".join(facts) if facts else "")) + job


def _name(node: Node) -> str:
    return node.name if node.name.startswith(f"{node.kind} ") else f"{node.kind} {node.name}"


def _describe_job(row: Row | None) -> dict[str, Any] | None:
    return {name: row[name] for name in JOB_FACTS if name in row} if row else None
