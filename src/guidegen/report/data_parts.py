"""The sections about data: summary, cohort, sources."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from guidegen import __version__
from guidegen.atomic import hash_file
from guidegen.report.blocks import Cell, Chart, Charts, Fact, Facts, Notice, Part, Table, count, number
from guidegen.report.charts import draw_bars
from guidegen.report.study_tables import StudyTables, clean_number, count_by

PHANTOM_WARNING = (
    "Phantom data: these are parametric torsos, not patients. No figure on this page says anything about people."
)
MISSING = "This phase has not been run yet, so there is nothing to show."


def describe_summary(tables: StudyTables) -> Part:
    """What the study is, on what data, and how much came out."""
    study = tables.study
    config = study.config.study
    used = [row for row in tables.cohort if row["status"] == "ok"]
    generated = [row for name in tables.find("results/synthetic/*/s*.tsv") for row in tables.read(name)]
    facts = [
        Fact(str(len(study.collections)), "collections", "config/config.yaml"),
        Fact(str(len({row["patient"] for row in used})), "patients in the cohort", "data/cohort/cohort.tsv"),
        Fact(str(sum(row["has_ct"] == "true" for row in used)), "CT volumes", "data/cohort/cohort.tsv"),
        Fact(str(sum(row["has_labels"] == "true" for row in used)), "label maps", "data/cohort/cohort.tsv"),
        Fact(str(sum(r["status"] == "ok" for r in generated)), "generated pairs", "results/synthetic/"),
    ]
    rows = [
        ("Study", config.name, "config/config.yaml"),
        ("Collections", ", ".join(c.name for c in study.collections.values()), "config/collections.tsv"),
        (
            "Label grid",
            f"{study.config.prepare.grid}³ voxels, CT {2 * study.config.prepare.grid}³",
            "config/config.yaml",
        ),
        ("Seed, threads", f"{config.seed}, {config.threads}", "config/config.yaml"),
        ("Config (sha256)", hash_file(study.root / "config" / "config.yaml")[:16], "config/config.yaml"),
        ("GuideGen", __version__, ""),
        ("Who ran what, when, for how long", "one file per job", "results/provenance/"),
    ]
    cells = [[Cell(name), Cell(value), Cell(source, href=source)] for name, value, source in rows]
    part = Part(
        "summary", "Summary", "From clinical CT and a sentence to pairs of CT and label map, and what they are worth."
    )
    if tables.phantom:
        part.blocks.append(Notice(PHANTOM_WARNING, "warning"))
    part.blocks += [Facts(facts), Table(("What", "Value", "File"), cells, ("config/config.yaml",), "This run")]
    return part


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
        Chart(_draw_by(used, "phase", "split"), _name_values(used, "split"), source, "Contrast phase by split"),
    ]
    part.blocks.append(Charts([chart for chart in charts if chart.svg]))
    part.blocks.append(_describe_people(tables, used))
    return part


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
        rows.append([Cell(collection.name), Cell(collection.site), *map(count, counts)])
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


def describe_sources(tables: StudyTables) -> Part:
    """Where the data come from and how to cite them."""
    lead = "Use of the data follows the licence of each collection; please cite them."
    part = Part("sources", "Provenance and citations", lead)
    if tables.phantom:
        text = "The collections carry the names of real ones, but hold phantoms: cite the real ones only for real data."
        part.blocks.append(Notice(text, "warning"))
    rows = []
    for name, collection in tables.study.collections.items():
        index = tables.index[name]
        licences = sorted({row["licence"] for row in index if row["licence"]}) or [collection.licence]
        versions = sorted({f"{r.get('source', '')} {r.get('source_version', '')}".strip() for r in index})
        doi = Cell(collection.doi or "–", href=f"https://doi.org/{collection.doi}" if collection.doi else "")
        table = f"data/index/{name}.tsv"
        cells = (Cell(collection.name), Cell(", ".join(licences)), doi, Cell(", ".join(versions)))
        rows.append([*cells, Cell(table, href=table)])
    part.blocks.append(Table(("Collection", "Licence", "DOI", "Source", "Index"), rows, ("data/index/",)))
    text = (
        "The method follows Dai, Zhang, Yu and Zhang, GuideGen (AAAI-26, arXiv 2403.07247). "
        "Lineage of every file: results/provenance/, one file per job."
    )
    part.blocks.append(Notice(text))
    return part
