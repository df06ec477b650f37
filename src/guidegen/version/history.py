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
from guidegen.version.signing import is_signed

PARTS = ("code", "environment", "config", "patients", "labels", "figures", "items")
SHOWN = 25
LABEL_TABLES = ("config/labels.tsv", "config/source_labels.tsv")
FIELDS = ("Study", "Seed", "Code", "Dirty", "Content", "Config", "Manifests", "Files", "Bytes")


@dataclass(frozen=True)
class Run:
    """A committed run, as its tag tells it."""

    tag: str
    date: str
    commit: str
    fields: Mapping[str, str]
    """What the tag's message states: code, content, files, bytes, …"""
    signed: bool = False
    """Whether the tag carries a signature; `guidegen version verify` tells whether it is good."""

    def as_json(self) -> dict[str, Any]:
        """Return the run as plain data."""
        return {"tag": self.tag, "date": self.date, "commit": self.commit, "signed": self.signed, **self.fields}

    def describe(self) -> str:
        """Return the run as one line."""
        size = int(self.fields.get("Bytes", "0")) / 1e6
        dirty = "  FROM UNCOMMITTED CODE" if self.fields.get("Dirty") == "yes" else ""
        signed = "  signed" if self.signed else ""
        files = self.fields.get("Files", "?")
        return f"{self.tag}  {self.date}  {files} files  {size:.1f} MB  code {self.code}{signed}{dirty}"

    @property
    def code(self) -> str:
        """The code's commit, short, or its version."""
        return self.fields.get("Code", "?")[:12]


@dataclass
class Changes:
    """What changed from one run to another; each part maps a name to what was and what is (None: not there)."""

    first: str
    second: str
    code: dict[str, Any] = field(default_factory=dict)
    """Commit of the code, and hash of each phase's modules."""
    environment: dict[str, Any] = field(default_factory=dict)
    """Python and the hash of all installed packages, by phase."""
    config: dict[str, Any] = field(default_factory=dict)
    patients: dict[str, Any] = field(default_factory=dict)
    """Split of each patient of the cohort (or why it is not in one): who came, went or moved."""
    labels: dict[str, Any] = field(default_factory=dict)
    """Classes of the label tables, and label maps by case."""
    items: dict[str, Any] = field(default_factory=dict)
    """Rows of all other manifests: status and hashes."""
    figures: dict[str, Any] = field(default_factory=dict)
    """Every number of the evaluation."""

    def as_json(self) -> dict[str, Any]:
        """Return the changes as plain data."""
        return asdict(self)

    def describe(self) -> str:
        """Return the changes as text for people, at most `SHOWN` of each part."""
        lines = [f"{self.first} → {self.second}"]
        for title in PARTS:
            part = getattr(self, title)
            told = [f"  {name}: {_show(change)}" for name, change in part.items()]
            more = [f"  … and {len(told) - SHOWN} more (--json has all)"] if len(told) > SHOWN else []
            lines += [f"{title} ({len(told)}):", *told[:SHOWN], *more] if told else []
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
        commit = repository.git("rev-parse", f"{tag}^{{commit}}").strip()
        runs.append(Run(tag, date, commit, fields, is_signed(repository, tag)))
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
        elif name in LABEL_TABLES:
            changes.labels |= _compare(_read_classes(repository, old, name), _read_classes(repository, new, name))
        elif name.endswith(".tsv") and name.startswith(("data/", "results/")):
            part = changes.labels if name.startswith("data/mask/") else changes.items
            part |= _compare(_read_items(repository, old, name), _read_items(repository, new, name))
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
    """Commit of the code, and code hash of each phase, of the last job that ran."""
    commits = _read_lineage(repository, tag, "code_commit")
    last = {"commit": commits[-1][0]} if commits else {}
    return last | dict(_read_lineage(repository, tag, "phase", "code"))


def _read_environments(repository: Repository, tag: str) -> dict[str, Any]:
    rows = _read_lineage(repository, tag, "phase", "environment", "python")
    return {phase: f"packages {packages}, Python {python}" for phase, packages, python in rows}


def _read_config(repository: Repository, tag: str) -> dict[str, Any]:
    return _flatten(YAML(typ="safe").load(_read(repository, tag, "config/config.yaml")) or {})


def _read_patients(repository: Repository, tag: str) -> dict[str, Any]:
    rows = _read_table(repository, tag, "data/cohort/cohort.tsv")
    return {f"{row['collection']} {row['patient']}": row["split"] or row["status"] for row in rows}


def _read_classes(repository: Repository, tag: str, name: str) -> dict[str, Any]:
    """Rows of a label table by id."""
    return {
        f"{name} {row['id']}": " ".join(value for key, value in row.items() if key != "id" and value)
        for row in _read_table(repository, tag, name)
    }


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
