"""Patients whose consent was withdrawn: they are in no index any more, whatever the sources still hold.

`config/withdrawn.tsv` is the tombstone, kept in git. A tag `withdrawn/<collection>/<patient>` marks the commit that set
it, so that an older run that is checked out, whose files know nothing of it, cannot make it forgotten.
"""

import subprocess
from collections.abc import Iterable
from pathlib import Path

from guidegen.errors import GuideGenError
from guidegen.tables import parse_tsv, read_tsv, write_tsv

WITHDRAWN_COLUMNS = ("collection", "patient", "date", "reason")
TAGS = "withdrawn"


def withdrawn_table(root: Path) -> Path:
    """`config/withdrawn.tsv`: collection, patient (clean id or pseudonym), UTC day, reason."""
    return root / "config" / "withdrawn.tsv"


def read_withdrawn(root: Path) -> list[dict[str, str]]:
    """Return all withdrawals that the study knows of, from its table and from the tags of its repository."""
    path = withdrawn_table(root)
    rows = [row for tag in _list_tags(root) for row in _read_at(root, tag)]
    rows += read_tsv(path, WITHDRAWN_COLUMNS) if path.is_file() else []
    merged = {(row["collection"], row["patient"]): row for row in reversed(rows)}
    return [merged[key] for key in sorted(merged)]


def list_withdrawn(root: Path, collection: str) -> set[str]:
    """Return the withdrawn patients (clean ids) of a collection."""
    return {row["patient"] for row in read_withdrawn(root) if row["collection"] == collection}


def write_withdrawn(root: Path, rows: Iterable[dict[str, str]]) -> None:
    """Write the table."""
    write_tsv(withdrawn_table(root), WITHDRAWN_COLUMNS, rows)


def _list_tags(root: Path) -> list[str]:
    if not (root / ".git").exists():
        return []
    return _git(root, "tag", "--list", f"{TAGS}/*").split()


def _read_at(root: Path, tag: str) -> list[dict[str, str]]:
    name = f"{tag}:config/withdrawn.tsv"
    return parse_tsv(_git(root, "show", name), name, WITHDRAWN_COLUMNS)


def _git(root: Path, *words: str) -> str:
    command = ["git", "-C", str(root), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise GuideGenError(
            f"{root}: `{' '.join(command)}` failed with exit code {done.returncode}: {done.stderr.strip()}; without it "
            "withdrawn patients cannot be left out, so nothing was done"
        )
    return done.stdout
