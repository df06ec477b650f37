"""The section about synthetic sets: how many cases passed the gates, and what the cases look like."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from guidegen.overlay import CONVENTION, PLANES, SOFT_TISSUE, draw_panels
from guidegen.report.blocks import CaseCard, Cell, Gallery, Notice, Part, Picture, Table, count, number, show_panel
from guidegen.report.case_parts import list_colours
from guidegen.report.data_parts import MISSING
from guidegen.report.shown_cases import choose_synthetic, list_sets, name_script, read_set
from guidegen.report.study_tables import StudyTables, read_volume
from guidegen.study import Study

VIEWS = tuple((plane, SOFT_TISSUE) for plane in PLANES)


def describe_synthetic(tables: StudyTables) -> Part:
    """Sets, gates with rejection rates, and a gallery."""
    part = Part("synthetic", "Synthetic sets", "Prompt, generated label map and generated CT of the same case.")
    made = {name: read_set(tables, name) for name in list_sets(tables)}
    if not made:
        part.blocks.append(Notice(MISSING))
        return part
    part.blocks.append(_tabulate_sets(tables, made))
    part.blocks.append(_tabulate_gates(made))
    part.blocks.append(list_colours(tables))
    for name in made:
        cards = [_draw_case(tables, row) for row in choose_synthetic(tables, name)]
        part.blocks.append(Gallery(cards, f"Set “{name}”. {CONVENTION}", switch=True, overlay=False))
    return part


def _tabulate_sets(tables: StudyTables, made: Mapping[str, Sequence[Mapping[str, str]]]) -> Table:
    rows = []
    for name, cases in made.items():
        source = f"results/synthetic/{name}/prompts.tsv"
        finished = [row for row in cases if row["status"] != "failed"]
        attempts = sum(int(row["attempts"] or 1) for row in finished)
        rejected = sum(len(json.loads(row["rejections"] or "[]")) for row in finished)
        states = (sum(row["status"] == state for row in cases) for state in ("ok", "excluded", "failed"))
        rows.append(
            [
                *(Cell(name, href=source), count(len(tables.read(source))), *map(count, states)),
                *(number(attempts / len(finished) if finished else None), count(rejected)),
                number(100 * rejected / attempts if attempts else None),
            ]
        )
    columns = (
        *("Set", "Prompts", "Made", "Rejected for good", "Failed", "Draws per case", "Draws rejected"),
        "% of draws rejected",
    )
    note = "A draw that fails a gate is drawn again; a set that measures what the models do rejects nothing."
    return Table(columns, rows, ("results/synthetic/",), "Sets", note)


def _tabulate_gates(made: Mapping[str, Sequence[Mapping[str, str]]]) -> Table:
    rows = []
    for name, cases in made.items():
        outcomes: dict[str, Counter[bool | None]] = {}
        rejected: Counter[str] = Counter()
        for row in cases:
            for gate, passed in json.loads(row["gates"] or "{}").items():
                outcomes.setdefault(gate, Counter())[passed] += 1
            for draw in json.loads(row["rejections"] or "[]"):
                rejected.update({text.split(" ")[0] for text in draw["failed"]})
        for gate, seen in outcomes.items():
            checked = seen[True] + seen[False]
            share = 100 * seen[True] / checked if checked else None
            cells = (count(seen[True]), count(seen[False]), count(seen[None]), number(share), count(rejected[gate]))
            file = f"results/synthetic/{name}/"
            rows.append([Cell(name), Cell(gate.replace("_", " ")), *cells, Cell(file, href=file)])
    columns = ("Set", "Gate", "Passed", "Failed", "Not applicable", "% passed", "Draws it rejected", "Files")
    return Table(columns, rows, ("results/synthetic/*/s*.tsv",), "Gates, last draw of each case")


def draw_rows(
    study: Study, labels: np.ndarray, ct: np.ndarray, spacing_mm: Sequence[float], title: str
) -> list[tuple[str, list[Picture]]]:
    """Return pictures of a generated pair: the label map, and the CT with the label map over it, in three planes.

    Args:
        study: the study.
        labels: (n, n, n) torso classes.
        ct: (kn, kn, kn) HU over the same box.
        spacing_mm: of the label grid.
        title: of the case, for readers who do not see the pictures.
    """
    height, fold = study.config.report.picture_height, ct.shape[0] // labels.shape[0]
    maps = draw_panels(None, labels, spacing_mm, study.labels, VIEWS, height)
    repeated = labels.repeat(fold, 0).repeat(fold, 1).repeat(fold, 2)
    fine = [value / fold for value in spacing_mm]
    volumes = draw_panels(ct, repeated, fine, study.labels, VIEWS, height)
    return [
        (name, [show_panel(panel, title) for panel in panels])
        for name, panels in (("label map", maps), (f"CT, {SOFT_TISSUE}", volumes))
    ]


def _draw_case(tables: StudyTables, row: Mapping[str, str]) -> CaseCard:
    study = tables.study
    ct, _ = read_volume(study.root / row["path"])
    labels, spacing = read_volume(study.root / row["labels_path"])
    gates = json.loads(row["gates"] or "{}")
    failed = [gate.replace("_", " ") for gate, passed in gates.items() if passed is False]
    marks = [(f"failed gate: {gate}", "bad") for gate in failed] or [("gates passed", "good")]
    sources = (row["path"], row["labels_path"], row["table"])
    rows = draw_rows(study, labels, ct, spacing, row["case"])
    return CaseCard(row["case"], rows, row["prompt"], marks, sources, name_script(tables, row["case"]))
