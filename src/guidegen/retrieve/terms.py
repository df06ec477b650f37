"""Terms of use and citations of a collection, written beside its data."""

import html
import importlib
import re
from pathlib import Path

import pyarrow.parquet as pq

from guidegen.atomic import write_text
from guidegen.study import Collection, Study

POLICY = "https://www.cancerimagingarchive.net/data-usage-policies-and-restrictions/"
DEED = "https://creativecommons.org/licenses/by/"


def write_terms(study: Study, collection: Collection) -> Path:
    """Write `data/raw/<collection>/LICENCE.txt`: licence, terms, and how to cite all that the index takes from it.

    Citations of public collections are those of the IDC's own tables; where they have none, the DOI stands alone.
    """
    rows = study.read_index(collection.id)
    public = collection.source in ("idc", "nbia")
    citations = read_citations() if public else {}
    lines = [collection.name, f"Licence: {collection.licence}"]
    if collection.licence.startswith("CC BY "):
        lines.append(f"  {DEED}{collection.licence.removeprefix('CC BY ')}/")
    if public:
        lines.append(f"Terms of use: {POLICY}")
    for doi, licence in sorted({(row["doi"], row["licence"]) for row in rows if row["doi"]}):
        lines.append(f"Cite: https://doi.org/{doi} ({licence})")
        if doi.lower() in citations:
            lines.append(f"  {citations[doi.lower()]}")
    path = study.root / "data" / "raw" / collection.id / "LICENCE.txt"
    write_text(path, "\n".join(lines) + "\n")
    return path


def read_citations() -> dict[str, str]:
    """Return the citation of each source of the IDC by its DOI (lower case), from the package idc-index-data."""
    package = importlib.import_module("idc_index_data")
    table = Path(str(package.IDC_INDEX_PARQUET_FILEPATH)).with_name("collections_index.parquet")
    sources = [s for entry in pq.read_table(table, columns=["sources"]).to_pylist() for s in entry["sources"] or []]
    return {s["source_doi"].lower(): _clean(s["citation"]) for s in sources if s["source_doi"] and s["citation"]}


def _clean(text: str) -> str:
    return " ".join(html.unescape(re.sub(r"</?[a-z]+>", "", text)).split())
