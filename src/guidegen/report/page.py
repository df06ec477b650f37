"""Puts the sections together into one page, with its viewer and the facts of the run beside it."""

import os
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from guidegen.atomic import write_text
from guidegen.progress import track_progress
from guidegen.report.blocks import Cell, Part
from guidegen.report.case_parts import describe_prompts, describe_quality
from guidegen.report.cohort_part import describe_cohort
from guidegen.report.data_parts import describe_sources, describe_summary
from guidegen.report.downstream_parts import describe_intensity, describe_segmentation
from guidegen.report.fidelity_part import describe_fidelity
from guidegen.report.result_parts import describe_adherence, describe_training
from guidegen.report.run_facts import write_run_facts
from guidegen.report.shown_cases import list_viewed
from guidegen.report.study_tables import StudyTables
from guidegen.report.synthetic_part import describe_synthetic
from guidegen.report.viewer_files import FOLDER, LIBRARY, describe_viewer, write_viewer
from guidegen.study import Study

PARTS = (
    describe_summary,
    describe_cohort,
    describe_quality,
    describe_prompts,
    describe_training,
    describe_synthetic,
    describe_adherence,
    describe_fidelity,
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


def list_outputs(study: Study) -> list[Path]:
    """The page and the manifest of what its viewer loads; `run.js` tells of one run and is no output."""
    return [output_file(study), study.manifest(*FOLDER)]


def list_inputs(study: Study) -> list[Path]:
    """Tables that the page shows."""
    return [path for pattern in INPUTS for path in sorted(study.root.glob(pattern))]


def write_report(study: Study) -> Path:
    """Write `results/report/` and return the path of its page, `index.html`.

    The page holds style, scripts and pictures; beside it lie the viewer's files and `run.js`. It loads nothing else:
    the only addresses in it are citations and links to the study's files.

    Raises:
        GuideGenError: a table, a volume or a job's record is damaged.
    """
    tables = StudyTables(study)
    tables.viewer.update(write_viewer(study, list_viewed(tables)))
    parts: list[Part] = []
    with track_progress("report", len(PARTS), "sections") as advance:
        for describe in PARTS:
            parts.append(describe(tables))
            advance(1, parts[-1].title)
    path = output_file(study)
    templates = Templates(study)
    write_run_facts(study, templates.render_table)
    write_text(path, templates.render_page(parts, tables))
    return path


class Templates:
    """The page's templates, with links relative to the page."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.up = os.path.relpath(study.root, output_file(study).parent)
        self.environment = Environment(
            loader=PackageLoader("guidegen.report", "assets"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=StrictUndefined,
        )
        self.environment.globals.update(link=self._link, find_origin=find_origin, svg=Markup)

    def render_page(self, parts: Sequence[Part], tables: StudyTables) -> str:
        """Return the page, with style and scripts inside."""
        assets = files("guidegen.report") / "assets"
        style, script, viewer = (
            Markup((assets / name).read_text(encoding="utf-8")) for name in ("style.css", "script.js", "viewer.js")
        )
        library = tables.viewer[LIBRARY]["path"]
        return self.environment.get_template("page.html.j2").render(
            name=self.study.config.study.name,
            parts=parts,
            phantom=tables.phantom,
            style=style,
            script=script + viewer if library else script,
            library=library and f"{FOLDER[-1]}/{Path(library).name}",
            missing_viewer=not library,
            viewer_facts=Markup(describe_viewer(self.study.labels)),
        )

    def render_table(self, block: Any) -> str:
        """Return one table as a fragment of HTML."""
        text = '{% from "blocks.html.j2" import table with context %}{{ table(block) }}'
        return self.environment.from_string(text).render(block=block, library="", missing_viewer=False)

    def _link(self, name: str) -> str:
        """Return the address of a file of the study, or of the folder that a pattern begins with."""
        return name if name.startswith("https://") else f"{self.up}/{name.partition('*')[0]}"


def find_origin(row: Sequence[Cell], sources: Sequence[str]) -> str:
    """Return the file that the numbers of a row came from: the one that the row names, else the table's first."""
    named = (cell.href for cell in row if cell.href and not cell.href.startswith("https://"))
    return next(named, sources[0] if sources else "")
