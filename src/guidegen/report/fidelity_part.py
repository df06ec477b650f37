"""The section about fidelity, diversity and memorisation of the synthetic sets."""

from collections.abc import Mapping, Sequence
from typing import Any

from guidegen.report.blocks import Cell, Notice, Part, Table, count, interval, number
from guidegen.report.data_parts import MISSING
from guidegen.report.downstream_parts import list_published
from guidegen.report.study_tables import StudyTables

FIDELITY, MEMORISATION = "results/evaluation/fidelity.json", "results/evaluation/memorisation.json"
NAMES = {
    **{f"fid_{plane}": f"FID, {plane} slices" for plane in ("sagittal", "coronal", "axial")},
    "fid_3d": "FID, whole volumes",
    "fvd": "FVD, stacks of axial slices",
    **{f"label_fid_{plane}": f"FID of label maps, {plane} slices" for plane in ("sagittal", "coronal", "axial")},
    "hu_distance": "HU per class (Wasserstein-1)",
    "presence": "presence of classes",
    "volume": "volume of classes",
    "centroid": "place of classes",
    "adjacency": "neighbours of classes",
    "ms_ssim": "diversity: MS-SSIM of pairs within the set",
    "lpips": "LPIPS to the real case of the prompt",
}
KINDS = {"ct": "CT", "labels": "label map"}


def describe_fidelity(tables: StudyTables) -> Part:
    """How near the sets come to real cases, beside the floor, and whether they copied any."""
    lead = (
        "Every set against the real test cases. The floor is the same measure for as many real training cases: a set "
        "that is as good as real data reaches its floor, not 0."
    )
    part = Part("fidelity", "Fidelity, diversity, memorisation", lead)
    measured, copies = tables.read_json(FIDELITY), tables.read_json(MEMORISATION)
    if not measured and not copies:
        part.blocks.append(Notice(MISSING))
        return part
    if measured:
        part.blocks += [*_describe_measures(measured), *list_published(measured, FIDELITY)]
    if copies:
        part.blocks += _describe_copies(copies, tables.study.config.report.table_rows)
    return part


def _describe_measures(measured: Mapping[str, Any]) -> list[Notice | Table]:
    sets: Mapping[str, Any] = measured["sets"]
    blocks: list[Notice | Table] = [
        Notice(f"Set “{name}” has no figures: {why}.", "warning") for name, why in measured["left_out"].items()
    ]
    if not sets:
        return blocks
    keys = list(dict.fromkeys(key for entry in sets.values() for key in entry["measures"]))
    rows = [
        [
            Cell(NAMES.get(key) or key),
            Cell(next(e["measures"][key]["set"]["unit"] for e in sets.values() if key in e["measures"])),
            *(interval(e["measures"].get(key, {}).get(side)) for e in sets.values() for side in ("set", "floor")),
        ]
        for key in keys
    ]
    columns = ("Measure", "Unit", *(text for name in sets for text in (f"set “{name}”", f"floor of “{name}”")))
    networks = measured["protocol_features"]
    sizes = ", ".join(f"{entry['cases']} cases of “{name}”" for name, entry in sets.items())
    tested = next(iter(sets.values()))["real_test_cases"]
    note = (
        f"{sizes} against {tested} real test cases. Features of slices: {networks['planes']}; of volumes: "
        f"{networks['volume']}; of stacks: {networks['clips']}. 95 % intervals by jackknife; of a floor: its draws. "
        "MS-SSIM above its floor means less variety than real cases have."
    )
    blocks.append(Table(columns, rows, (FIDELITY,), "Distance to real test cases", note))
    for name, entry in sets.items():
        blocks.append(_tabulate_classes(name, entry["classes"]))
    return blocks


def _tabulate_classes(name: str, classes: Mapping[str, Any]) -> Table:
    measures = list(next(iter(classes.values())))
    rows = [
        [
            Cell(organ.replace("_", " ")),
            *(number(values[measure][side]) for measure in measures for side in ("set", "floor")),
        ]
        for organ, values in classes.items()
    ]
    columns = ("Class", *(text for m in measures for text in (NAMES.get(m) or m, "floor")))
    return Table(columns, rows, (FIDELITY,), f"By class, set “{name}”")


def _describe_copies(copies: Mapping[str, Any], limit: int) -> list[Notice | Table]:
    blocks: list[Notice | Table] = [
        Notice(f"Set “{name}” was not searched for copies: {why}.", "warning")
        for name, why in copies["left_out"].items()
    ]
    if not copies["sets"]:
        return blocks
    found = {name: entry["memorised_cases"] for name, entry in copies["sets"].items() if entry["memorised_cases"]}
    for name, cases in found.items():
        listed = ", ".join(cases[:8]) + (" …" if len(cases) > 8 else "")
        text = f"{len(cases)} cases of set “{name}” are nearer to a training case than strangers come: {listed}."
        blocks.append(Notice(text, "alarm"))
    if not found:
        blocks.append(Notice("No generated case is nearer to a training case than the threshold allows."))
    rows = [
        [Cell(f"set “{name}”"), count(entry["cases"]), *_show_distances(entry), interval(entry["memorised"])]
        for name, entry in copies["sets"].items()
    ]
    held_out = copies["held_out"]
    rows.append(
        [Cell("real held-out cases"), count(held_out["cases"]), *_show_distances(held_out), Cell("–", None, "number")]
    )
    limits = copies["thresholds"]
    note = f"Threshold: {limits['ct']:.3g} HU or {limits['labels']:.3g} of the labelled voxels."
    columns = (
        "Cases",
        "n",
        "CT: distance to the nearest training case, HU",
        "Label map: the same, share",
        "Memorised, share",
    )
    blocks.append(Table(columns, rows, (MEMORISATION,), "Copies of training cases", note))
    blocks.append(_tabulate_nearest(copies["cases"], limit))
    return blocks


def _show_distances(entry: Mapping[str, Any]) -> list[Cell]:
    return [interval(entry[kind]) for kind in KINDS]


def _tabulate_nearest(cases: Sequence[Mapping[str, Any]], limit: int) -> Table:
    nearest = sorted(cases, key=lambda row: (not row["memorised"], row["labels_distance"]))[:limit]
    rows = [
        [
            *(Cell(row["set"]), Cell(row["case"]), Cell("memorised" if row["memorised"] else "new", style=_style(row))),
            *(cell for kind in KINDS for cell in (Cell(row[f"{kind}_nearest"]), number(row[f"{kind}_distance"]))),
        ]
        for row in nearest
    ]
    columns = ("Set", "Case", "", *(text for k in KINDS.values() for text in (f"Nearest by {k}", "Distance")))
    note = f"{len(cases) - limit} more are in the file." if len(cases) > limit else ""
    return Table(columns, rows, (MEMORISATION,), "The nearest training case of each generated one", note)


def _style(row: Mapping[str, Any]) -> str:
    return "badge bad" if row["memorised"] else "badge good"
