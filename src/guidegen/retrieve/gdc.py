"""Clinical data of public collections, from the Genomic Data Commons."""

import json
import logging
from typing import Any

import requests

from guidegen.errors import ItemError
from guidegen.services import TemporaryError, ask_service, read_json

FIELDS = (
    *("submitter_id", "project.project_id", "primary_site", "disease_type", "demographic.gender"),
    *("demographic.age_at_index", "demographic.vital_status", "diagnoses.age_at_diagnosis"),
    *("diagnoses.primary_diagnosis", "diagnoses.morphology", "diagnoses.tissue_or_organ_of_origin"),
    *("diagnoses.site_of_resection_or_biopsy", "diagnoses.laterality", "diagnoses.tumor_grade"),
    *("diagnoses.ajcc_pathologic_stage", "diagnoses.ajcc_pathologic_t", "diagnoses.ajcc_pathologic_n"),
    *("diagnoses.ajcc_pathologic_m", "diagnoses.ajcc_clinical_stage", "diagnoses.ajcc_clinical_t"),
    *("diagnoses.ajcc_clinical_n", "diagnoses.ajcc_clinical_m", "diagnoses.classification_of_tumor"),
    *("diagnoses.treatments.treatment_type", "exposures.tobacco_smoking_status"),
    *("diagnoses.pathology_details.greatest_tumor_dimension",),
)
MISSING = "'--"
PAGE = 200
"""Cases of one reply."""
log = logging.getLogger(__name__)


def fetch_cases(url: str, patients: tuple[str, ...], attempts: int) -> tuple[list[str], list[dict[str, str]]]:
    """Ask the GDC for the cases of the given patients, page by page.

    Patients that it does not know are named in a warning and have no row.

    Args:
        url: base of the service.
        patients: submitter ids.
        attempts: how often a request is sent at most.

    Returns:
        Header and rows, one row per diagnosis; a missing value is `'--`.

    Raises:
        ItemError: the service cannot be reached, answers something else, or its pages do not add up.
    """
    hits: dict[str, dict[str, Any]] = {}
    for start in range(0, len(patients), PAGE):
        for hit in _fetch_patients(f"{url.rstrip('/')}/cases", patients[start : start + PAGE], attempts):
            if hit["submitter_id"] in hits:
                raise ItemError(f"{url}/cases: case {hit['submitter_id']} came twice")
            hits[hit["submitter_id"]] = hit
    unknown = sorted(set(patients) - set(hits))
    if unknown:
        log.warning("%s/cases: %d of %d patients unknown, e.g. %s", url, len(unknown), len(patients), unknown[0])
    return list(FIELDS), [row for name in sorted(hits) for row in flatten_case(hits[name])]


def _fetch_patients(url: str, patients: tuple[str, ...], attempts: int) -> list[dict[str, Any]]:
    """Return the cases of some patients, which the service may spread over several pages."""
    query = {"op": "in", "content": {"field": "submitter_id", "value": list(patients)}}
    body = {"filters": query, "fields": ",".join(FIELDS), "format": "json", "size": PAGE, "sort": "submitter_id:asc"}
    found: list[dict[str, Any]] = []
    total = 1
    while len(found) < total:
        hits, total = ask_service("POST", url, _take_page, attempts=attempts, json=body | {"from": len(found)})
        strange = sorted({str(hit.get("submitter_id")) for hit in hits} - set(patients))
        if strange:
            raise ItemError(f"{url}: case {strange[0]} was not asked for")
        if not hits and total:
            raise ItemError(f"{url}: {len(found)} of {total} cases, then an empty page")
        found += hits
    return found


def _take_page(response: requests.Response) -> tuple[list[dict[str, Any]], int]:
    """Return the cases of one page and the total of all pages."""
    reply = read_json(response)
    try:
        hits, total = reply["data"]["hits"], int(reply["data"]["pagination"]["total"])
    except (KeyError, TypeError, ValueError):
        text = json.dumps(reply)[:200]
        raise TemporaryError(f"{response.url}: expected data.hits and data.pagination, found {text}") from None
    if reply.get("warnings"):
        log.warning("%s: %s", response.url, json.dumps(reply["warnings"])[:500])
    return hits, total


def flatten_case(hit: dict[str, Any]) -> list[dict[str, str]]:
    """Return one row per diagnosis of a case, with the field names of `FIELDS` as columns.

    Of what a diagnosis has several of (treatments, pathology details), the first in the order of its text counts, so
    that the order in which the service sends them does not matter.
    """
    diagnoses = sorted(hit.get("diagnoses") or [{}], key=lambda d: json.dumps(d, sort_keys=True))
    rows = []
    for diagnosis in diagnoses:
        case = {**hit, "diagnoses": diagnosis}
        rows.append({name: _look_up(case, name.split(".")) for name in FIELDS})
    return rows


def _look_up(tree: object, keys: list[str]) -> str:
    for key in keys:
        if isinstance(tree, list):
            having = [part for part in tree if isinstance(part, dict) and part.get(key) is not None]
            tree = min(having, key=lambda part: json.dumps(part, sort_keys=True), default=None)
        tree = tree.get(key) if isinstance(tree, dict) else None
    return MISSING if tree is None or tree == [] else " ".join(str(tree).split())
