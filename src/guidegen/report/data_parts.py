"""The first and the last section: what the study is, and where its data come from."""

from guidegen import __version__
from guidegen.atomic import hash_file
from guidegen.report.blocks import Cell, Fact, Facts, Notice, Part, RunFacts, Table
from guidegen.report.study_tables import StudyTables

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
    ]
    cells = [[Cell(name), Cell(value), Cell(source, href=source)] for name, value, source in rows]
    part = Part(
        "summary", "Summary", "From clinical CT and a sentence to pairs of CT and label map, and what they are worth."
    )
    if tables.phantom:
        part.blocks.append(Notice(PHANTOM_WARNING, "warning"))
    part.blocks += [
        Facts(facts),
        Table(("What", "Value", "File"), cells, ("config/config.yaml",), "The study"),
        RunFacts(),
    ]
    return part


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
    part.blocks.append(_list_lineage())
    text = "The method follows Dai, Zhang, Yu and Zhang, GuideGen (AAAI-26, arXiv 2403.07247)."
    part.blocks.append(Notice(text))
    return part


def _list_lineage() -> Table:
    """Where to ask how a file came to be."""
    rows = [
        ("which series were used, and which were left out why", "data/index/", ""),
        ("what a job read and made, by hash; code, config, seed, machine, times", "results/provenance/", ""),
        ("series, licences and DOIs behind a file that this page links to", "", "guidegen version explain FILE"),
        ("whether every file is what its manifest says, and leads back to the index", "", "guidegen version verify"),
        ("all of it as a Workflow Run RO-Crate", "", "guidegen version export --ro-crate --out FOLDER"),
    ]
    cells = [[Cell(what), Cell(place, href=place), Cell(command)] for what, place, command in rows]
    return Table(("To learn", "Look in", "Or ask"), cells, ("results/provenance/",), "Lineage")
