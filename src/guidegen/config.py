"""The study's config: typed sections, one file, errors that say what would be right."""

import difflib
import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from guidegen.convert.settings import ConvertSettings
from guidegen.errors import GuideGenError
from guidegen.evaluate.settings import EvaluateSettings
from guidegen.index.settings import IndexSettings
from guidegen.mask.settings import MaskSettings
from guidegen.pair.settings import PairSettings
from guidegen.prepare.settings import PrepareSettings
from guidegen.report.settings import ReportSettings
from guidegen.retrieve.settings import RetrieveSettings
from guidegen.section import Section
from guidegen.segment.settings import SegmentSettings
from guidegen.synthesize.settings import SynthesizeSettings
from guidegen.train.settings import TrainSettings
from guidegen.version.settings import VersionSettings


class StudySettings(Section):
    """What the study is called, what it is made of, and what makes it repeatable."""

    name: str = Field("guidegen-paper", pattern=r"^[a-z0-9][a-z0-9-]*$")
    """Short name, used in titles and tags."""
    seed: int = Field(2026, ge=0)
    """Every random choice is drawn from this seed, the phase, and the case or step."""
    threads: int = Field(2, ge=1)
    """CPU threads of one job; part of what makes two runs equal byte for byte."""
    collections: str | list[str] = "paper12"
    """A set of `collections.tsv` (`paper12`, `balanced`) or a list of collections."""
    max_failed_share: float = Field(0.05, ge=0, le=1)
    """A shard fails when more than this share of its items failed."""


class EnvironmentSettings(Section):
    """How the jobs of each environment are started."""

    core: str = "guidegen"
    """Command of the core environment; a path to `bin/guidegen`, or e.g. `apptainer exec core.sif guidegen`."""
    segmentation: str = "guidegen"
    """Command of the environment with TotalSegmentator and nnU-Net."""


class StudyConfig(Section):
    """The whole config file."""

    study: StudySettings = StudySettings.model_validate({})
    environments: EnvironmentSettings = EnvironmentSettings.model_validate({})
    index: IndexSettings = IndexSettings.model_validate({})
    retrieve: RetrieveSettings = RetrieveSettings.model_validate({})
    convert: ConvertSettings = ConvertSettings.model_validate({})
    mask: MaskSettings = MaskSettings.model_validate({})
    pair: PairSettings = PairSettings.model_validate({})
    prepare: PrepareSettings = PrepareSettings.model_validate({})
    train: TrainSettings = TrainSettings.model_validate({})
    synthesize: SynthesizeSettings = SynthesizeSettings.model_validate({})
    segment: SegmentSettings = SegmentSettings.model_validate({})
    evaluate: EvaluateSettings = EvaluateSettings.model_validate({})
    report: ReportSettings = ReportSettings.model_validate({})
    version: VersionSettings = VersionSettings.model_validate({})

    def hash_sections(self, *names: str) -> str:
        """Return a hash of `study.seed`, `study.threads` and the named sections, 16 hex digits.

        `a.b` names a part of a section. This is what a rule carries as a parameter, so that a change of the config
        reruns exactly the phases that read it.
        """
        parts: dict[str, Any] = {"seed": self.study.seed, "threads": self.study.threads}
        for name in names:
            value: Any = self
            for key in name.split("."):
                value = getattr(value, key)
            parts[name] = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
        text = json.dumps(parts, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def load_config(path: Path) -> StudyConfig:
    """Read and check a config file.

    Raises:
        GuideGenError: the file is missing or not YAML, or a key or value is wrong; names file, line, key, value and
            what would be right.
    """
    if not path.is_file():
        raise GuideGenError(f"{path}: no such config file; `guidegen init DIR --preset demo` makes a study folder")
    try:
        tree = YAML().load(path.read_text(encoding="utf-8")) or {}
    except UnicodeDecodeError as error:
        raise GuideGenError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except YAMLError as error:
        raise GuideGenError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(tree, dict):
        raise GuideGenError(f"{path}: expected sections such as `study:`, found {type(tree).__name__}")
    try:
        return StudyConfig.model_validate(tree)
    except ValidationError as error:
        raise GuideGenError(_explain(path, tree, error.errors())) from None


def _explain(path: Path, tree: Any, errors: Iterable[Any]) -> str:
    """Return one line per place; what the parts of a union say of one value is joined."""
    told: dict[str, list[str]] = {}
    for item in errors:
        keys = _drop_union_tags(tree, item["loc"])
        name = ".".join(str(key) for key in keys)
        place = f"{path}{_find_line(tree, keys)}"
        if item["type"] == "extra_forbidden":
            hint = suggest(str(keys[-1]), _list_keys(keys[:-1]))
            told[f"{place}: unknown key '{name}' (value {_shorten(item['input'])}); {hint}"] = []
        elif item["type"] == "missing":
            told[f"{place}: '{name}' is missing"] = []
        else:
            told.setdefault(f"{place}: '{name}' is {_shorten(item['input'])}: ", []).append(item["msg"])
    return "\n".join(start + "; or: ".join(messages) for start, messages in told.items())


def suggest(word: str, known: Sequence[str]) -> str:
    """Return what a misspelt word was probably meant to be, or all that is known."""
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean '{close[0]}'?" if close else f"known keys: {', '.join(known)}"


def _shorten(value: Any) -> str:
    text = json.dumps(value, default=str) if isinstance(value, dict | list) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _drop_union_tags(tree: Any, loc: Sequence[str | int]) -> list[str | int]:
    """Keep the keys of an error's place that are in the file (pydantic adds the branches of unions), and a last one."""
    keys: list[str | int] = []
    for key in loc:
        if isinstance(tree, dict):
            keys.append(key)
            tree = tree.get(key)
        elif isinstance(tree, list) and isinstance(key, int):
            keys.append(key)
            tree = tree[key]
    return keys


def _find_line(tree: Any, keys: list[Any]) -> str:
    line = None
    for key in keys:
        try:
            line = tree.lc.data[key][0] + 1
            tree = tree[key]
        except (AttributeError, KeyError, IndexError, TypeError):
            break
    return f", line {line}" if line else ""


def _list_keys(keys: Sequence[str | int]) -> list[str]:
    kinds: list[Any] = [StudyConfig]
    for key in keys:
        found = []
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                field = kind.model_fields.get(str(key))
                found += [field.annotation, *get_args(field.annotation)] if field else []
            elif get_origin(kind) in (dict, list):
                found.append(get_args(kind)[-1])
        kinds = found
    models = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
    return sorted({name for model in models for name in model.model_fields})
