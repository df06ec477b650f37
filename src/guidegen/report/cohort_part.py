"""The section about the cohort: the funnel from the index, the map of the collections, and who is in it."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from guidegen.mask.coverage import REGION_RANGES
from guidegen.report.blocks import Cell, Chart, Charts, Notice, Part, Table, count, number
from guidegen.report.charts import SpanGroup, draw_bars, draw_spans
from guidegen.report.data_parts import MISSING
from guidegen.report.study_tables import StudyTables, clean_number, count_by

STATED = {
    "Age": "age",
    "Sex": "sex",
    "Site": "site",
    "Histology": "histology",
    "Stage": "stage",
    "Contrast phase": "phase",
    "Covered range": "coverage_first",
    "Annotated tumour": "tumour",
    "Smoking": "smoking",
}
"""Heading and attribute of the statements whose absence is counted."""


def describe_cohort(tables: StudyTables) -> Part:
    """The funnel from index to cohort and who is in it."""
    part = Part("cohort", "Index and cohort", "Every series of the index can be traced to the cohort or to a reason.")
    if not tables.cohort:
        part.blocks.append(Notice(MISSING))
        return part
    part.blocks.append(_make_funnel(tables))
    part.blocks.append(_list_reasons(tables))
    used = [row for row in tables.cohort if row["status"] == "ok"]
    source = ("data/cohort/cohort.tsv",)
    splits = Counter((row["collection"], row["split"]) for row in used)
    by_split = {
        c.name: {split: splits[name, split] for split in ("train", "val", "test")}
        for name, c in tables.study.collections.items()
    }
    charts = [
        Chart(draw_bars(by_split, ("train", "val", "test")), ("train", "val", "test"), source, "Cases by split"),
        Chart(_draw_by(used, "coverage", "sex"), _name_values(used, "sex"), source, "Covered range by sex"),
        Chart(_draw_by(used, "site", "sex"), _name_values(used, "sex"), source, "Cancer site by sex"),
        Chart(_draw_ages(used), _name_values(used, "sex"), source, "Age by sex"),
        Chart(_draw_by(used, "phase", "split"), _name_values(used, "split"), source, "Contrast phase by split"),
    ]
    part.blocks.append(Charts([chart for chart in charts if chart.svg]))
    part.blocks.append(_draw_map(tables, used))
    part.blocks.append(_describe_people(tables, used))
    part.blocks.append(_count_missing(tables, used))
    return part


def _draw_map(tables: StudyTables, used: Sequence[dict[str, str]]) -> Chart:
    """One line per case, from the top to the bottom of what it covers of the trunk."""
    collections = sorted(tables.study.collections.values(), key=lambda entry: (entry.site, entry.name))
    sites = list(dict.fromkeys(entry.site for entry in collections))
    groups = [
        SpanGroup(
            entry.name,
            sites.index(entry.site),
            [
                (float(row["coverage_top"]), float(row["coverage_bottom"]))
                for row in used
                if row["collection"] == entry.id and row["coverage_top"] and row["coverage_bottom"]
            ],
        )
        for entry in collections
    ]
    bands = {str(region): span for region, span in REGION_RANGES.items()}
    title = "Map of the collections: the part of the trunk that each case covers"
    note = "One line per case, from its upper to its lower end; the number of cases in brackets. Measured on the spine."
    return Chart(draw_spans(groups, bands, title), sites, ("data/cohort/cohort.tsv",), title, note)


def _make_funnel(tables: StudyTables) -> Table:
    rows = []
    for name, collection in tables.study.collections.items():
        index = [row for row in tables.index[name] if row["role"] in ("ct", "labels")]
        counts = (
            len(tables.excluded[name]),
            len({row["patient"] for row in index}),
            len({row["case"] for row in index}),
            sum(r["status"] == "ok" and r.get("content") != "none" for r in tables.ct if r["collection"] == name),
            sum(r["status"] == "ok" for r in tables.mask if r["collection"] == name),
            sum(r["status"] == "ok" for r in tables.cohort if r["collection"] == name),
        )
        files = (f"data/index/{name}.excluded.tsv", *[f"data/index/{name}.tsv"] * 2, f"data/ct/{name}/")
        files += (f"data/mask/{name}/", "data/cohort/cohort.tsv")
        cells = (replace(count(n), href=file) for n, file in zip(counts, files, strict=True))
        rows.append([Cell(collection.name), Cell(collection.site), *cells])
    total = [count(sum(int(row[k].sort or 0) for row in rows)) for k in range(2, 8)]  # type: ignore[arg-type]
    rows.append([Cell("all", "\uffff", "total"), Cell(""), *total])
    columns = (
        "Collection",
        "Site",
        "Series left out",
        "Patients",
        "Cases indexed",
        "CT converted",
        "Label maps",
        "In cohort",
    )
    return Table(
        columns, rows, ("data/index/", "data/ct/", "data/mask/", "data/cohort/cohort.tsv"), "From index to cohort"
    )


def _list_reasons(tables: StudyTables) -> Table:
    found: Counter[tuple[str, str, str]] = Counter()
    for name, rows in tables.excluded.items():
        found.update(
            ("index", f"criterion: {row['criterion'].replace('_', ' ')}", f"data/index/{name}.excluded.tsv")
            for row in rows
        )
    for phase, rows in (("convert", tables.ct), ("mask", tables.mask)):
        found.update((phase, f"{r['status']}: {r['reason']}", r["table"]) for r in rows if r["status"] != "ok")
    rest = [row for row in tables.cohort if row["status"] != "ok"]
    found.update(("prepare", f"{row['status']}: {row['reason']}", "data/cohort/cohort.tsv") for row in rest)
    merged: dict[tuple[str, str], tuple[int, str]] = {}
    for (phase, reason, source), n in sorted(found.items()):
        before = merged.get((phase, reason), (0, source))
        merged[phase, reason] = (before[0] + n, before[1])
    limit = tables.study.config.report.table_rows
    rows = [
        [Cell(phase), Cell(reason[:160]), count(n), Cell(source, href=source)]
        for (phase, reason), (n, source) in list(merged.items())[:limit]
    ]
    note = "" if len(merged) <= limit else f"{len(merged) - limit} more reasons are in the files."
    columns = ("Phase", "Reason", "Items", "First file")
    return Table(columns, rows, ("data/index/*.excluded.tsv",), "What was left out, and why", note)


def name_coverage(row: dict[str, str]) -> str:
    """Return the covered range of a cohort or mask row in words."""
    first, last = row.get("coverage_first", ""), row.get("coverage_last", "")
    return "unknown" if not first else first if first == last else f"{first} to {last}"


def _name_values(rows: Sequence[dict[str, str]], column: str) -> list[str]:
    order = {"train": 0, "val": 1, "test": 2}
    return sorted({row[column] or "unknown" for row in rows}, key=lambda value: (order.get(value, 9), value))


def _draw_by(rows: Sequence[dict[str, str]], column: str, colour: str) -> str:
    pairs = Counter(
        (name_coverage(r) if column == "coverage" else r[column] or "unknown", r[colour] or "unknown") for r in rows
    )
    keys = sorted({key for key, _ in pairs})
    names = _name_values(rows, colour)
    return draw_bars({key: {name: pairs[key, name] for name in names} for key in keys}, names)


def _draw_ages(rows: Sequence[dict[str, str]]) -> str:
    known = [(int(float(row["age"])) // 10 * 10, row["sex"] or "unknown") for row in rows if row["age"]]
    names = _name_values(rows, "sex")
    pairs, decades = Counter(known), sorted({decade for decade, _ in known})
    return draw_bars({f"{d} to {d + 9} years": {name: pairs[d, name] for name in names} for d in decades}, names)


def _count_missing(tables: StudyTables, used: Sequence[dict[str, str]]) -> Table:
    """How many cases of the cohort lack each statement; the tables of `pair` say what is stated."""
    stated = {row["case"]: set(json.loads(row["statements"])) for row in tables.text if row["variant"] == "0"}
    rows = []
    for name, collection in [*tables.study.collections.items(), ("", None)]:
        mine = [row["case"] for row in used if name in ("", row["collection"])]
        missing = [sum(attribute not in stated.get(case, ()) for case in mine) for attribute in STATED.values()]
        first = Cell(collection.name) if collection else Cell("all", "\uffff", "total")
        rows.append([first, count(len(mine)), *map(count, missing)])
    note = "What is missing is not said in prompts. A case without an annotated tumour is not one without tumour."
    sources = ("data/text/", "data/cohort/cohort.tsv")
    return Table(("Collection", "Cases", *STATED), rows, sources, "Cases that lack …", note)


def _describe_people(tables: StudyTables, used: Sequence[dict[str, str]]) -> Table:
    rows = []
    for name, collection in tables.study.collections.items():
        mine = [row for row in used if row["collection"] == name]
        ages = [age for row in mine if (age := clean_number(row["age"])) is not None]
        sexes = count_by(mine, "sex")
        tumours = [row for row in mine if row["tumour_annotated"] == "true"]
        sizes = [size for row in tumours if (size := clean_number(row["tumour_size_mm"])) is not None]
        rows.append(
            [
                *(Cell(collection.name), count(len(mine)), count(sexes["female"]), count(sexes["male"])),
                number(float(np.median(ages)) if ages else None),
                Cell(f"{min(ages):.0f}–{max(ages):.0f}" if ages else "–", style="number"),
                *(count(len(tumours)), number(float(np.median(sizes)) if sizes else None)),
            ]
        )
    columns = ("Collection", "Cases", "Female", "Male", "Median age", "Ages", "Tumour annotated", "Median size, mm")
    return Table(columns, rows, ("data/cohort/cohort.tsv",), "Who is in the cohort")
