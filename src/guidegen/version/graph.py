"""What every file of a study was made from, as one graph: read upwards it explains, read downwards it tells what a
patient's data touched.

Nodes are items (rows of manifests and tables), not files: all files of a row have one origin. The graph is built from
what lies in the study; nothing is hashed.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any


@dataclass(frozen=True)
class Node:
    """An item, a table, or where data comes from (series, patient, collection)."""

    key: str
    """`<table>#<row>` for an item, the path of a table or file, `series <uid>`, `patient <collection>/<patient>`,
    `collection <id>`; paths are relative to the study."""
    kind: str
    files: tuple[str, ...] = ()
    """Files of the item, relative to the study."""
    patient: str = ""
    """`<collection>/<patient>` whose own data this is; empty where it is of nobody or of many."""
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def table(self) -> str:
        """The table or manifest that the node is a row of, or the file itself."""
        return self.key.partition("#")[0]

    @property
    def name(self) -> str:
        """What people call it: its main file, else its key."""
        return self.files[0] if self.files else self.key


@dataclass
class StudyGraph:
    """Nodes, and for each what it was made from."""

    nodes: dict[str, Node] = field(default_factory=dict)
    origins: dict[str, list[str]] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    """File → key of the item that it belongs to."""

    def add(self, node: Node, origins: Iterable[str] = ()) -> None:
        """Add a node; origins that are not (yet) part of the study are kept out of every answer."""
        self.nodes[node.key] = node
        self.origins[node.key] = list(dict.fromkeys(origins))
        self.owners |= dict.fromkeys(node.files, node.key)

    def list_origins(self, key: str) -> list[Node]:
        """Return what a node was directly made from."""
        return [self.nodes[origin] for origin in self.origins.get(key, ()) if origin in self.nodes]

    def find(self, kind: str) -> list[Node]:
        """Return the nodes of a kind."""
        return [node for node in self.nodes.values() if node.kind == kind]

    @cached_property
    def _products(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        for key, origins in self.origins.items():
            for origin in origins:
                found[origin].append(key)
        return found

    def walk_up(self, keys: Iterable[str]) -> list[Node]:
        """Return the given nodes and all that they were made from, nearest first."""
        return self._walk(keys, self.origins)

    def walk_down(self, keys: Iterable[str]) -> list[Node]:
        """Return the given nodes and all that was made from them, nearest first."""
        return self._walk(keys, self._products)

    def _walk(self, keys: Iterable[str], edges: Mapping[str, list[str]]) -> list[Node]:
        found = dict.fromkeys(key for key in keys if key in self.nodes)
        todo = list(found)
        for key in todo:
            for other in edges.get(key, ()):
                if other in self.nodes and other not in found:
                    found[other] = None
                    todo.append(other)
        return [self.nodes[key] for key in found]


def name_patient(collection: str, patient: str) -> str:
    """Return the key of a patient's node."""
    return f"patient {collection}/{patient}"
