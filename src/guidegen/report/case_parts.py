"""The sections that show real cases: label maps over CT, prompts with their sources."""

import json
from collections import Counter
from collections.abc import Sequence

import numpy as np

from guidegen.overlay import CONVENTION, LUNG, PLANES, SOFT_TISSUE, draw_panels
from guidegen.report.blocks import (
    CaseCard,
    Cell,
    Gallery,
    Legend,
    Notice,
    Part,
    Table,
    count,
    embed_file,
    number,
    show_panel,
)
from guidegen.report.cohort_part import name_coverage
from guidegen.report.data_parts import MISSING
from guidegen.report.shown_cases import choose_real, name_script, spread_over
from guidegen.report.study_tables import StudyTables, clean_number, read_volume

SHOWN_PROMPTS = 6
"""Prompts whose every statement is shown with its source."""


def describe_quality(tables: StudyTables) -> Part:
    """Conversion and label maps: figures, flagged cases, overlays."""
    lead = f"CT in HU with the torso label map over it. {CONVENTION} Slices keep the true proportions."
    part = Part("quality", "Conversion and label maps", lead)
    shown = [row for row in tables.mask if row["status"] == "ok" and row["path"]]
    if not shown:
        part.blocks.append(Notice(MISSING))
        return part
    part.blocks.append(_tabulate_quality(tables))
    part.blocks.append(list_colours(tables))
    part.blocks += _show_flagged(tables)
    part.blocks.append(Gallery(_draw_overlays(tables), CONVENTION, switch=True))
    return part


def _show_flagged(tables: StudyTables) -> list[Table | Gallery]:
    """Flagged cases, those that their flags excluded first, and the pictures that `mask` drew of the first."""
    flagged = [row for row in tables.mask if row.get("flags")]
    flagged.sort(key=lambda row: row["status"] == "ok")
    if not flagged:
        return []
    limit, wanted = tables.study.config.report.table_rows, tables.study.config.report.overlay_cases
    rows = [
        [
            *(Cell(row["case"]), Cell(row["status"], style=f"badge {'warn' if row['status'] == 'ok' else 'bad'}")),
            *(Cell(row["flags"][:200]), Cell(row["table"], href=row["table"])),
        ]
        for row in flagged[:limit]
    ]
    note = f"{len(flagged) - limit} more are in the tables." if len(flagged) > limit else ""
    table = Table(("Case", "Status", "Flags", "Table"), rows, ("data/mask/",), "Flagged cases", note)
    drawn = [row for row in flagged if row.get("picture_path")]
    cards = [
        CaseCard(
            row["case"],
            [
                (
                    "as the gates saw it",
                    [embed_file(tables.study.root / row["picture_path"], f"flagged: {row['flags']}")],
                )
            ],
            marks=[(row["flags"][:120], "bad")],
            sources=(row["picture_path"], row["table"]),
        )
        for row in drawn[:wanted]
    ]
    return (
        [table, Gallery(cards, "What was flagged, cut through the structure that the first flag names.")]
        if cards
        else [table]
    )


def list_colours(tables: StudyTables) -> Legend:
    """Colours of the torso classes."""
    return Legend([(entry.name.replace("_", " "), entry.colour) for entry in tables.study.labels.classes[1:]])


def _tabulate_quality(tables: StudyTables) -> Table:
    rows = []
    for name, collection in tables.study.collections.items():
        done = [r for r in tables.ct if r["collection"] == name and r["status"] == "ok" and r["path"]]
        masks = [r for r in tables.mask if r["collection"] == name and r["status"] == "ok"]
        spacing = [[float(v) for v in r["spacing_mm"].strip("[]() ").split(",")] for r in done if r.get("spacing_mm")]
        middle = np.median(spacing, 0) if spacing else np.full(3, np.nan)
        organs = [len(json.loads(row["organs"])) for row in masks if row.get("organs")]
        rows.append(
            [
                *(Cell(collection.name), count(len(done)), count(sum(bool(r.get("repairs")) for r in done))),
                Cell(" × ".join(f"{v:.2f}" for v in middle) if spacing else "–", float(middle[2]), "number"),
                *(count(len(masks)), number(float(np.mean(organs)) if organs else None)),
                *(
                    count(sum(r.get("tumour_annotated") == "true" for r in masks)),
                    count(sum(bool(r.get("flags")) for r in masks)),
                ),
            ]
        )
    columns = (
        "Collection",
        "CTs",
        "Repaired",
        "Median spacing, mm",
        "Label maps",
        "Classes per map",
        "Tumour read",
        "Flagged",
    )
    return Table(columns, rows, ("data/ct/", "data/mask/"), "Conversion and masks")


