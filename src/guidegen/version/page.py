"""The result of a verification as one HTML file for people."""

import time
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from guidegen.atomic import write_text
from guidegen.provenance import describe_code, describe_commit
from guidegen.study import Study
from guidegen.version.findings import Verification


def write_verification(path: Path, study: Study, result: Verification) -> None:
    """Write the page; it opens offline and holds no picture and no script."""
    text = (files("guidegen.version") / "assets" / "verification.html.j2").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    page = environment.from_string(text).render(
        name=study.config.study.name,
        date=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        commit=describe_commit(study.root),
        code=describe_code(),
        result=result,
        errors=result.errors,
        warnings=[finding for finding in result.findings if finding.warning],
    )
    write_text(path, page)
