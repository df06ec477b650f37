"""Puts the sections together into one HTML file."""

import os
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from guidegen.atomic import write_text
from guidegen.progress import track_progress
from guidegen.report.blocks import Part
from guidegen.report.case_parts import describe_prompts, describe_quality, describe_synthetic
from guidegen.report.data_parts import describe_cohort, describe_sources, describe_summary
from guidegen.report.result_parts import (
    describe_adherence,
    describe_intensity,
    describe_segmentation,
    describe_training,
)
from guidegen.report.study_tables import StudyTables
from guidegen.study import Study

PARTS = (
    describe_summary,
    describe_cohort,
    describe_quality,
    describe_prompts,
    describe_training,
    describe_synthetic,
    describe_adherence,
    describe_intensity,
    describe_segmentation,
    describe_sources,
)
INPUTS = ("data/index/*.tsv", "data/ct/*/*.tsv", "data/mask/*/*.tsv", "data/text/*.tsv", "data/cohort/*.tsv")
INPUTS += (
    "results/models/*.tsv",
    "results/synthetic/*/*.tsv",
    "results/segmentation/*.tsv",
    "results/evaluation/*.json",
)


def output_file(study: Study) -> Path:
    """The page."""
    return study.root / "results" / "report" / "index.html"


def list_inputs(study: Study) -> list[Path]:
    """Tables that the page shows."""
    return [path for pattern in INPUTS for path in sorted(study.root.glob(pattern))]


def write_report(study: Study) -> Path:
    """Write `results/report/index.html` and return its path.

    The page holds style, script and pictures; the only addresses in it are citations and links to the study's files.
    """
    tables = StudyTables(study)
    parts: list[Part] = []
    with track_progress("report", len(PARTS), "sections") as advance:
        for describe in PARTS:
            parts.append(describe(tables))
            advance(1, parts[-1].title)
    path = output_file(study)
    write_text(path, render_page(study, parts, tables.phantom))
    return path


def render_page(study: Study, parts: list[Part], phantom: bool) -> str:
    """Render the template with style and script inside."""
    assets = files("guidegen.report") / "assets"
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    template = environment.from_string((assets / "page.html.j2").read_text(encoding="utf-8"))
    up = os.path.relpath(study.root, output_file(study).parent)

    def link(name: str) -> str:
        return name if name.startswith("https://") else f"{up}/{name}"

    return template.render(
        name=study.config.study.name,
        parts=parts,
        phantom=phantom,
        link=link,
        style=Markup((assets / "style.css").read_text(encoding="utf-8")),
        script=Markup((assets / "script.js").read_text(encoding="utf-8")),
        svg=Markup,
    )
