"""The part of the graph from the cohort to the report."""

import json
from collections.abc import Iterable

from guidegen.manifest import BASE_COLUMNS
from guidegen.stages import NEEDS, NETWORKS
from guidegen.study import Study
from guidegen.synthesize.plan import PLAN_COLUMNS
from guidegen.version.graph import Node, StudyGraph
from guidegen.version.graph_data import add_table, name_files, read_rows

ARRAYS = "data/cohort/arrays.tsv"
PROMPTS = "data/cohort/text/prompts.tsv"
MODELS = "results/models"
WEIGHTS = ("model.safetensors", "model.json")


def add_results(study: Study, graph: StudyGraph) -> None:
    """Add everything below `results/`."""
    arrays = graph.find("arrays")
    for stage in ("semantic_synthesizer", "contrast_autoencoder"):
        _add_stage(study, graph, stage, [*_select(arrays, stage), *_select_prompts(graph, arrays, stage)])
    _add_latents(study, graph)
    latents = [f"{MODELS}/latents.tsv#{key.partition('#')[2]}" for key in _select(arrays, "latent_generator")]
    autoencoder = f"{MODELS}/contrast_autoencoder.tsv#model"
    prompts = _select_prompts(graph, arrays, "latent_generator")
    origins = [autoencoder, *latents, *_select(arrays, "latent_generator"), *prompts]
    _add_stage(study, graph, "latent_generator", origins)
    for folder in sorted((study.root / "results" / "synthetic").glob("*/")):
        _add_set(study, graph, folder.name)
    for manifest in sorted((study.root / "results" / "segmentation").glob("*.tsv")):
        _add_arm(study, graph, manifest.stem)
    _add_evaluation(study, graph)
    _add_report(study, graph)


def _find_nodes(arrays: Iterable[Node], split: str, wanted: Iterable[str]) -> list[Node]:
    names = set(wanted)
    return [node for node in arrays if node.facts["split"] == split and names <= set(node.facts["has"])]


def _select(arrays: Iterable[Node], stage: str) -> list[str]:
    return [node.key for node in _find_nodes(arrays, "train", NEEDS[stage])]


def _select_prompts(graph: StudyGraph, arrays: Iterable[Node], stage: str) -> list[str]:
    """Prompts that condition a stage; the autoencoder reads none."""
    if stage == "contrast_autoencoder":
        return []
    return [f"{PROMPTS}#{key.partition('#')[2]}" for key in _select(arrays, stage)]


def _add_stage(study: Study, graph: StudyGraph, stage: str, origins: list[str]) -> None:
    """Weights come from training cases; figures and pictures beside them from held-out ones, too."""
    manifest = f"{MODELS}/{stage}.tsv"
    files = {row["case"]: name_files(row) for row in read_rows(study.root / manifest)}
    if not files:
        return
    weights, others = [n for n in files if n in WEIGHTS], [n for n in files if n not in WEIGHTS]
    cases = len({key.partition("#")[2] for key in origins if key.startswith(ARRAYS)})
    model = Node(f"{manifest}#model", "model", _gather(files, weights), facts={"stage": stage, "training_cases": cases})
    graph.add(model, origins)
    held_out = _read_held_out(study, stage)
    tested = [f"{ARRAYS}#{case}" for case in held_out]
    tested += [] if stage == "contrast_autoencoder" else [f"{PROMPTS}#{case}" for case in held_out]
    facts = {"stage": stage, "held_out_cases": len(held_out)}
    loss = Node(f"{manifest}#held_out", "held-out loss", _gather(files, others), facts=facts)
    graph.add(loss, [model.key, *tested])
    add_table(graph, manifest, [model.key, loss.key])


def _gather(files: dict[str, tuple[str, ...]], names: Iterable[str]) -> tuple[str, ...]:
    ordered = sorted(names, key=lambda name: (name != WEIGHTS[0], name != "held_out.json", name))
    return tuple(path for name in ordered for path in files[name])


def _read_held_out(study: Study, stage: str) -> list[str]:
    path = study.root / MODELS / stage / "held_out.json"
    try:
        return json.loads(path.read_text(encoding="utf-8")).get("cases", [])
    except (OSError, ValueError, AttributeError):
        return []  # verification names a damaged file; what it said of itself is lost


def _add_latents(study: Study, graph: StudyGraph) -> None:
    manifest = f"{MODELS}/latents.tsv"
    keys = []
    for row in read_rows(study.root / manifest):
        arrays = f"{ARRAYS}#{row['case']}"
        owner = graph.nodes[arrays].patient if arrays in graph.nodes else ""
        keys.append(f"{manifest}#{row['case']}")
        graph.add(
            Node(keys[-1], "latents", name_files(row), owner), [arrays, f"{MODELS}/contrast_autoencoder.tsv#model"]
        )
    add_table(graph, manifest, keys)


