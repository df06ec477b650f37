"""Which code a phase uses, as one hash.

Snakemake does not see edits in imported modules; every rule therefore carries `code_hash(phase)` as a parameter. The
hash is of the syntax trees of the phase's package and of every `guidegen` module that it imports, so that comments,
docstrings and formatting do not count, and of the other files in the package (templates).
"""

import ast
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.util import resolve_name
from pathlib import Path

PACKAGE = Path(__file__).parent
WITHOUT_EFFECT = {"guidegen.progress", "guidegen.provenance", "guidegen.codehash", "guidegen.study", "guidegen.config"}
"""Modules that every phase imports and that cannot change what it writes."""


@cache
def code_hash(*modules: str) -> str:
    """Return the hash of the given `guidegen` packages or modules and all they import, 16 hex digits.

    Args:
        *modules: names below `guidegen`, e.g. `"convert"` or `"train.engine"`.
    """
    digest = hashlib.sha256()
    for name, path in sorted(_collect_modules(modules).items()):
        digest.update(name.encode())
        digest.update(_read_module(path).code.encode())
    for path in _list_data(modules):
        digest.update(path.relative_to(PACKAGE).as_posix().encode())
        digest.update(path.read_bytes())
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


@cache
def _list_imports(module: str, path: Path) -> list[str]:
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    names = []
    for level, source, aliases in _read_module(path).imports:
        if level is None:
            names += aliases
        else:
            source = resolve_name("." * level + source, package)
            names += [source, *(f"{source}.{alias}" for alias in aliases)]
    return [name for name in names if name.startswith("guidegen.") and _exists(name)]


def _exists(name: str) -> bool:
    base = PACKAGE.joinpath(*name.split(".")[1:])
    return base.with_suffix(".py").is_file() or (base / "__init__.py").is_file()


@dataclass(frozen=True)
class _Module:
    """A module's code without comments and docstrings, and its imports: level (None: `import x`), source, names."""

    code: str
    imports: list[tuple[int | None, str, list[str]]]


@cache
def _read_module(path: Path) -> _Module:
    """Parse a module, once: parsing takes most of the time."""
    tree = ast.parse(path.read_bytes())
    imports: list[tuple[int | None, str, list[str]]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports.append((None, "", [alias.name for alias in node.names]))
        elif isinstance(node, ast.ImportFrom):
            imports.append((node.level, node.module or "", [alias.name for alias in node.names]))
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [n for n in body if not _is_text(n)]  # type: ignore[attr-defined]
    return _Module(ast.dump(tree), imports)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
