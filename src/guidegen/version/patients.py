"""Which patients a commit of the study holds, and which of them were withdrawn."""

from guidegen.index.withdrawn import read_withdrawn
from guidegen.tables import parse_tsv
from guidegen.version.repository import Repository


def split_owner(owner: str) -> tuple[str, str]:
    """Return collection and patient of `<collection>/<patient>`."""
    collection, _, patient = owner.partition("/")
    return collection, patient


def read_index_at(repository: Repository, revision: str) -> list[tuple[str, str, str]]:
    """Return (`<collection>/<patient>`, patient_id, case) of the index at a git revision."""
    names = repository.git("ls-tree", "--name-only", revision, "data/index/").splitlines()
    rows = []
    for name in names:
        if name.endswith(".tsv") and not name.endswith(".excluded.tsv"):
            text = repository.git("show", f"{revision}:{name}")
            rows += parse_tsv(text, f"{revision}:{name}", ("case", "patient", "patient_id", "collection"))
    return sorted({(f"{row['collection']}/{row['patient']}", row["patient_id"], row["case"]) for row in rows})


def list_withdrawn_at(repository: Repository, revision: str) -> list[dict[str, str]]:
    """Return the withdrawals of patients that the index at a git revision holds."""
    withdrawn = {f"{row['collection']}/{row['patient']}": row for row in read_withdrawn(repository.root)}
    held = {owner for owner, _, _ in read_index_at(repository, revision)} if withdrawn else set()
    return [row for owner, row in withdrawn.items() if owner in held]
