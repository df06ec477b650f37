"""Makes a random sample of items again, with the phase's own code, and compares every byte and every column.

An item is made in a folder of its own that looks to the phase like the study with this one case in it. What is sampled
runs on the CPU, where equal input gives equal bytes. Not sampled: downloads, trainings and segmenters (hours), and
label maps by TotalSegmentator (on a GPU figures agree within a tolerance only).
"""

import random
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from guidegen.errors import GuideGenError
from guidegen.manifest import BASE_COLUMNS, process_items, read_manifest
from guidegen.progress import track_progress
from guidegen.study import Study
from guidegen.tables import format_cell, read_tsv, write_tsv
from guidegen.version.findings import Finding

Row = Mapping[str, str]


@dataclass(frozen=True)
class Sampled:
    """An item that can be made again."""

    phase: str
    table: str
    """The manifest or table that it is a row of, relative to the study."""
    case: str

    @property
    def name(self) -> str:
        return f"{self.table}#{self.case}"


def recompute_sample(study: Study, count: int) -> tuple[list[str], list[Finding]]:
    """Make `count` random items again, of each phase in turn; return their names and what differs.

    The choice is drawn anew each time, so that nobody can know which items will be looked at.
    """
    chosen = _choose(study, count)
    findings: list[Finding] = []
    with track_progress("make again", len(chosen), "items") as advance:
        for item in chosen:
            findings += _compare(study, item)
            advance(1, item.name)
    return [item.name for item in chosen], findings


def _choose(study: Study, count: int) -> list[Sampled]:
    source = random.SystemRandom()
    lists = [source.sample(found, len(found)) for found in _list_items(study).values()]
    depth = max(map(len, lists), default=0)
    return [found[level] for level in range(depth) for found in lists if level < len(found)][:count]


def _list_items(study: Study) -> dict[str, list[Sampled]]:
    def list_rows(phase: str, pattern: str) -> list[Sampled]:
        found = []
        for path in sorted(study.root.glob(pattern)):
            table = path.relative_to(study.root).as_posix()
            rows = read_manifest(path)
            found += [Sampled(phase, table, row["case"]) for row in rows if row["status"] == "ok" and any_file(row)]
        return found

    items = {
        "convert": list_rows("convert", "data/ct/*/s*.tsv"),
        "mask": [item for item in list_rows("mask", "data/mask/*/s*.tsv") if _is_exact(study, item)],
        "prepare": list_rows("prepare", "data/cohort/arrays.tsv"),
        "synthesize": list_rows("synthesize", "results/synthetic/*/s*.tsv"),
        "pair": [],
    }
    for path in sorted((study.root / "data" / "text").glob("*.tsv")):
        cases = dict.fromkeys(row["case"] for row in read_tsv(path, ("case", "prompt")))
        items["pair"] += [Sampled("pair", path.relative_to(study.root).as_posix(), case) for case in cases]
    return items


def any_file(row: Row) -> bool:
    """Tell whether a manifest row names a file."""
    return any(value for name, value in row.items() if name == "path" or name.endswith("_path"))


def _is_exact(study: Study, item: Sampled) -> bool:
    return not study.config.mask.uses("totalsegmentator", item.table.split("/")[2])


def _compare(study: Study, item: Sampled) -> Iterator[Finding]:
    stated = [row for row in read_tsv(study.root / item.table) if row["case"] == item.case]
    try:
        with tempfile.TemporaryDirectory(prefix="guidegen-sample-") as folder:
            made = MAKERS[item.phase](study, item, Path(folder))
    except GuideGenError as error:
        yield Finding("recomputed", item.table, f"{item.case}: cannot be made again: {error}", case=item.case)
        return
    if len(made) != len(stated):
        told = f"{item.case}: {len(stated)} row(s), made again {len(made)}"
        yield Finding("recomputed", item.table, told, case=item.case)
        return
    for old, new in zip(stated, made, strict=True):
        differing = [name for name in old if old[name] != new.get(name, "")]
        if differing:
            shown = ", ".join(f"{name} was '{old[name][:80]}', is '{new.get(name, '')[:80]}'" for name in differing[:3])
            more = f" and {len(differing) - 3} more columns" if len(differing) > 3 else ""
            told = f"{item.case}: made again, it differs: {shown}{more}"
            yield Finding("recomputed", item.table, told, case=item.case)


