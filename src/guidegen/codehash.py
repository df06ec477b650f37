"""Which code a phase uses, as one hash.

Snakemake does not see edits in imported modules; every rule therefore carries `code_hash(phase)` as a parameter. The
hash is of the syntax trees of the phase's package and of every `guidegen` module that it imports, so that comments,
docstrings and formatting do not count, and of the other files in the package (templates).

Every job asks for it, and to parse all modules takes longer than to start Python. So what was found in a file is kept
where Python keeps its byte code, under the hash of the file's bytes.
"""

import ast
import contextlib
import hashlib
import json
import os
import sys
from functools import cache
from importlib.util import resolve_name
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parent
KEPT = PACKAGE / "__pycache__" / f"codehash.{sys.implementation.cache_tag}.json"
MOST_KEPT = 2000
"""Files, of this code and of earlier states of it."""
WITHOUT_EFFECT = {"guidegen.progress", "guidegen.provenance", "guidegen.codehash", "guidegen.study", "guidegen.config"}
"""Modules that every phase imports and that cannot change what it writes."""
_FOUND: "dict[str, Module]" = {}
"""What this process has read, by key."""


class Module(NamedTuple):
    """What counts of a file."""

    digest: str
    """Hash of its syntax tree."""
    imports: list[tuple[int, str, list[str]]]
    """Level, module and names of its import statements."""


@cache
def code_hash(*modules: str) -> str:
    """Return the hash of the given `guidegen` packages or modules and all they import, 16 hex digits.

    Args:
        *modules: names below `guidegen`, e.g. `"convert"` or `"train.engine"`.
    """
    digest = hashlib.sha256()
    for name, path in sorted(_collect_modules(modules).items()):
        digest.update(name.encode())
        digest.update(_read_module(path).digest.encode())
    for path in _list_data(modules):
        digest.update(path.relative_to(PACKAGE).as_posix().encode())
        digest.update(path.read_bytes())
    _keep_modules()
    return digest.hexdigest()[:16]


def _list_data(roots: tuple[str, ...]) -> list[Path]:
    """Files that are no code in the packages `roots`: templates, tables."""
    folders = [PACKAGE.joinpath(*root.split(".")) for root in roots]
    files = [path for folder in folders if folder.is_dir() for path in folder.rglob("*") if path.is_file()]
    return sorted(path for path in files if path.suffix not in (".py", ".pyc"))


def _collect_modules(roots: tuple[str, ...]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    todo = [name for root in roots for name in _list_package(f"guidegen.{root}")]
    while todo:
        name = todo.pop()
        if name in found or name in WITHOUT_EFFECT:
            continue
        found[name] = _locate(name)
        todo += _list_imports(name, found[name])
        parent = name.rpartition(".")[0]
        todo += [parent] if parent != PACKAGE.name else []
    return found


def _list_package(name: str) -> list[str]:
    path = _locate(name)
    if path.name != "__init__.py":
        return [name]
    return [name] + [f"{name}.{p.stem}" for p in path.parent.glob("*.py") if p.stem not in ("__init__", "command")]


def _locate(name: str) -> Path:
    base = PACKAGE.joinpath(*name.split(".")[1:])
    path = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
    if not path.is_file():
        raise ModuleNotFoundError(name)
    return path


def _list_imports(module: str, path: Path) -> list[str]:
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    names = []
    for level, source, parts in _read_module(path).imports:
        base = resolve_name("." * level + source, package)
        names += [base, *(f"{base}.{part}" for part in parts)]
    return [name for name in names if name.startswith("guidegen.") and _exists(name)]


def _exists(name: str) -> bool:
    base = PACKAGE.joinpath(*name.split(".")[1:])
    return base.with_suffix(".py").is_file() or (base / "__init__.py").is_file()


@cache
def _load_kept() -> dict[str, Module]:
    try:
        return {key: Module(*facts) for key, facts in json.loads(KEPT.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _keep_modules() -> None:
    """Write what was found; where that is not possible the next process finds it again."""
    found = {key: module for key, module in _FOUND.items() if key not in _load_kept()}
    if not found:
        return
    kept = _load_kept()
    kept.update(found)
    temporary = KEPT.with_suffix(f".{os.getpid()}")
    with contextlib.suppress(OSError):
        KEPT.parent.mkdir(exist_ok=True)
        temporary.write_text(json.dumps(dict(list(kept.items())[-MOST_KEPT:])), encoding="utf-8")
        temporary.replace(KEPT)


@cache
def _read_module(path: Path) -> Module:
    content = path.read_bytes()
    key = hashlib.sha256(_hash_self() + content).hexdigest()
    module = _load_kept().get(key) or _parse_module(content)
    _FOUND[key] = module
    return module


@cache
def _hash_self() -> bytes:
    return hashlib.sha256(Path(__file__).read_bytes()).digest()


def _parse_module(content: bytes) -> Module:
    tree = ast.parse(content)
    imports: list[tuple[int, str, list[str]]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports += [(0, alias.name, []) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imports.append((node.level, node.module or "", [alias.name for alias in node.names]))
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [n for n in body if not _is_text(n)]  # type: ignore[attr-defined]
    return Module(hashlib.sha256(ast.dump(tree).encode()).hexdigest(), imports)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
