"""Pseudonyms of private collections: the key, and the one table that leads back to the real identifiers."""

import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guidegen.errors import GuideGenError
from guidegen.ids import make_pseudonym
from guidegen.study import STATE_FOLDER, Study
from guidegen.tables import read_tsv, write_tsv

KEY_BYTES = 32
PRIVATE_COLUMNS = ("case", "role", "series_uid", "patient_id", "source_patient_id", "source_series_uid", "location")


@dataclass(frozen=True)
class Pseudonymiser:
    """Replaces identifiers by keyed pseudonyms; the same key gives the same pseudonyms again."""

    key: bytes

    def patient(self, collection: str, patient_id: str) -> str:
        """Return the pseudonym of a patient, 12 hex digits."""
        return make_pseudonym(self.key, f"patient\x1f{collection}\x1f{patient_id}")

    def uid(self, uid: str) -> str:
        """Return the pseudonym of a DICOM UID, in the UUID-derived form (`2.25.` and 128 bits, DICOM PS3.5, B.2)."""
        return f"2.25.{int(make_pseudonym(self.key, f'uid{chr(31)}{uid}', 32), 16)}" if uid else ""


def load_pseudonymiser(study: Study) -> Pseudonymiser:
    """Read the key of `index.pseudonym_key`; make it, readable by its owner only, on first use.

    Raises:
        GuideGenError: the key lies inside the study folder, is too short, or is readable by others.
    """
    path = study.config.index.pseudonym_key.expanduser()
    path = (path if path.is_absolute() else study.root / path).resolve()
    if path.is_relative_to(study.root):
        raise GuideGenError(
            f"index.pseudonym_key: {path} lies inside the study folder {study.root}, which git and DVC keep; "
            "choose a place outside"
        )
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as stream:
            stream.write(secrets.token_hex(KEY_BYTES) + "\n")
    if path.stat().st_mode & 0o077:
        raise GuideGenError(f"{path}: the pseudonym key is readable by others; run `chmod 600 {path}`")
    text = path.read_text(encoding="ascii").strip()
    if len(text) < 2 * KEY_BYTES or set(text) - set("0123456789abcdef"):
        raise GuideGenError(f"{path}: not a key; expected {2 * KEY_BYTES} hex digits, found {len(text)} characters")
    return Pseudonymiser(bytes.fromhex(text[: 2 * KEY_BYTES]))


def private_table(study: Study, collection: str) -> Path:
    """The table that leads from a private collection's pseudonyms to its files; in neither git nor DVC."""
    return study.root / STATE_FOLDER / "private" / f"{collection}.tsv"


def write_private(study: Study, collection: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write the private table of a collection, readable by its owner only."""
    path = private_table(study, collection)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_tsv(path, PRIVATE_COLUMNS, rows)
    path.chmod(0o600)


def read_private(study: Study, collection: str) -> list[dict[str, str]]:
    """Read the private table of a collection.

    Raises:
        GuideGenError: the table is missing, e.g. in a clone of the study.
    """
    path = private_table(study, collection)
    if not path.is_file():
        raise GuideGenError(
            f"{path}: missing, so the files of the private collection '{collection}' cannot be found; "
            "run `guidegen index --force` where its folder and the pseudonym key are"
        )
    return read_tsv(path, PRIVATE_COLUMNS)
