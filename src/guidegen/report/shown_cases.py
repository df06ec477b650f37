"""Which cases the page shows, and which of them its viewer opens."""

from collections.abc import Sequence
from pathlib import Path

from guidegen.report.study_tables import StudyTables
from guidegen.report.viewer_files import FOLDER, ViewedCase

Rows = list[dict[str, str]]


def spread_over(rows: Sequence[dict[str, str]], column: str, wanted: int) -> Rows:
    """Choose rows in turn from each value of a column."""
    groups: dict[str, Rows] = {}
    for row in rows:
        groups.setdefault(row[column], []).append(row)
    rounds = max((len(group) for group in groups.values()), default=0)
    dealt = [group[k] for k in range(rounds) for group in groups.values() if k < len(group)]
    return dealt[:wanted]


def choose_real(tables: StudyTables) -> Rows:
    """Return mask rows of cases that have a CT, in turn from each collection, with `ct_path` and `ct_sha256`."""
    files = {row["case"]: row for row in tables.ct if row["status"] == "ok" and row["path"]}
    having = [
        row | {"ct_path": files[row["case"]]["path"], "ct_sha256": files[row["case"]]["sha256"]}
        for row in tables.mask
        if row["status"] == "ok" and row["path"] and row["case"] in files
    ]
    return spread_over(having, "collection", tables.study.config.report.overlay_cases)


def list_sets(tables: StudyTables) -> list[str]:
    """Return the synthetic sets that were planned."""
    return [path.split("/")[2] for path in tables.find("results/synthetic/*/prompts.tsv")]


def read_set(tables: StudyTables, name: str) -> Rows:
    """Return the manifest rows of a synthetic set, each with its `table`, `prompt` and `shard`."""
    prompts = {row["case"]: row for row in tables.read(f"results/synthetic/{name}/prompts.tsv")}
    return [
        row | {"table": table, "prompt": prompts[row["case"]]["prompt"], "shard": prompts[row["case"]]["shard"]}
        for table in tables.find(f"results/synthetic/{name}/s*.tsv")
        for row in tables.read(table)
    ]


def choose_synthetic(tables: StudyTables, name: str) -> Rows:
    """Return the rows of the cases of a set that the page shows, in turn from each shard."""
    good = [row for row in read_set(tables, name) if row["status"] == "ok"]
    return spread_over(good, "shard", tables.study.config.report.gallery_cases)


def list_viewed(tables: StudyTables) -> list[ViewedCase]:
    """Return the cases that the viewer opens: the first real ones on the page, and the first of each synthetic set."""
    wanted = tables.study.config.report.viewer_cases
    found = [
        ViewedCase(row["case"], row["ct_path"], row["path"], {"ct": row["ct_sha256"], "labels": row["sha256"]})
        for row in choose_real(tables)[:wanted]
    ]
    for name in list_sets(tables):
        found += [
            ViewedCase(
                row["case"], row["path"], row["labels_path"], {"ct": row["sha256"], "labels": row["labels_sha256"]}
            )
            for row in choose_synthetic(tables, name)[:wanted]
        ]
    return found


def name_script(tables: StudyTables, case: str) -> str:
    """Return what the viewer loads to open a case, relative to the page; "" where it cannot open it."""
    return f"{FOLDER[-1]}/{Path(tables.viewer[case]['path']).name}" if case in tables.viewer else ""
