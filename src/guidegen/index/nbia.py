"""Source `nbia`: the series that TCIA's own service lists, with what else it says of them."""

import csv
import hashlib
import importlib
import io
import logging
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow.parquet as pq

from guidegen.errors import GuideGenError
from guidegen.index.public import MODALITIES
from guidegen.index.series import Offer, Series
from guidegen.index.targets import link_annotations
from guidegen.services import TemporaryError, ask_service, read_json, read_stream
from guidegen.study import Collection

REQUIRED = ("SeriesInstanceUID", "StudyInstanceUID", "Modality", "ImageCount", "FileSize")
METADATA_BATCH = 200
METADATA_S = 600.0
CREATIVE_COMMONS = re.compile(r"creativecommons\.org/(licenses|publicdomain)/([a-z-]+)/(\d\.\d)")
log = logging.getLogger(__name__)


def read_nbia(collections: list[Collection], url: str, attempts: int, tables: list[Path]) -> dict[str, Offer]:
    """Ask the service for the CT, SEG and RTSTRUCT series of the given collections.

    It states neither SOP class nor transfer syntax; both are checked after the download. Slice thickness comes from a
    second request (`getSeriesMetadata`).

    Args:
        collections: collections of the study.
        url: address of the service (v4).
        attempts: how often a request is sent at most.
        tables: which CT each annotation belongs to (`guidegen.index.targets.find_tables`); the UIDs are the IDC's.

    Raises:
        GuideGenError: the service cannot be reached, answers something else, or has no CT of a wanted collection.
    """
    url = url.rstrip("/")
    results = _read_analysis_results()
    offers = {}
    for collection in collections:
        rows: list[dict[str, Any]] = []
        for modality in MODALITIES:
            query = {"Collection": collection.name, "Modality": modality, "format": "json"}
            rows += _check_rows(ask_service("GET", f"{url}/getSeries", read_json, attempts=attempts, params=query), url)
        series = [_make_series(collection.id, row, results) for row in rows]
        thickness = _read_thickness(url, [s.series_uid for s in series if s.role == "ct"], attempts)
        series = [replace(s, thickness_mm=thickness.get(s.series_uid)) for s in series]
        if not any(s.role == "ct" for s in series):
            raise GuideGenError(f"{url}: no CT series of the collection '{collection.name}'")
        offers[collection.id] = Offer(series, f"nbia {_hash_rows(rows)}")
    return link_annotations(offers, tables)


def _check_rows(rows: Any, url: str) -> list[dict[str, Any]]:
    """Return the list of series of one reply; an empty body means none."""
    if rows is None:
        return []
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise GuideGenError(f"{url}/getSeries: expected a list of series, found {str(rows)[:100]}")
    for row in rows:
        missing = [name for name in REQUIRED if row.get(name) in (None, "")]
        if missing:
            raise GuideGenError(f"{url}/getSeries: series {row.get('SeriesInstanceUID')} lacks {', '.join(missing)}")
    uids = [row["SeriesInstanceUID"] for row in rows]
    if len(set(uids)) != len(uids):
        raise GuideGenError(f"{url}/getSeries: {len(uids) - len(set(uids))} series are listed twice")
    return rows


def _make_series(collection: str, row: dict[str, Any], results: dict[str, str]) -> Series:
    uid = str(row["SeriesInstanceUID"])
    doi = _find_doi(row)
    third_party = str(row.get("ThirdPartyAnalysis") or "").strip().upper().startswith("Y")
    try:
        instances, size = int(row["ImageCount"]), int(row["FileSize"])
    except ValueError:
        raise GuideGenError(
            f"series {uid}: ImageCount {row['ImageCount']!r} or FileSize {row['FileSize']!r} is no whole number"
        ) from None
    return Series(
        collection=collection,
        patient_id=str(row.get("PatientID") or ""),
        series_uid=uid,
        study_uid=str(row["StudyInstanceUID"]),
        modality=str(row["Modality"]),
        role="ct" if row["Modality"] == "CT" and not third_party else "annotation",
        description=str(row.get("SeriesDescription") or ""),
        body_part=str(row.get("BodyPartExamined") or ""),
        study_date=str(row.get("StudyDate") or row.get("SeriesDate") or "")[:10],
        series_number=str(row.get("SeriesNumber") or "").removesuffix(".0"),
        instances=instances,
        size=size,
        licence=_name_licence(row),
        doi=doi,
        analysis_result=(results.get(doi.lower()) or doi or "third party") if third_party else "",
        location=f"getImageWithMD5Hash?SeriesInstanceUID={quote(uid, safe='')}",
    )


def _name_licence(row: dict[str, Any]) -> str:
    """Return the short name of a licence as the IDC writes it, e.g. `CC BY 3.0`; its full name where unknown."""
    found = CREATIVE_COMMONS.search(str(row.get("LicenseURI") or ""))
    if not found:
        return str(row.get("LicenseName") or "")
    kind = "CC0" if found[1] == "publicdomain" else f"CC {found[2].upper()}"
    return f"{kind} {found[3]}"


def _find_doi(row: dict[str, Any]) -> str:
    address = str(row.get("DataDescriptionURI") or row.get("CollectionURI") or "").strip()
    return address.partition("doi.org/")[2].lower()


def _read_analysis_results() -> dict[str, str]:
    """Return the IDC's name of each analysis result by its DOI, so that one allow-list serves both sources."""
    package = importlib.import_module("idc_index_data")
    table = Path(str(package.IDC_INDEX_PARQUET_FILEPATH)).with_name("analysis_results_index.parquet")
    rows = pq.read_table(table, columns=["analysis_result_id", "source_DOI"]).to_pylist()
    return {row["source_DOI"].lower(): row["analysis_result_id"] for row in rows if row["source_DOI"]}


def _read_thickness(url: str, uids: list[str], attempts: int) -> dict[str, float]:
    """Return the slice thickness in mm of the series that state one."""
    found = {}
    for start in range(0, len(uids), METADATA_BATCH):
        form = {"list": ",".join(uids[start : start + METADATA_BATCH])}
        for row in ask_service("POST", f"{url}/getSeriesMetadata", _take_table, attempts=attempts, data=form):
            try:
                found[row["SeriesInstanceUID"]] = float(row["SliceThickness(mm)"])
            except ValueError:
                continue  # an empty cell: not stated
    return found


def _take_table(response: Any) -> list[dict[str, str]]:
    text = b"".join(read_stream(response, METADATA_S)).decode("utf-8-sig", "replace")
    if not text.strip():
        return []
    reader = csv.DictReader(io.StringIO(text))
    missing = {"SeriesInstanceUID", "SliceThickness(mm)"} - set(reader.fieldnames or ())
    if missing:
        raise TemporaryError(f"{response.url}: no column {', '.join(sorted(missing))} in {text[:100]!r}")
    return [{key: value or "" for key, value in row.items() if key} for row in reader]


def _hash_rows(rows: Iterable[dict[str, Any]]) -> str:
    """Return what stands for the version of a service without versions: a hash over series, counts and sizes."""
    text = "\n".join(sorted(f"{r['SeriesInstanceUID']} {r['ImageCount']} {r['FileSize']}" for r in rows))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