def _draw_overlays(tables: StudyTables) -> list[CaseCard]:
    study = tables.study
    cards = []
    for row in choose_real(tables):
        ct, spacing = read_volume(study.root / row["ct_path"])
        labels, _ = read_volume(study.root / row["path"])
        windows = [SOFT_TISSUE, LUNG] if (labels == study.labels.ids["lung"]).any() else [SOFT_TISSUE]
        views = [(plane, window) for window in windows for plane in PLANES]
        panels = draw_panels(ct, labels, spacing, study.labels, views, study.config.report.picture_height, trim=True)
        marks = [(study.collections[row["collection"]].name, ""), (name_coverage(row), "")]
        if row.get("tumour_side") or row.get("tumour_size_mm"):
            size = clean_number(row.get("tumour_size_mm", ""))
            words = [row.get("tumour_side", ""), row.get("tumour_site", ""), f"{size:.0f} mm" if size else ""]
            marks.append((" ".join(filter(None, ["tumour:", *words])), "tumour"))
        marks += [(row["flags"], "bad")] if row.get("flags") else []
        rows = [
            (str(window), [show_panel(panel, row["case"]) for panel in panels if panel.window == window.name])
            for window in windows
        ]
        sources = (row["ct_path"], row["path"], row["table"])
        cards.append(CaseCard(row["case"], rows, "", marks, sources, name_script(tables, row["case"])))
    return cards


def describe_prompts(tables: StudyTables) -> Part:
    """Prompts with the cells that each statement came from."""
    part = Part("prompts", "Prompts", "One statement, one source: nothing in a prompt is invented.")
    rows = [row for row in tables.text if row["status"] == "ok"]
    if not rows:
        part.blocks.append(Notice(MISSING))
        return part
    canonical = [row for row in rows if row["variant"] == "0"]
    stated: Counter[str] = Counter()
    kinds: dict[str, Counter[str]] = {}
    for row in canonical:
        stated.update(name for name, value in json.loads(row["statements"]).items() if value not in (None, [], ""))
        for name, source in json.loads(row["sources"] or "{}").items():
            for entry in source if isinstance(source, list) else [source]:
                kinds.setdefault(name, Counter())[f"{entry['kind']}: {entry.get('field') or entry['name']}"] += 1
    cells = [
        [Cell(name.replace("_", " ")), count(n), number(100 * n / len(canonical)), Cell(_join(kinds.get(name)))]
        for name, n in stated.most_common()
    ]
    source = ("data/text/",)
    title = f"What {len(canonical)} prompts state ({len(rows)} wordings)"
    part.blocks.append(Table(("Attribute", "Cases", "% of cases", "Where from"), cells, source, title))
    examples = [
        [
            Cell(row["case"]),
            Cell(row["prompt"]),
            Cell(f"data/text/{row['collection']}.tsv", href=f"data/text/{row['collection']}.tsv"),
        ]
        for row in spread_over(canonical, "collection", 12)
    ]
    part.blocks.append(Table(("Case", "Prompt", "File"), examples, source, "Examples"))
    part.blocks.append(_trace_statements(spread_over(canonical, "collection", SHOWN_PROMPTS)))
    conflicts = [
        [Cell(row["case"]), Cell(str(text)[:200]), Cell(f"data/text/{row['collection']}.tsv")]
        for row in canonical
        for text in json.loads(row.get("conflicts") or "[]")
    ]
    if conflicts:
        limit = tables.study.config.report.table_rows
        title = f"Conflicts between sources ({len(conflicts)})"
        part.blocks.append(Table(("Case", "Conflict", "File"), conflicts[:limit], source, title))
    return part


def _trace_statements(rows: Sequence[dict[str, str]]) -> Table:
    """Each statement of the given prompts beside the cell, header or measurement that it was read from."""
    cells = []
    for row in rows:
        said, table = json.loads(row["statements"]), f"data/text/{row['collection']}.tsv"
        for name, source in json.loads(row["sources"] or "{}").items():
            for entry in source if isinstance(source, list) else [source]:
                place = ", ".join(filter(None, [entry["name"], entry.get("field", ""), entry.get("row", "")]))
                value = "absent" if name.startswith("absent.") else str(said.get(name, ""))
                kind = (Cell(name.replace("_", " ").replace(".", ": ")), Cell(value), Cell(entry["kind"]), Cell(place))
                cells.append([Cell(row["case"]), *kind, Cell(entry.get("value", "")), Cell(table, href=table)])
    columns = ("Case", "Statement", "Says", "Kind", "Read from", "What stood there", "File")
    title = f"Every statement of the first {len(rows)} of these prompts, and its source"
    return Table(columns, cells, ("data/text/",), title)


def _join(kinds: Counter[str] | None) -> str:
    return ", ".join(f"{name} ({n})" for name, n in (kinds or Counter()).most_common(3)) or "–"
