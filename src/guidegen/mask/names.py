"""Names of segments in annotations, and of the ids of label maps → source labels."""

import re
from collections.abc import Mapping
from pathlib import Path

from guidegen.atomic import hash_file
from guidegen.errors import GuideGenError
from guidegen.labels import TUMOUR
from guidegen.study import Study
from guidegen.tables import read_tsv

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


def read_names(path: Path) -> dict[int, str]:
    """Return the name of each id of a table with the columns `id` and `name`.

    Raises:
        GuideGenError: the table is missing, or an id is no number from 1 to 255.
    """
    names = {}
    for row in read_tsv(path, ("id", "name")):
        if not row["id"].isdigit() or not 0 <= int(row["id"]) <= 255:
            raise GuideGenError(f"{path}: id '{row['id']}', expected a number from 0 to 255")
        names[int(row["id"])] = row["name"].strip()
    return names


def hash_names(study: Study, collection: str) -> str:
    """Return the hash of a collection's label table, "" where the config names none."""
    table = study.config.mask.label_tables.get(collection)
    if table is None:
        return ""
    if not (study.root / table).is_file():
        raise GuideGenError(f"mask.label_tables.{collection}: {study.root / table}: no such file")
    return hash_file(study.root / table)


def _normalise(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower().replace("tumour", "tumor")).strip("_")
