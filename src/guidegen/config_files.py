"""The documented config files and the JSON schema, generated from the config models."""

import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from snakemake.utils import update_config

from guidegen.assets import ASSETS
from guidegen.config import StudyConfig
from guidegen.errors import GuideGenError

HEADER = """\
# {title}
# Every key is shown with its value; a wrong key or value is refused with its line. Schema: config.schema.json of the
# project's workflow/schemas. Written by `guidegen init`, safe to edit.
"""


PRESETS = ASSETS / "config" / "presets"


def load_preset(name: str) -> StudyConfig:
    """Return the defaults with the preset's changes. Raises GuideGenError for an unknown preset; names the known."""
    try:
        return StudyConfig.model_validate(_read_preset(name))
    except ValidationError as error:
        raise GuideGenError(f"{PRESETS / name}.yaml: {error}") from None


def _read_preset(name: str) -> dict[str, Any]:
    """Return the changes of a preset; one that `extends` another has all of that one's, too."""
    path = PRESETS / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in PRESETS.glob("*.yaml")))
        raise GuideGenError(f"no preset '{name}'; known presets: {known}")
    changes = YAML(typ="safe").load(path.read_text(encoding="utf-8")) or {}
    merged = _read_preset(changes.pop("extends")) if "extends" in changes else {}
    update_config(merged, changes)
    return merged


def render_config(config: StudyConfig, title: str) -> str:
    """Return a config as YAML in which every key is documented by its field's docstring."""
    return HEADER.format(title=title) + "".join(f"{line}\n" for line in _render(config, 0))


def render_schema() -> str:
    """Return the JSON schema of the config."""
    return json.dumps(StudyConfig.model_json_schema(), indent=1, sort_keys=True) + "\n"


def _render(model: BaseModel, depth: int) -> Iterator[str]:
    pad = "  " * depth
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if depth == 0:
            yield ""
        text = field.description or (type(value).__doc__ if isinstance(value, BaseModel) else "") or ""
        for line in text.strip().splitlines():
            yield f"{pad}# {line.strip()}".rstrip()
        if isinstance(value, BaseModel):
            yield f"{pad}{name}:"
            yield from _render(value, depth + 1)
        else:
            yield from _render_value(name, value, pad)


def _render_value(name: str, value: Any, pad: str) -> Iterator[str]:
    plain = _to_plain(value)
    if isinstance(plain, str) and "\n" in plain:
        yield f"{pad}{name}: |2" + ("" if plain.endswith("\n") else "-")
        yield from (f"{pad}  {line}".rstrip() for line in plain.splitlines())
    elif isinstance(plain, dict) and any(isinstance(item, dict | list) for item in plain.values()):
        yield f"{pad}{name}:"
        yield from (f"{pad}  {key}: {_format_flow(item)}" for key, item in plain.items())
    elif isinstance(plain, list) and any(isinstance(item, dict | list) for item in plain):
        yield f"{pad}{name}:"
        yield from (f"{pad}  - {_format_flow(item)}" for item in plain)
    else:
        yield f"{pad}{name}: {_format_flow(plain)}"


def _format_flow(value: Any) -> str:
    """Return a value as YAML on one line."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = True
    yaml.width = 1_000_000
    buffer = io.StringIO()
    yaml.dump(value, buffer)
    return buffer.getvalue().removesuffix("...\n").strip()


def _to_plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return {key: _to_plain(item) for key, item in value.model_dump(mode="json").items()}
    if isinstance(value, Mapping):
        return {str(key): _to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_to_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def write_files(root: Path) -> None:
    """Write `config/config.yaml` (the defaults) and `workflow/schemas/config.schema.json` below `root`."""
    (root / "config" / "config.yaml").write_text(
        render_config(StudyConfig(), "The study: twelve collections at the paper's size."), encoding="utf-8"
    )
    (root / "workflow" / "schemas" / "config.schema.json").write_text(render_schema(), encoding="utf-8")


if __name__ == "__main__":
    import sys

    write_files(Path(sys.argv[1]))
