"""Data card and model cards: what a reader must know before using data or models, filled from the run itself."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from guidegen.export.licences import RELEASE_LICENCE
from guidegen.export.release import Release, count_by_split, list_citations, write_folder
from guidegen.report.study_tables import count_by
from guidegen.tables import read_tsv

STAGES = {
    "semantic_synthesizer": "Draws a label map of the torso from a prompt (categorical diffusion over 3D label maps).",
    "contrast_autoencoder": "Encodes a CT volume into a small latent and decodes it, helped by the label map.",
    "latent_generator": "Draws the latent of a CT volume from a label map and a prompt.",
}
FIGURES = ("value", "low", "high")


def export_cards(release: Release, out: Path) -> int:
    """Write `DATA_CARD.md` and one `MODEL_CARD_<stage>.md` per trained stage into `out`; return the number of cards.

    Raises:
        GuideGenError: `out` is not empty.
    """
    with write_folder(out) as folder:
        write_data_card(release, folder / "DATA_CARD.md")
        trained = [stage for stage in STAGES if _locate_model(release, stage).is_file()]
        for stage in trained:
            text = render_template("model_card.md", _describe_model(release, stage))
            (folder / f"MODEL_CARD_{stage}.md").write_text(text, encoding="utf-8")
    return 1 + len(trained)


def write_data_card(release: Release, path: Path) -> None:
    """Write the data card of a run."""
    cohort = [row for row in release.tables.cohort if row["status"] == "ok"]
    rest = [row for row in release.tables.cohort if row["status"] != "ok"]
    ages = sorted(float(row["age"]) for row in cohort if row["age"])
    left_out = Counter(
        row["criterion"] for rows in release.tables.excluded.values() for row in rows if row.get("criterion")
    )
    facts = {
        **_share_facts(release),
        "splits": count_by_split(release.tables.cohort),
        "patients": len({row["patient"] for row in cohort}),
        "cases": len(cohort),
        "with_ct": sum(row["has_ct"] == "true" for row in cohort),
        "with_labels": sum(row["has_labels"] == "true" for row in cohort),
        "tumours": sum(row["tumour_annotated"] == "true" for row in cohort),
        "sex": dict(sorted(count_by(cohort, "sex").items())),
        "phase": dict(sorted(count_by(cohort, "phase").items())),
        "ages": (ages[0], ages[len(ages) // 2], ages[-1]) if ages else None,
        "left_out": dict(sorted(left_out.items())),
        "not_used": dict(sorted(Counter(f"{row['status']}: {row['reason'].split(':')[0]}" for row in rest).items())),
        "backends": release.study.config.mask,
        "sets": [facts for name in release.study.config.synthesize.sets if (facts := _describe_set(release, name))],
        "classes": [entry.name for entry in release.study.labels.classes[1:]],
    }
    path.write_text(render_template("data_card.md", facts), encoding="utf-8")


def render_template(name: str, facts: Mapping[str, Any]) -> str:
    """Return a filled template of `templates/`; a fact that it asks for and does not get is an error."""
    loader = PackageLoader("guidegen.export")
    environment = Environment(loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["figure"] = format_figure
    return environment.get_template(name).render(facts).rstrip() + "\n"


def format_figure(figure: Mapping[str, Any] | None) -> str:
    """Return `0.81 (0.76 to 0.85)`, as far as the figure has them."""
    if not figure or figure["value"] is None:
        return "not computable"
    value, low, high = (figure[name] for name in FIGURES)
    return f"{value:.3g}" + (f" ({low:.3g} to {high:.3g})" if low is not None else "")


def _share_facts(release: Release) -> dict[str, Any]:
    return {
        "memorised": bool(release.tables.read_json("results/evaluation/memorisation.json")),
        "release": release,
        "study": release.study.config.study,
        "sources": release.sources,
        "citations": list_citations(release.sources),
        "phantom": release.tables.phantom,
        "forbidding": {source.collection: source.forbids for source in release.sources if source.forbids},
        "licence": RELEASE_LICENCE,
    }


def _describe_set(release: Release, name: str) -> dict[str, Any]:
    """Return size, status and gate results of a synthetic set, nothing where it was not made."""
    folder = release.study.root / "results" / "synthetic" / name
    shards = [path for path in sorted(folder.glob("*.tsv")) if path.name != "prompts.tsv"]
    rows = [row for path in shards for row in read_tsv(path, ("case", "status", "gates", "attempts"))]
    if not rows:
        return {}
    passed: dict[str, Counter[str]] = {}
    for row in rows:
        for gate, result in json.loads(row["gates"]).items():
            told = {True: "passed", False: "failed", None: "not applicable"}[result]
            passed.setdefault(gate, Counter())[told] += 1
    settings = release.study.config.synthesize.sets[name]
    return {
        "name": name,
        "split": settings.split,
        "reject": settings.reject,
        "status": dict(sorted(count_by(rows, "status").items())),
        "attempts": sum(int(row["attempts"]) for row in rows) / len(rows),
        "gates": {gate: dict(sorted(counts.items())) for gate, counts in sorted(passed.items())},
    }


def _locate_model(release: Release, stage: str) -> Path:
    return release.study.root / "results" / "models" / stage / "model.json"


def _describe_model(release: Release, stage: str) -> dict[str, Any]:
    path = _locate_model(release, stage)
    files = {row["case"]: row for row in read_tsv(path.parents[1] / f"{stage}.tsv", ("case", "bytes", "sha256"))}
    training = [row for row in release.tables.cohort if row["status"] == "ok" and row["split"] == "train"]
    evaluated = release.tables.read_json("results/evaluation/training.json").get("stages", {}).get(stage, {})
    adherence = release.tables.read_json("results/evaluation/adherence.json").get("attributes", {})
    return {
        **_share_facts(release),
        "stage": stage,
        "purpose": STAGES[stage],
        "model": json.loads(path.read_text(encoding="utf-8")),
        "weights": files["model.safetensors"],
        "training": dict(sorted(count_by(training, "collection").items())),
        "patients": len({row["patient"] for row in training}),
        "evaluated": evaluated,
        "adherence": adherence if stage != "contrast_autoencoder" else {},
    }
