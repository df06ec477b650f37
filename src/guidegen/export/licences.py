"""Which sources allow that what was made from them is released."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from guidegen.errors import GuideGenError
from guidegen.study import Study
from guidegen.tables import read_tsv

RELEASE_LICENCE = "https://creativecommons.org/licenses/by/4.0/"
"""Licence of a released set: attribution, which is what CC BY sources ask for and freer sources allow."""
RELEASABLE = re.compile(
    r"cc0( 1\.0)?|cc by( \d\.\d)?|odc by( 1\.0)?|pddl( 1\.0)?|public domain|apache 2\.0|mit|bsd \d clause"
)
"""Licences whose works may be adapted and released under CC BY 4.0. Non-commercial, no-derivatives,
share-alike, restricted and private ones are not among them."""


@dataclass(frozen=True)
class Source:
    """One collection of the study, as its frozen index tells it."""

    collection: str
    name: str
    licences: tuple[str, ...]
    dois: tuple[str, ...]
    """DOIs of the collection and of its annotations."""
    origin: str
    """`idc`, `nbia`, `archive` or `local`, and its version."""
    patients: int
    series: int

    @property
    def forbids(self) -> str:
        """The licence that forbids a release, "" where none does."""
        return next((name for name in self.licences if not is_releasable(name)), "")


def is_releasable(licence: str) -> bool:
    """Tell whether works under this licence (`CC BY 4.0`, `CC-BY-4.0`, …) may be released in adapted form."""
    return bool(RELEASABLE.fullmatch(licence.lower().replace("-", " ").strip()))


def read_sources(study: Study) -> list[Source]:
    """Return the collections that the study uses, from the frozen index. Raises GuideGenError without an index."""
    found = []
    for name, collection in study.collections.items():
        rows = read_tsv(study.index_table(name), ("case", "patient", "licence", "doi", "source", "source_version"))
        if not rows:
            continue
        found.append(
            Source(
                collection=name,
                name=collection.name,
                licences=tuple(sorted({row["licence"] or "none stated" for row in rows})),
                dois=tuple(sorted({row["doi"] for row in rows if row["doi"]} | ({collection.doi} - {""}))),
                origin=", ".join(sorted({f"{row['source']} {row['source_version']}".strip() for row in rows})),
                patients=len({row["patient"] for row in rows}),
                series=len(rows),
            )
        )
    return found


def find_forbidding(study: Study) -> Mapping[str, str]:
    """Return collection → licence of each source that forbids the release of what was made from it."""
    return {source.collection: source.forbids for source in read_sources(study) if source.forbids}


def refuse_forbidden(study: Study) -> None:
    """Raise GuideGenError, naming every collection, where a source forbids a release."""
    forbidding = find_forbidding(study)
    if forbidding:
        named = "\n".join(f"  {collection}: '{licence}'" for collection, licence in sorted(forbidding.items()))
        raise GuideGenError(
            f"{study.root}: not for release, these sources forbid it:\n{named}\n"
            "Every model learned from them. Make a study without them, or, where you hold the rights, state a licence "
            "that allows it (index.local.<name>.licence, e.g. CC BY 4.0) and index again."
        )
