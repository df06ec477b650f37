"""The sections about what the models learned: training, and whether prompts control the output."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from guidegen.report.blocks import (
    CaseCard,
    Cell,
    Chart,
    Charts,
    Gallery,
    Notice,
    Part,
    Table,
    count,
    embed_file,
    interval,
    read_interval,
)
from guidegen.report.charts import draw_intervals, draw_lines, format_number
from guidegen.report.data_parts import MISSING
from guidegen.report.study_tables import StudyTables, read_curves

STAGES = {
    "semantic_synthesizer": "I · semantic synthesizer (prompt → label map)",
    "contrast_autoencoder": "II · contrast-aware autoencoder (CT ↔ latent)",
    "latent_generator": "III · latent generator (prompt + label map → latent)",
}
MAIN_CURVES = ("loss", "held_out")
SHOWN_SAMPLES = 3
"""Pictures from on the way to the end of a training."""
VERDICTS = {
    "followed": ("followed", "good"),
    "not shown": ("not shown", "warn"),
    "ignored": ("text is ignored", "bad"),
    "not tested": ("not tested", ""),
}


def describe_training(tables: StudyTables) -> Part:
    """Curves of the stages, and held-out losses beside the averages-only baseline."""
    part = Part("training", "Training", "Held-out loss is measured on patients that no network has seen.")
    measured = tables.read_json("results/evaluation/training.json").get("stages", {})
    if not measured and not tables.find("results/models/*/curves.csv"):
        part.blocks.append(Notice(MISSING))
        return part
    rows = []
    for stage, figures in measured.items():
        source = f"results/models/{stage}/held_out.json"
        verdict = Cell("better", style="badge good") if figures["better"] else Cell("not better", style="badge bad")
        cells = (interval(figures[key]) for key in ("loss", "baseline", "difference"))
        words = (Cell(figures["measure"]), Cell(figures["baseline_name"]))
        rows.append([Cell(STAGES.get(stage) or stage, href=source), *cells, verdict, *words])
    columns = ("Stage", "Held-out loss", "Baseline", "Difference", "", "Loss", "Baseline is")
    part.blocks.append(
        Table(columns, rows, ("results/evaluation/training.json",), "Held-out loss against averages only")
    )
    charts = []
    for stage, title in STAGES.items():
        source = f"results/models/{stage}/curves.csv"
        curves = read_curves(tables.study.root / source)
        for names, suffix in ((MAIN_CURVES, ""), (_list_terms(curves), ", terms")):
            chosen = {name: curves[name] for name in names if name in curves}
            if chosen:
                charts.append(Chart(draw_lines(chosen, "step", "loss"), list(chosen), (source,), title + suffix))
    part.blocks.append(Charts(charts))
    part.blocks += _show_samples(tables)
    return part


def _list_terms(names: Iterable[str]) -> list[str]:
    """Names of a loss's terms; one term alone is the loss itself."""
    terms = [name for name in names if name not in MAIN_CURVES]
    return terms if len(terms) > 1 else []


def _show_samples(tables: StudyTables) -> list[Gallery]:
    """Samples of each stage at the end of its training, and a few from on the way."""
    cards = []
    for stage, title in STAGES.items():
        last = f"results/models/{stage}/samples.png"
        if not (tables.study.root / last).is_file():
            continue
        earlier = tables.find(f"results/models/{stage}/samples-*.png")
        chosen = [earlier[round(k)] for k in np.linspace(0, len(earlier) - 1, min(len(earlier), SHOWN_SAMPLES))]
        steps = [(f"after {int(Path(name).stem.split('-')[1])} steps", name) for name in chosen]
        rows = [
            (text, [embed_file(tables.study.root / name, f"samples of {stage} {text}")])
            for text, name in [*steps, ("at the end of training", last)]
        ]
        cards.append(CaseCard(title, rows, sources=(*chosen, last)))
    return [Gallery(cards, "Samples over the time of training.")] if cards else []


def describe_adherence(tables: StudyTables) -> Part:
    """Requested against measured, with shuffled prompts as control."""
    lead = (
        "Each generated case is measured; a request is compared with its own case (true) and with the cases of other "
        "requests (shuffled). Numeric conditions are empty, so only the text can act. Real held-out cases, measured "
        "the same way, show what the instrument itself can read."
    )
    part = Part("adherence", "Prompt adherence", lead)
    source = "results/evaluation/adherence.json"
    measured = tables.read_json(source)
    if not measured:
        part.blocks.append(Notice(MISSING))
        return part
    attributes: dict[str, dict[str, Any]] = measured["attributes"]
    if measured.get("alarm"):
        part.blocks.append(Notice(measured["alarm"], "alarm"))
    if not measured["numeric_conditions_empty"]:
        part.blocks.append(Notice("Numeric conditions were given, so not only the text could act.", "alarm"))
    if measured["redrawn"]:
        text = f"{measured['redrawn']} cases were drawn again after a failed gate, which favours the true prompts."
        part.blocks.append(Notice(text, "warning"))
    names = ("true prompts", "shuffled prompts", "real held-out cases")
    chosen = {
        name: [read_interval(entry[key]) for key in ("true", "control")] + [read_interval(entry["real"]["true"])]
        for name, entry in attributes.items()
    }
    label = "share of cases that fit the request (tumour size: rank correlation)"
    lowest = min([0.0, *(i.low for row in chosen.values() for i in row if i.low is not None)])
    part.blocks.append(Chart(draw_intervals(chosen, names, label, lowest, 1.0), names, (source,)))
    rows = []
    for name, entry in attributes.items():
        text, style = VERDICTS[entry["verdict"]]
        figures = (
            interval(entry["true"]),
            interval(entry["control"]),
            interval(entry["difference"], style=f"number {style}"),
        )
        p = entry["p_permutation"]
        rows.append(
            [
                *(Cell(name), count(entry["true"]["n"]), *figures, Cell(text, style=f"badge {style}")),
                *(interval(entry["real"]["true"]), Cell(format_number(p, 2), p, "number")),
            ]
        )
    columns = ("Attribute", "Requests", "True", "Shuffled", "Difference", "Verdict", "Real cases", "p")
    note = "In brackets: 95 % intervals from the patient bootstrap; p from permutations of the requests."
    part.blocks.append(Table(columns, rows, (source,), "Requested against measured", note))
    rows = [[Cell(name), Cell(entry["measure"])] for name, entry in attributes.items()]
    part.blocks.append(Table(("Attribute", "What is compared"), rows, (source,), "What is measured"))
    if "sex_classifier" in measured:
        part.blocks.append(_check_instruments(measured, source))
    return part


def _check_instruments(measured: Mapping[str, Any], source: str) -> Table:
    """How far two of the readings can be trusted."""
    sex, size = measured["sex_classifier"], measured["size_in_mm"]
    guess = f"guessing the larger class is right in {format_number(sex['largest_class'])}"
    rows = [
        [Cell("sex, read from real held-out cases: share right"), interval(sex["accuracy"]), Cell(guess)],
        [Cell("tumour size: mean error, mm"), interval(size["error"]), Cell(size["reason"])],
    ]
    return Table(("Reading", "Figure", ""), rows, (source,), "What the readings are worth")