def _add_set(study: Study, graph: StudyGraph, name: str) -> None:
    plan = f"results/synthetic/{name}/prompts.tsv"
    requests = read_rows(study.root / plan, PLAN_COLUMNS)
    for row in requests:
        facts = {part: row[part] for part in ("prompt", "source_case", "split", "seed") if row[part]}
        source = row["source_case"]
        graph.add(
            Node(f"{plan}#{row['case']}", "requested prompt", facts=facts),
            [f"{PROMPTS}#{source}", f"data/cohort/cohort.tsv#{source}"],
        )
    add_table(graph, plan, (f"{plan}#{row['case']}" for row in requests))
    models = [f"{MODELS}/{stage}.tsv#model" for stage in NETWORKS]
    settings = study.config.synthesize.sets.get(name)
    models += [f"results/segmentation/{settings.segmenter}.tsv#model"] if settings and settings.segmenter else []
    made: list[str] = []
    for path in sorted((study.root / "results" / "synthetic" / name).glob("s*.tsv")):
        manifest = path.relative_to(study.root).as_posix()
        keys = []
        for row in read_rows(path):
            facts = {"set": name} | {
                part: row[part] for part in ("status", "reason", "attempts", "gates") if row.get(part)
            }
            keys.append(f"{manifest}#{row['case']}")
            graph.add(
                Node(keys[-1], "synthetic case", name_files(row), facts=facts), [f"{plan}#{row['case']}", *models]
            )
        add_table(graph, manifest, keys)
        made += keys
    summary = f"results/synthetic/{name}/summary.json"
    if (study.root / summary).is_file():
        graph.add(Node(summary, "summary of a set", (summary,)), made)


def _add_arm(study: Study, graph: StudyGraph, arm: str) -> None:
    manifest = f"results/segmentation/{arm}.tsv"
    rows = read_rows(study.root / manifest, (*BASE_COLUMNS, "role"))
    files = {row["case"]: name_files(row) for row in rows if row["role"] == "model"}
    run = study.config.segment.list_runs().get(arm)
    settings = study.config.segment.arms[run.arm] if run else None
    both = ("ct", "labels")
    arrays = graph.find("arrays")
    origins = [node.key for node in _find_nodes(arrays, "val", both)]
    origins += [node.key for node in _find_nodes(arrays, "train", both)] if settings is None or settings.real else []
    if settings and settings.synthetic:
        origins += [
            node.key
            for node in graph.find("synthetic case")
            if node.facts["set"] == settings.synthetic and node.facts.get("status") == "ok"
        ]
    model = Node(f"{manifest}#model", "segmenter", _gather(files, files), facts={"arm": arm})
    graph.add(model, origins)
    keys = [model.key]
    for row in rows:
        if row["role"] != "model":
            source = f"{ARRAYS}#{row['case']}"
            owner = graph.nodes[source].patient if source in graph.nodes else ""
            keys.append(f"{manifest}#{row['case']}")
            facts = {part: row[part] for part in ("status", "reason") if row[part]} | {"arm": arm}
            graph.add(Node(keys[-1], "prediction", name_files(row), owner, facts), [model.key, source])
    add_table(graph, manifest, keys)


def _add_evaluation(study: Study, graph: StudyGraph) -> None:
    predictions = graph.find("prediction")
    scored = {node.key.partition("#")[2] for node in predictions}
    synthetic, arrays = graph.find("synthetic case"), graph.find("arrays")
    labelled = [node.key for node in arrays if "labels" in node.facts["has"] and node.facts["status"] == "ok"]
    prompts = [f"{PROMPTS}#{key.partition('#')[2]}" for key in labelled]
    asked = [node.key for node in synthetic if node.facts["set"] == study.config.evaluate.adherence_set]
    origins = {
        "training": [node.key for node in graph.find("held-out loss")],
        "segmentation": [*(node.key for node in predictions), *(f"{ARRAYS}#{case}" for case in sorted(scored))],
        "adherence": [*asked, *labelled, *prompts],
        "intensity": [*(node.key for node in synthetic), *labelled],
        "fidelity": [*(node.key for node in synthetic), *labelled],
        "memorisation": [*(node.key for node in synthetic), *labelled],
    }
    for part, keys in origins.items():
        name = f"results/evaluation/{part}.json"
        if (study.root / name).is_file():
            graph.add(Node(name, "evaluation", (name,)), keys)


def _add_report(study: Study, graph: StudyGraph) -> None:
    _add_viewer(study, graph)
    name = "results/report/index.html"
    if (study.root / name).is_file():
        shown = [node.key for node in (*graph.find("evaluation"), *graph.find("table"))]
        graph.add(Node(name, "report", (name,)), shown)


def _add_viewer(study: Study, graph: StudyGraph) -> None:
    """Volumes that the report's viewer opens, each made from a CT and its label map; and the viewer itself."""
    manifest = "results/report/viewer.tsv"
    made: dict[str, list[Node]] = {}
    for node in (*graph.find("CT"), *graph.find("label map"), *graph.find("synthetic case")):
        made.setdefault(node.key.partition("#")[2], []).append(node)
    keys = []
    for row in read_rows(study.root / manifest):
        origins = made.get(row["case"], [])
        owner = origins[0].patient if origins else ""
        keys.append(f"{manifest}#{row['case']}")
        kind = "volume in the report" if origins else "viewer of the report"
        graph.add(Node(keys[-1], kind, name_files(row), owner), [node.key for node in origins])
    if keys:
        add_table(graph, manifest, keys)
