"""What runs there are, and what changed between two of them."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from guidegen.errors import GuideGenError
from guidegen.tables import parse_tsv
from guidegen.version.inventory import PROVENANCE
from guidegen.version.repository import Repository, is_repository

FIELDS = ("Study", "Seed", "Code", "Dirty", "Content", "Config", "Manifests", "Files", "Bytes")


@dataclass(frozen=True)
class Run:
    """A committed run, as its tag tells it."""

    tag: str
    date: str
    commit: str
    fields: Mapping[str, str]
    """What the tag's message states: code, content, files, bytes, …"""

    def as_json(self) -> dict[str, Any]:
        """Return the run as plain data."""
        return {"tag": self.tag, "date": self.date, "commit": self.commit, **self.fields}

    def describe(self) -> str:
        """Return the run as one line."""
        size = int(self.fields.get("Bytes", "0")) / 1e6
        dirty = "  FROM UNCOMMITTED CODE" if self.fields.get("Dirty") == "yes" else ""
        return f"{self.tag}  {self.date}  {self.fields.get('Files', '?')} files  {size:.1f} MB  code {self.code}{dirty}"

    @property
    def code(self) -> str:
        """The code's commit, short, or its version."""
        return self.fields.get("Code", "?")[:12]


@dataclass
class Changes:
    """What changed from one run to another; each part maps a name to what was and what is."""

    first: str
    second: str
    code: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    patients: dict[str, Any] = field(default_factory=dict)
    items: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the changes as plain data."""
        return asdict(self)

    def describe(self) -> str:
        """Return the changes as text for people."""
        lines = [f"{self.first} → {self.second}"]
        for title in ("code", "environment", "config", "patients", "items", "figures"):
            part = getattr(self, title)
            lines += [f"{title}:"] + [f"  {name}: {_show(change)}" for name, change in part.items()] if part else []
        return "\n".join(lines if len(lines) > 1 else [*lines, "no difference"])


def list_runs(root: Path) -> list[Run]:
    """Return the committed runs, newest first. Raises GuideGenError where the folder holds no versions."""
    repository = _open(root)
    runs = []
    for tag in reversed(repository.list_tags()):
        text = repository.git("for-each-ref", f"refs/tags/{tag}", "--format=%(creatordate:iso-strict)%0a%(contents)")
        date, *message = text.splitlines()
        pairs = [line.split(": ", 1) for line in message if ": " in line]
        fields = {name: value for name, value in pairs if name in FIELDS}
        runs.append(Run(tag, date, repository.git("rev-parse", f"{tag}^{{commit}}").strip(), fields))
    return runs


def compare_runs(root: Path, first: str, second: str) -> Changes:
    """Return what changed from run `first` to run `second`. Raises GuideGenError where one does not exist."""
    repository = _open(root)
    old, new = repository.resolve_tag(first), repository.resolve_tag(second)
    names = repository.git("diff", "--name-only", "--no-renames", old, new).splitlines()
    changes = Changes(old, new)
    for part, read in {"code": _read_codes, "environment": _read_environments, "config": _read_config}.items():
        setattr(changes, part, _compare(read(repository, old), read(repository, new)))
    changes.patients = _compare(_read_patients(repository, old), _read_patients(repository, new))
    for name in names:
        if name.startswith("results/evaluation/") and name.endswith(".json"):
            changes.figures |= _compare(_read_figures(repository, old, name), _read_figures(repository, new, name))
        elif name.endswith(".tsv") and name.startswith(("data/", "results/")):
            changes.items |= _compare(_read_items(repository, old, name), _read_items(repository, new, name))
    return changes


def _open(root: Path) -> Repository:
    if not is_repository(root):
        raise GuideGenError(f"{root}: no versions here; `guidegen version commit` makes the first")
    return Repository(root)


def _compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    names = sorted(set(old) | set(new))
    return {name: {"was": old.get(name), "is": new.get(name)} for name in names if old.get(name) != new.get(name)}


def _show(change: Mapping[str, Any]) -> str:
    if change["was"] is None:
        return f"new ({change['is']})"
    return f"gone (was {change['was']})" if change["is"] is None else f"{change['was']} → {change['is']}"


def _read(repository: Repository, tag: str, name: str) -> str:
    """Return a file of a run, "" where the run has none."""
    return repository.git("show", f"{tag}:{name}", check=False)


def _read_lineage(repository: Repository, tag: str, *keys: str) -> list[Any]:
    lines = _read(repository, tag, (PROVENANCE / "lineage.jsonl").as_posix()).splitlines()
    return [[row[key] for key in keys] for row in map(json.loads, lines)]


def _read_codes(repository: Repository, tag: str) -> dict[str, Any]:
    """Code hash of each phase, of the last job that ran."""
    return dict(_read_lineage(repository, tag, "phase", "code"))


def _read_environments(repository: Repository, tag: str) -> dict[str, Any]:
    return {f"{phase}: packages": value for phase, value in _read_lineage(repository, tag, "phase", "environment")}


def _read_config(repository: Repository, tag: str) -> dict[str, Any]:
    return _flatten(YAML(typ="safe").load(_read(repository, tag, "config/config.yaml")) or {})


def _read_patients(repository: Repository, tag: str) -> dict[str, Any]:
    """Split of each patient of the cohort."""
    rows = _read_table(repository, tag, "data/cohort/cohort.tsv")
    return {f"{row['collection']} {row['patient']}": row["split"] for row in rows}


def _read_items(repository: Repository, tag: str, name: str) -> dict[str, Any]:
    rows = _read_table(repository, tag, name)
    if not rows or "sha256" not in rows[0]:
        return {}
    return {
        f"{name} {row['case']}": " ".join([row["status"], *(v[:12] for k, v in row.items() if k.endswith("sha256"))])
        for row in rows
    }


def _read_figures(repository: Repository, tag: str, name: str) -> dict[str, Any]:
    text = _read(repository, tag, name)
    return {f"{Path(name).stem}.{key}": value for key, value in _flatten(json.loads(text or "{}")).items()}


def _read_table(repository: Repository, tag: str, name: str) -> list[dict[str, str]]:
    text = _read(repository, tag, name)
    return parse_tsv(text, f"{tag}:{name}") if text else []


def _flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(tree, Mapping):
        parts = [_flatten(value, f"{prefix}.{key}" if prefix else str(key)) for key, value in tree.items()]
        return {name: value for part in parts for name, value in part.items()}
    return {prefix: tree}
