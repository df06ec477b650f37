"""The sections about what synthetic cases are good for: HU per organ, and segmenters by arm."""

from collections.abc import Mapping, Sequence
from typing import Any

from guidegen.report.blocks import Cell, Chart, Charts, Notice, Part, Table, count, interval, number, read_interval
from guidegen.report.charts import draw_intervals, draw_lines
from guidegen.report.data_parts import MISSING
from guidegen.report.study_tables import StudyTables, read_curves


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
        organ.replace("_", " "): [read_interval(row[name]) for name in compared]
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
    if data := measured.get("data"):
        part.blocks.append(Notice(data["line"], "warning" if data["phantoms"] else "info"))
    part.blocks += [Notice(f"Arm “{arm}” has no scores: {why}.") for arm, why in measured.get("left_out", {}).items()]
    if not arms:
        return part
    shown = {
        organ.replace("_", " "): [read_interval(dice[arm][organ]) for arm in arms]
        for organ in dice[arms[0]]
        if any(dice[arm][organ]["value"] is not None for arm in arms)
    }
    part.blocks.append(Chart(draw_intervals(shown, arms, "Dice", 0.0, 1.0), arms, (source,)))
    part.blocks += _tabulate_claims(measured.get("claims", ()), source)
    part.blocks.append(_tabulate_arms(measured, arms, source))
    part.blocks += _tabulate_seeds(measured.get("seeds", {}), source)
    pairs = list(measured["differences"]["dice"])
    rows = [
        [Cell(organ.replace("_", " ")), *(interval(measured["differences"]["dice"][pair][organ]) for pair in pairs)]
        for organ in dice[arms[0]]
    ]
    if pairs:
        part.blocks.append(Table(("Structure", *pairs), rows, (source,), "Dice, paired difference between arms"))
    for name, external in measured.get("external", {}).items():
        dice = external["arms"]["dice"]
        rows = [
            [Cell(organ.replace("_", " ")), *(interval(dice[arm][organ]) for arm in dice)]
            for organ in next(iter(dice.values()))
        ]
        title = f"Dice on the external set “{name}” ({external['cases']} cases)"
        part.blocks.append(Table(("Structure", *dice), rows, (source,), title))
    part.blocks += list_published(measured, source)
    charts = []
    for arm in arms:
        path = f"results/segmentation/{arm}/curves.csv"
        curves = read_curves(tables.study.root / path)
        if curves:
            charts.append(Chart(draw_lines(curves, "step", "loss"), list(curves), (path,), f"Training, arm “{arm}”"))
    part.blocks.append(Charts(charts))
    return part


def _tabulate_claims(claims: Sequence[Mapping[str, Any]], source: str) -> list[Table]:
    words = {
        "share": "synthetic cases alone reach {:.0%} of the Dice of {}",
        "non-inferiority": "with synthetic cases no worse than {1} by more than {0:.3g} Dice",
    }
    styles = {"shown": "good", "not shown": "warn", "missed": "bad"}
    rows = [
        [
            *(Cell(row["variant"]), Cell(words[row["claim"]].format(abs(row["threshold"]), row["against"]))),
            *(interval(row["figure"]), Cell(row["verdict"], style=f"badge {styles[row['verdict']]}")),
        ]
        for row in claims
    ]
    note = "Thresholds as in the config. Shown: the whole interval holds the claim; missed: not even the figure does."
    return [Table(("Arm", "Claim", "Ratio or difference", "Verdict"), rows, (source,), "Claims", note)] if rows else []


def _tabulate_seeds(seeds: Mapping[str, Mapping[str, Sequence[float | None]]], source: str) -> list[Table]:
    """Mean Dice over organs of each training, where an arm was trained more than once."""
    dice = seeds.get("dice", {})
    most = max((len(values) for values in dice.values()), default=0)
    if most < 2:
        return []
    rows = [
        [Cell(name), *(number(values[k] if k < len(values) else None) for k in range(most))]
        for name, values in dice.items()
    ]
    columns = ("Arm", *(f"Training {k + 1}" for k in range(most)))
    return [Table(columns, rows, (source,), "Dice over organs of each training")]


def list_published(measured: Mapping[str, Any], source: str) -> list[Table]:
    """Return the paper's own figures, for comparison."""
    published = measured.get("published")
    if not published:
        return []
    rows = [
        [Cell(row["what"]), Cell(row["data"]), Cell(row["measure"]), Cell(row["system"]), number(row["value"], 4)]
        for row in published["figures"]
    ]
    columns = ("What", "Data", "Measure", "System", "Value")
    return [Table(columns, rows, (source,), "What the paper reports", f"Figures {published['source']}.")]


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
