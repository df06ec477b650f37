"""The sections about results: training, adherence, intensity, segmentation."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from guidegen.overlay import embed_png
from guidegen.report.blocks import (
    CaseCard,
    Cell,
    Chart,
    Charts,
    Gallery,
    Notice,
    Part,
    Picture,
    Table,
    count,
    interval,
)
from guidegen.report.charts import Interval, draw_intervals, draw_lines, format_number
from guidegen.report.data_parts import MISSING
from guidegen.report.study_tables import StudyTables, read_curves

STAGES = {
    "semantic_synthesizer": "I · semantic synthesizer (prompt → label map)",
    "contrast_autoencoder": "II · contrast-aware autoencoder (CT ↔ latent)",
    "latent_generator": "III · latent generator (prompt + label map → latent)",
}
MAIN_CURVES = ("loss", "held_out")
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
        words = (Cell(figures["measure"]), Cell(figures["baseline_name"]), Cell(source, href=source))
        rows.append([Cell(STAGES.get(stage) or stage), *cells, verdict, *words])
    columns = ("Stage", "Held-out loss", "Baseline", "Difference", "", "Loss", "Baseline is", "File")
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
    cards = []
    for stage, title in STAGES.items():
        source = f"results/models/{stage}/samples.png"
        path = tables.study.root / source
        if path.is_file():
            data = path.read_bytes()
            width, height = (int.from_bytes(data[k : k + 4], "big") for k in (16, 20))
            picture = Picture(f"samples of {stage}", width, height, embed_png(data), "", "")
            cards.append(CaseCard(title, [("samples at the end of training", [picture])], sources=(source,)))
    return [Gallery(cards)] if cards else []


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
    ignored = [name for name, entry in attributes.items() if entry["verdict"] == "ignored"]
    if ignored:
        text = f"The text is ignored for: {', '.join(ignored)}. Shuffled prompts do as well as the true ones."
        part.blocks.append(Notice(text, "alarm"))
    if not measured["numeric_conditions_empty"]:
        part.blocks.append(Notice("Numeric conditions were given, so not only the text could act.", "alarm"))
    if measured["redrawn"]:
        text = f"{measured['redrawn']} cases were drawn again after a failed gate, which favours the true prompts."
        part.blocks.append(Notice(text, "warning"))
    names = ("true prompts", "shuffled prompts", "real held-out cases")
    chosen = {
        name: [_read_interval(entry[key]) for key in ("true", "control")] + [_read_interval(entry["real"]["true"])]
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
                Cell(entry["measure"], style="wide"),
            ]
        )
    columns = ("Attribute", "Requests", "True", "Shuffled", "Difference", "Verdict", "Real cases", "p", "Measure")
    note = "In brackets: 95 % intervals from the patient bootstrap; p from permutations of the requests."
    part.blocks.append(Table(columns, rows, (source,), "Requested against measured", note))
    return part


def _read_interval(figure: Mapping[str, Any]) -> Interval:
    return Interval(figure["value"], figure["low"], figure["high"])


def describe_intensity(tables: StudyTables) -> Part:
    """HU per organ, generated against real."""
    lead = "Median HU per organ, averaged over cases. The floor is what real training and real test cases differ by."
    part = Part("intensity", "HU per organ", lead)
    source = "results/evaluation/intensity.json"
    measured = tables.read_json(source)
    if not measured:
        part.blocks.append(Notice(MISSING))
        return part
    compared = list(measured["mean_absolute"])
    shown = {
        organ.replace("_", " "): [_read_interval(row[name]) for name in compared]
        for organ, row in measured["differences"].items()
        if any(row.get(name, {}).get("value") is not None for name in compared)
    }
    names = ["real train (floor)" if name == "floor" else f"set “{name}”" for name in compared]
    label = "difference of the median HU to real test cases"
    part.blocks.append(Chart(draw_intervals(shown, names, label), names, (source,)))
    total = [interval(measured["mean_absolute"][name]) for name in compared]
    rows = [
        [Cell(organ.replace("_", " ")), *(interval(row.get(name)) for name in compared)]
        for organ, row in measured["differences"].items()
    ]
    rows.append([Cell("mean of absolute values", "\uffff", "total"), *total])
    part.blocks.append(Table(("Organ", *names), rows, (source,), "Difference to real test cases, HU"))
    groups = list(next(iter(measured["organs"].values())))
    rows = [
        [Cell(organ.replace("_", " ")), *(interval(row[name]) for name in groups)]
        for organ, row in measured["organs"].items()
    ]
    part.blocks.append(Table(("Organ", *groups), rows, (source,), "Median HU, averaged over cases"))
    return part


def describe_segmentation(tables: StudyTables) -> Part:
    """Segmenters by arm on the same real test patients."""
    lead = (
        "Segmenters trained on real, on synthetic and on both, judged on the same real test patients. A missed "
        "structure scores Dice 0 and the longest possible distance; what is absent in both is left out, as n says."
    )
    part = Part("segmentation", "Segmentation", lead)
    source = "results/evaluation/segmentation.json"
    measured = tables.read_json(source)
    if not measured:
        part.blocks.append(Notice(MISSING))
        return part
    arms = measured["arms_order"]
    dice = measured["arms"]["dice"]
    part.blocks += [Notice(f"Arm “{arm}” has no scores: {why}.") for arm, why in measured.get("left_out", {}).items()]
    if not arms:
        return part
    shown = {
        organ.replace("_", " "): [_read_interval(dice[arm][organ]) for arm in arms]
        for organ in dice[arms[0]]
        if any(dice[arm][organ]["value"] is not None for arm in arms)
    }
    part.blocks.append(Chart(draw_intervals(shown, arms, "Dice", 0.0, 1.0), arms, (source,)))
    part.blocks.append(_tabulate_arms(measured, arms, source))
    pairs = list(measured["differences"]["dice"])
    rows = [
        [Cell(organ.replace("_", " ")), *(interval(measured["differences"]["dice"][pair][organ]) for pair in pairs)]
        for organ in dice[arms[0]]
    ]
    if pairs:
        part.blocks.append(Table(("Structure", *pairs), rows, (source,), "Dice, paired difference between arms"))
    charts = []
    for arm in arms:
        path = f"results/segmentation/{arm}/curves.csv"
        curves = read_curves(tables.study.root / path)
        if curves:
            charts.append(Chart(draw_lines(curves, "step", "loss"), list(curves), (path,), f"Training, arm “{arm}”"))
    part.blocks.append(Charts(charts))
    return part


def _tabulate_arms(measured: Mapping[str, Any], arms: Sequence[str], source: str) -> Table:
    titles = {"dice": "Dice", "hd95": "HD95, mm", "surface_dice": "surface Dice"}
    rows = [
        [
            Cell(organ.replace("_", " ")),
            count(measured["arms"]["dice"][arms[0]][organ]["n"]),
            *(interval(measured["arms"][metric][arm][organ]) for metric in titles for arm in arms),
        ]
        for organ in measured["arms"]["dice"][arms[0]]
    ]
    columns = ("Structure", "n", *(f"{title}, {arm}" for title in titles.values() for arm in arms))
    note = f"{measured['patients']} test patients; surface Dice at {measured['surface_tolerance_mm']:g} mm."
    return Table(columns, rows, (source,), "All metrics", note)
