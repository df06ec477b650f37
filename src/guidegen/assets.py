"""Where Snakefile, rules, environments and the default config lie: in a checkout, or inside the installed wheel."""

from pathlib import Path

_PACKAGE = Path(__file__).parent
ASSETS = _PACKAGE.parents[1] if (_PACKAGE.parents[1] / "Snakefile").is_file() else _PACKAGE / "_workflow"
"""Folder with `Snakefile`, `rules/`, `config/`, `envs/` and `workflow/`."""
