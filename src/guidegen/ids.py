"""Names of cases and shards, and pseudonyms of private patients."""

import hashlib
import hmac
import re

from guidegen.errors import GuideGenError

UNSAFE = re.compile(r"[^A-Za-z0-9.-]+")
LONGEST_PATIENT = 40


def clean_patient(patient_id: str) -> str:
    """Return the patient part of a case id, only `[A-Za-z0-9.-]`, at most 40 characters.

    A PatientID that had to be changed gets 8 hex digits of its hash, so that two patients never become one.

    Raises:
        GuideGenError: the id is empty or blank: whose series these are is then unknown.
    """
    if not patient_id.strip():
        raise GuideGenError(f"PatientID is empty ({patient_id!r}); a series must say whose it is")
    kept = UNSAFE.sub("-", patient_id).strip(".-")
    if kept == patient_id and len(kept) <= LONGEST_PATIENT:
        return kept
    digest = hashlib.sha256(patient_id.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{kept[: LONGEST_PATIENT - 9]}-{digest}".lstrip(".-")


def make_pseudonym(key: bytes, value: str, digits: int = 12) -> str:
    """Return the keyed pseudonym of a private identifier: hex digits of HMAC-SHA256."""
    return hmac.new(key, value.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:digits]


def make_case_id(collection: str, patient: str, series_uid: str) -> str:
    """Return `<collection>__<patient>__<8 hex digits of the series UID's sha256>`; `patient` is a clean one."""
    digest = hashlib.sha256(series_uid.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{collection}__{patient}__{digest}"


def assign_shard(patient: str, count: int) -> str:
    """Return the shard of a patient (clean id) among `count`: `s000`, `s001`, …"""
    return f"s{int.from_bytes(hashlib.sha256(patient.encode()).digest()[:8], 'big') % count:03d}"
