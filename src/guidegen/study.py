"""A study folder: its config, and where everything in it lies."""

import difflib
import hashlib
import json
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from guidegen.atomic import hash_file
from guidegen.config import StudyConfig, load_config
from guidegen.errors import GuideGenError
from guidegen.labels import LabelTable, load_labels
from guidegen.manifest import Shard
from guidegen.tables import read_tsv

STATE_FOLDER = ".guidegen"
"""Item records, checkpoints, orphans: in neither git nor DVC, safe to delete at the price of work done again."""


INDEX_KEYS = ("case", "patient", "role", "series_uid", "shard")
COLLECTION_COLUMNS = ("collection", "name", "sets", "site", "clinical", "licence", "doi")


@dataclass(frozen=True)
class Collection:
    """One collection of the study."""

    id: str
    name: str
    site: str
    licence: str
    doi: str
    clinical: str
    """`gdc`, `idc`, or `local`: where its clinical table comes from."""
    source: str
    """`idc`, `nbia`, `archive` or `local`: where its series come from."""


@dataclass(frozen=True)
class Study:
    """A study folder with a valid config; all paths in manifests are relative to `root`."""

    root: Path
    config: StudyConfig

    @classmethod
    def load(cls, root: Path) -> "Study":
        """Open the study in `root`. Raises GuideGenError where config or folder are wrong."""
        root = root.resolve()
        if (root / "pyproject.toml").is_file() and (root / "src" / "guidegen").is_dir():
            raise GuideGenError(
                f"{root}: the clone of the project, not a study; name a study folder, e.g. --study studies/demo"
            )
        study = cls(root, load_config(root / "config" / "config.yaml"))
        _ = study.collections
        return study

    @cached_property
    def labels(self) -> LabelTable:
        """The torso classes of `config/labels.tsv`."""
        return load_labels(self.root / "config")

    @cached_property
    def collections(self) -> dict[str, Collection]:
        """The study's collections in config order, those of `index.local` last.

        Raises:
            GuideGenError: an unknown set or collection; names what is known.
        """
        path = self.root / "config" / "collections.tsv"
        wanted = self.config.study.collections
        rows = {row["collection"]: row for row in read_tsv(path, COLLECTION_COLUMNS)}
        if isinstance(wanted, str):
            sets = sorted({name for row in rows.values() for name in row["sets"].split(",") if name})
            names = [name for name, row in rows.items() if wanted in row["sets"].split(",")]
            if wanted not in sets:
                hint = f"; for one collection write [{wanted}]" if wanted in rows else ""
                raise GuideGenError(
                    f"study.collections: no set '{wanted}' in {path}; known sets: {', '.join(sets)}{hint}"
                )
        else:
            names = wanted
        unknown = [name for name in names if name not in rows]
        if unknown:
            close = difflib.get_close_matches(unknown[0], rows, n=1)
            hint = f"did you mean '{close[0]}'? " if close else ""
            raise GuideGenError(
                f"study.collections: unknown collection '{unknown[0]}'; {hint}{path} lists {', '.join(sorted(rows))}"
            )
        source = self.config.index.source
        found = {
            name: Collection(
                id=name,
                name=rows[name]["name"],
                site=rows[name]["site"],
                licence=rows[name]["licence"],
                doi=rows[name]["doi"],
                clinical=rows[name]["clinical"],
                source=source,
            )
            for name in names
        }
        for name, local in self.config.index.local.items():
            found[name] = Collection(name, name, local.site, local.licence, "", "local", "local")
        if not found:
            raise GuideGenError("study.collections is empty and index.local names no collection: nothing to study")
        return found

    def index_table(self, collection: str) -> Path:
        """The frozen list of a collection's series."""
        return self.root / "data" / "index" / f"{collection}.tsv"

    def list_shards(self, collection: str) -> list[str]:
        """Shards of a collection that hold at least one selected series, from the frozen index."""
        return sorted({row["shard"] for row in self.read_index(collection)})

    def read_index(self, collection: str, shard: str | None = None) -> list[dict[str, str]]:
        """Rows of the frozen index, all or those of one shard. Raises GuideGenError where it was not built yet."""
        rows = read_tsv(self._find_index(collection), INDEX_KEYS)
        return [row for row in rows if shard in (None, row["shard"])]

    def hash_index(self, collection: str, shard: str) -> str:
        """Hash of a shard's index rows: a new patient changes this for its own shard only."""
        path = self._find_index(collection)
        state = path.stat()
        return _hash_shards(path, state.st_mtime_ns, state.st_size).get(shard) or _hash_json([])

    def _find_index(self, collection: str) -> Path:
        path = self.index_table(collection)
        if not path.is_file():
            raise GuideGenError(f"{path}: the index was not built yet; run `guidegen index --study {self.root}`")
        return path

    def hash_patients(self, collection: str) -> str:
        """Hash of the patients of a collection's index."""
        return _hash_json(sorted({row["patient"] for row in self.read_index(collection)}))

    @cached_property
    def labels_hash(self) -> str:
        """Hash of the label tables."""
        return _hash_json([hash_file(self.root / "config" / f"{n}.tsv") for n in ("labels", "source_labels")])

    def manifest(self, *parts: str) -> Path:
        """Manifest of a bulk folder, e.g. `manifest("data", "ct", "tcga_luad", "s000")`."""
        return self.root.joinpath(*parts[:-1], f"{parts[-1]}.tsv")

    def shard(self, *parts: str) -> Shard:
        """The shard whose bulk folder is `parts` below the study, e.g. `("data", "ct", "tcga_luad", "s000")`."""
        return Shard(
            root=self.root,
            manifest=self.manifest(*parts),
            bulk=self.root.joinpath(*parts),
            state=self.root.joinpath(STATE_FOLDER, "state", *parts),
            orphans=self.root.joinpath(STATE_FOLDER, "orphans", *parts),
            title="/".join(parts),
        )

    def state_folder(self, *parts: str) -> Path:
        """A folder for state that is no output, e.g. checkpoints; made if missing."""
        folder = self.root.joinpath(STATE_FOLDER, "state", *parts)
        folder.mkdir(parents=True, exist_ok=True)
        return folder


@cache
def _hash_shards(index: Path, _changed_ns: int, _size: int) -> dict[str, str]:
    """Return the hash of each shard's index rows; Snakemake asks for every shard, and the table is read once."""
    shards: dict[str, list[dict[str, str]]] = {}
    for row in read_tsv(index, INDEX_KEYS):
        shards.setdefault(row["shard"], []).append(row)
    return {shard: _hash_json(rows) for shard, rows in shards.items()}


def _hash_json(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