def _convert(study: Study, item: Sampled, folder: Path) -> list[dict[str, str]]:
    from guidegen.convert.shards import convert_shard

    shadow, collection, shard = _make_shadow(study, item, folder, "raw")
    return convert_shard(shadow, study.collections[collection], shard)


def _mask(study: Study, item: Sampled, folder: Path) -> list[dict[str, str]]:
    from guidegen.mask.shard import COLUMNS, MaskWorker, list_items

    shadow, collection, shard = _make_shadow(study, item, folder, "raw", "ct")
    items = list_items(shadow, collection, shard)
    place = shadow.shard("data", "mask", collection, shard)
    return process_items(
        place, items, MaskWorker(study.config.mask, study.labels), fingerprint="sample", columns=COLUMNS
    )


def _prepare(study: Study, item: Sampled, folder: Path) -> list[dict[str, str]]:
    from guidegen.prepare.join import join_tables
    from guidegen.prepare.run import make_all_arrays

    shadow, _, _ = _make_shadow(study, item, folder, "ct", "mask", "text")
    return make_all_arrays(shadow, join_tables(shadow))


def _pair(study: Study, item: Sampled, folder: Path) -> list[dict[str, str]]:
    from guidegen.pair.table import make_rows

    rows = [row for row in make_rows(study, Path(item.table).stem) if row["case"] == item.case]
    return [{name: format_cell(value) for name, value in row.items()} for row in rows]


def _synthesize(study: Study, item: Sampled, folder: Path) -> list[dict[str, str]]:
    from guidegen.synthesize.run import synthesize_shard

    _, _, name, manifest = item.table.split("/")
    (folder / "results" / "synthetic").mkdir(parents=True)
    for part in ("config", "data", "results/models", "results/segmentation"):
        (folder / part).symlink_to(study.root / part)
    plan = f"results/synthetic/{name}/prompts.tsv"
    _copy_rows(study.root / plan, folder / plan, item.case)
    return synthesize_shard(Study(folder, study.config), name, manifest.removesuffix(".tsv"))


MAKERS: dict[str, Callable[[Study, Sampled, Path], list[dict[str, str]]]] = {
    "convert": _convert,
    "mask": _mask,
    "prepare": _prepare,
    "pair": _pair,
    "synthesize": _synthesize,
}


def _make_shadow(study: Study, item: Sampled, folder: Path, *phases: str) -> tuple[Study, str, str]:
    """Make `folder` look like a study of this one case; return it with the case's collection and shard.

    Bulk is linked, tables hold the rows of the case alone; `phases` are the folders below `data/` that are read.
    """
    collection = item.case.split("__")[0]
    rows = [row for row in study.read_index(collection) if row["case"] == item.case]
    if not rows:
        raise GuideGenError(f"{item.case}: not in data/index/{collection}.tsv")
    shard = rows[0]["shard"]
    (folder / "config").symlink_to(study.root / "config")
    write_tsv(folder / "data" / "index" / f"{collection}.tsv", list(rows[0]), rows)
    for phase in phases:
        source, target = study.root / "data" / phase, folder / "data" / phase
        if phase in ("raw", "text"):
            target.symlink_to(source)
            continue
        _copy_rows(source / collection / f"{shard}.tsv", target / collection / f"{shard}.tsv", item.case)
        (target / collection / shard).symlink_to(source / collection / shard)
    settings = study.config.study.model_copy(update={"collections": [collection]})
    index = study.config.index
    index = index.model_copy(update={"local": {name: part for name, part in index.local.items() if name == collection}})
    if collection in index.local:
        settings = settings.model_copy(update={"collections": []})
    return Study(folder, study.config.model_copy(update={"study": settings, "index": index})), collection, shard


def _copy_rows(source: Path, target: Path, case: str) -> None:
    rows = read_tsv(source)
    columns = list(rows[0]) if rows else list(BASE_COLUMNS)
    write_tsv(target, columns, [row for row in rows if row["case"] == case])
