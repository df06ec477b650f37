"""The sections that show cases: label maps over CT, prompts, generated pairs."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence

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
    number,
    show_panel,
)
from guidegen.report.data_parts import MISSING, name_coverage
from guidegen.report.study_tables import StudyTables, clean_number, read_volume

VIEWS = tuple((plane, SOFT_TISSUE) for plane in PLANES)


def describe_quality(tables: StudyTables) -> Part:
    """Conversion and label maps: figures, flagged cases, overlays."""
    lead = f"CT in HU with the torso label map over it. {CONVENTION} Slices keep the true proportions."
    part = Part("quality", "Conversion and label maps", lead)
    shown = [row for row in tables.mask if row["status"] == "ok" and row["path"]]
    if not shown:
        part.blocks.append(Notice(MISSING))
        return part
    part.blocks.append(_tabulate_quality(tables))
    flagged = [row for row in shown if row.get("flags")]
    rows = [[Cell(r["case"]), Cell(r["flags"][:200]), Cell(r["table"], href=r["table"])] for r in flagged]
    limit = tables.study.config.report.table_rows
    if rows:
        note = f"{len(rows) - limit} more are in the tables." if len(rows) > limit else ""
        part.blocks.append(Table(("Case", "Flags", "Table"), rows[:limit], ("data/mask/",), "Flagged cases", note))
    part.blocks.append(list_colours(tables))
    part.blocks.append(Gallery(_draw_overlays(tables, shown), CONVENTION, switch=True))
    return part


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


def _draw_overlays(tables: StudyTables, shown: Sequence[dict[str, str]]) -> list[CaseCard]:
    study, wanted = tables.study, tables.study.config.report.overlay_cases
    files = {row["case"]: row for row in tables.ct}
    having = [row for row in shown if files.get(row["case"], {}).get("path")]
    cards = []
    for row in spread_over(having, "collection", wanted):
        ct, spacing = read_volume(study.root / files[row["case"]]["path"])
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
        sources = (files[row["case"]]["path"], row["path"], row["table"])
        rows = [
            (str(window), [show_panel(panel, row["case"]) for panel in panels if panel.window == window.name])
            for window in windows
        ]
        cards.append(CaseCard(row["case"], rows, "", marks, sources))
    return cards


def spread_over(rows: Sequence[dict[str, str]], column: str, wanted: int) -> list[dict[str, str]]:
    """Choose rows in turn from each value of a column."""
    groups: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        groups.setdefault(row[column], []).append(row)
    rounds = max((len(group) for group in groups.values()), default=0)
    dealt = [group[k] for k in range(rounds) for group in groups.values() if k < len(group)]
    return dealt[:wanted]


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


def _join(kinds: Counter[str] | None) -> str:
    return ", ".join(f"{name} ({n})" for name, n in (kinds or Counter()).most_common(3)) or "–"


def describe_synthetic(tables: StudyTables) -> Part:
    """Sets, gates with rejection rates, and a gallery."""
    part = Part("synthetic", "Synthetic sets", "Prompt, generated label map and generated CT of the same case.")
    names = [path.split("/")[2] for path in tables.find("results/synthetic/*/prompts.tsv")]
    if not names:
        part.blocks.append(Notice(MISSING))
        return part
    made = {n: [r for t in tables.find(f"results/synthetic/{n}/s*.tsv") for r in tables.read(t)] for n in names}
    rows = []
    for name, cases in made.items():
        asked = len(tables.read(f"results/synthetic/{name}/prompts.tsv"))
        attempts = [int(row["attempts"] or 1) for row in cases if row["status"] != "failed"]
        finished = sum(row["status"] == "ok" for row in cases)
        states = (sum(row["status"] == state for row in cases) for state in ("excluded", "failed"))
        mean = sum(attempts) / len(attempts) if attempts else None
        source = f"results/synthetic/{name}/prompts.tsv"
        rows.append(
            [Cell(name), count(asked), count(finished), *map(count, states), number(mean), Cell(source, href=source)]
        )
    columns = ("Set", "Prompts", "Made", "Rejected for good", "Failed", "Attempts per case", "File")
    part.blocks.append(Table(columns, rows, ("results/synthetic/",), "Sets"))
    part.blocks.append(_tabulate_gates(made))
    part.blocks.append(list_colours(tables))
    for name, cases in made.items():
        cards = _draw_gallery(tables, name, cases)
        part.blocks.append(Gallery(cards, f"Set “{name}”. {CONVENTION}", switch=True, overlay=False))
    return part


def _tabulate_gates(made: Mapping[str, Sequence[Mapping[str, str]]]) -> Table:
    rows = []
    for name, cases in made.items():
        outcomes: dict[str, Counter[bool | None]] = {}
        for row in cases:
            for gate, passed in json.loads(row["gates"] or "{}").items():
                outcomes.setdefault(gate, Counter())[passed] += 1
        for gate, seen in outcomes.items():
            checked = seen[True] + seen[False]
            share = 100 * seen[True] / checked if checked else None
            cells = (count(seen[True]), count(seen[False]), count(seen[None]), number(share))
            rows.append([Cell(name), Cell(gate.replace("_", " ")), *cells])
    columns = ("Set", "Gate", "Passed", "Failed", "Not applicable", "% passed")
    return Table(columns, rows, ("results/synthetic/*/s*.tsv",), "Gates, last attempt of each case")


def _draw_gallery(tables: StudyTables, name: str, cases: Sequence[dict[str, str]]) -> list[CaseCard]:
    study = tables.study
    prompts = {row["case"]: row for row in tables.read(f"results/synthetic/{name}/prompts.tsv")}
    cards = []
    good = [row for row in cases if row["status"] == "ok"]
    for row in spread_over(
        [r | {"shard": prompts[r["case"]]["shard"]} for r in good], "shard", study.config.report.gallery_cases
    ):
        ct, fine = read_volume(study.root / row["path"])
        labels, coarse = read_volume(study.root / row["labels_path"])
        height = study.config.report.picture_height
        maps = draw_panels(None, labels, coarse, study.labels, VIEWS, height)
        repeated = labels
        for axis in range(3):
            repeated = repeated.repeat(ct.shape[axis] // labels.shape[axis], axis)
        volumes = draw_panels(ct, repeated, fine, study.labels, VIEWS, height)
        gates = json.loads(row["gates"] or "{}")
        failed = [gate.replace("_", " ") for gate, passed in gates.items() if passed is False]
        marks = [(f"failed gate: {gate}", "bad") for gate in failed] or [("gates passed", "good")]
        sources = (row["path"], row["labels_path"])
        prompt = prompts[row["case"]]["prompt"]
        rows = [
            (title, [show_panel(panel, row["case"]) for panel in panels])
            for title, panels in (("label map", maps), (f"CT, {SOFT_TISSUE}", volumes))
        ]
        cards.append(CaseCard(row["case"], rows, prompt, marks, sources))
    return cards
