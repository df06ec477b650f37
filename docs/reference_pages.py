"""The reference pages of the site, made from the code when the site is built: the config's keys and the commands.

They are not committed: a page that is made each time cannot drift, and whoever changes a setting has no file to make
again. Outside the site `config/config.yaml` documents every key, and `guidegen COMMAND --help` every option.
"""

import inspect
import json
from collections.abc import Iterator
from typing import Any, get_args

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from pydantic import BaseModel
from pydantic_core import to_jsonable_python
from typer.cli import get_docs_for_click

from guidegen.cli import app
from guidegen.config import StudyConfig

CONFIG_HEAD = """\
# Config

All keys of `config/config.yaml` of a study, with type, default and meaning, from the typed models. A key that is left
out has its default; a wrong key or value is refused with its line and what would be right. `guidegen init` writes the
same into the file itself, with the values of a preset.
"""
LONGEST_DEFAULT = 48


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages; MkDocs calls this."""
    for name, text in (("reference/config.md", render_config_page()), ("reference/cli.md", render_command_page())):
        files.append(File.generated(config, name, content=text))
    return files


def render_config_page() -> str:
    """Return the page of all keys, one table per section."""
    return CONFIG_HEAD + "".join(f"{line}\n" for line in _list_section(StudyConfig, StudyConfig(), ""))


def render_command_page() -> str:
    """Return the page of all commands."""
    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="guidegen")
    return get_docs_for_click(obj=command, ctx=context, name="guidegen", title="Commands")


def _list_section(model: type[BaseModel], values: BaseModel | None, name: str) -> Iterator[str]:
    """Yield the lines of a section and those in it; `values` are its defaults, None in a list or mapping."""
    defaults = {
        key: getattr(values, key) if values else field.get_default(call_default_factory=True)
        for key, field in model.model_fields.items()
    }
    nested = {key: _find_models(field.annotation) for key, field in model.model_fields.items()}
    if not all(nested.values()):
        yield "\n| key | type | default | meaning |\n|---|---|---|---|"
    for key, field in model.model_fields.items():
        if not nested[key]:
            default = "" if field.is_required() else _code(_shorten(defaults[key]))
            cells = (f"`{key}`", _code(_name_type(field.annotation)), default, field.description or "")
            yield "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
    for key, inner in ((key, inner) for key, models in nested.items() for inner in models):
        field, value = model.model_fields[key], defaults[key]
        path = f"{name}.{key}{'.*' if isinstance(value, dict) else '[]' if isinstance(value, list) else ''}".strip(".")
        yield f"\n{'#' * min(2 + path.removesuffix('.*').count('.'), 4)} `{path}`\n"
        yield inspect.cleandoc(field.description or inner.__doc__ or "")
        yield from _list_section(inner, value if isinstance(value, inner) else None, path)


def _find_models(annotation: Any) -> list[type[BaseModel]]:
    """Sections in a type: itself, or what a list, a mapping or a union holds."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _find_models(part)]


def _name_type(annotation: Any) -> str:
    text = annotation.__name__ if inspect.isclass(annotation) and not get_args(annotation) else str(annotation)
    return text.replace("typing.", "").replace("pathlib.", "").replace("NoneType", "None").replace(" | ", " or ")


def _shorten(value: Any) -> str:
    text = json.dumps(to_jsonable_python(value), ensure_ascii=False)
    return text if len(text) <= LONGEST_DEFAULT else "see `config/config.yaml`"


def _code(text: str) -> str:
    return text if "`" in text else f"`{text}`"
