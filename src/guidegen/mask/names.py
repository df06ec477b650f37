"""Names of segments in annotations → source labels."""

import re
from collections.abc import Mapping

from guidegen.labels import TUMOUR

SYNONYMS = {
    "oesophagus": "esophagus",
    "bladder": "urinary_bladder",
    "ivc": "inferior_vena_cava",
    "portal_and_splenic_vein": "portal_vein_and_splenic_vein",
    "gall_bladder": "gallbladder",
    "small_intestine": "small_bowel",
    "large_intestine": "colon",
    "heart_myocardium": "heart",
    "heart_atrium_left": "heart",
    "heart_atrium_right": "heart",
    "heart_ventricle_left": "heart",
    "heart_ventricle_right": "heart",
    "thoracic_aorta": "aorta",
    "abdominal_aorta": "aorta",
    "tumor": TUMOUR,
    "neoplasm": TUMOUR,
    "neoplasm_primary": TUMOUR,
    "primary_tumor": TUMOUR,
    "mass": TUMOUR,
    "lesion": TUMOUR,
    "nodule": TUMOUR,
    "lung_nodule": TUMOUR,
    "kidney_tumor": TUMOUR,
    "renal_tumor": TUMOUR,
    "liver_tumor": TUMOUR,
    "lung_tumor": TUMOUR,
    "pancreas_tumor": TUMOUR,
    "gtv": TUMOUR,
    "gtv_1": TUMOUR,
}
"""Normalised names that annotations use; TotalSegmentator's v1 names of the heart's parts are among them."""
PAIRED_SYNONYMS = {"adrenal": "adrenal_gland", "suprarenal_gland": "adrenal_gland", "clavicle": "clavicula"}
_SIDED = re.compile(r"^(left|right)_(.+)$")


def find_source_label(name: str, source_ids: Mapping[str, int]) -> str | None:
    """Return the source label that a segment's name means, None where it is unknown.

    Exact names first; then the name in lower case with `_` between words, `left X` as `X_left`, and the synonyms.
    """
    if name in source_ids:
        return name
    key = _normalise(name)
    candidates = [key]
    if match := _SIDED.match(key):
        candidates.append(f"{match[2]}_{match[1]}")
    for candidate in candidates:
        if candidate in source_ids:
            return candidate
        if candidate in SYNONYMS and SYNONYMS[candidate] in source_ids:
            return SYNONYMS[candidate]
    by_lower = {known.lower(): known for known in source_ids}
    return next((by_lower[c] for c in candidates if c in by_lower), None)


def find_paired_label(name: str, source_ids: Mapping[str, int]) -> str | None:
    """Return the paired organ that a name without a side means: `Kidneys` → `kidney`, which has `kidney_left`.

    None where the name means no such organ. The lungs are none: their source labels are lobes.
    """
    key = re.sub(r"^(?:both|bilateral)_", "", _normalise(name))
    for candidate in (key, key.removesuffix("s")):
        organ = PAIRED_SYNONYMS.get(candidate, candidate)
        if f"{organ}_left" in source_ids and f"{organ}_right" in source_ids:
            return organ
    return None


def _normalise(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower().replace("tumour", "tumor")).strip("_")
