"""Prompts that people write: what they state, what cannot be, and what the models will not heed."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guidegen.errors import GuideGenError
from guidegen.labels import LabelTable
from guidegen.mask.sites import name_class
from guidegen.pair.parse import read_statements
from guidegen.statements import Statements
from guidegen.synthesize.contradictions import find_contradictions
from guidegen.tables import read_tsv

LONGEST_PROMPT = 2000
FOREIGN_SHARE = 0.3
"""With a larger share of letters beyond the Latin alphabet, a text that says nothing is called foreign."""
DENIED_MASS = re.compile(r"\b(?:no|without(?: an?)?) (?:tumou?rs?|mass(?:es)?|lesions?)(?=\s*(?:[.,;:]|$))", re.I)
"""All masses: neither those of a place (`no mass in the liver`) nor other findings (`no mass effect`)."""


@dataclass(frozen=True)
class Prompt:
    """A prompt that was checked."""

    text: str
    statements: dict[str, Any]
    """What it states, for the gates and the sidecar; the networks read the text itself."""


def check_prompt(text: str, place: str) -> Prompt:
    """Return a prompt with white space tidied, and what it states.

    Args:
        text: free text.
        place: where it stands, for messages: `--prompt`, or file and line.

    Raises:
        GuideGenError: it is empty, too long or contradicts itself.
    """
    tidy = " ".join(text.split())
    if not re.search(r"\w", tidy):
        raise GuideGenError(f"{place} is empty; say what the CT should show, e.g. '68-year-old woman, chest to pelvis'")
    if len(tidy) > LONGEST_PROMPT:
        raise GuideGenError(f"{place} has {len(tidy)} characters, at most {LONGEST_PROMPT} are read")
    stated = read_statements(tidy)
    found = find_contradictions(stated)
    if stated.tumour and (denied := DENIED_MASS.search(tidy)):
        found.append(f"it says '{denied[0]}' and asks for a mass")
    if found:
        raise GuideGenError(f"{place} contradicts itself: {'; '.join(found)}")
    values = stated.model_dump(mode="json")
    return Prompt(tidy, {key: value for key, value in values.items() if value not in (None, [])})


def list_notes(text: str, table: LabelTable) -> list[str]:
    """Return what the user of a prompt should know: what was not understood, and what no class stands for."""
    stated = read_statements(text)
    notes = []
    if stated == Statements():
        letters = [letter for letter in text if letter.isalpha()]
        foreign = sum(letter > "ɏ" for letter in letters) > FOREIGN_SHARE * len(letters)
        language = "; prompts are read in English" if foreign else ""
        notes.append(f"no statement understood, the text goes to the encoder as it is{language}")
    if stated.site and name_class(stated.site) not in table.ids:
        notes.append(
            f"the label map has no class for the {stated.site}: it is not drawn, and a mass in it lies anywhere"
        )
    if stated.tumour and not stated.site:
        notes.append("a mass is asked for, but not where")
    unknown = [name for name in list_unknown(table) if re.search(rf"\b{name}s?\b", text, re.I)]
    notes += [f"the label map has no class for '{name}'" for name in unknown if name != stated.site]
    return notes


def list_unknown(table: LabelTable) -> list[str]:
    """Return names of structures that the source labels have and the torso classes lack, in plain words."""
    taken = {name for entry in table.classes for name in entry.source_labels}
    names = (re.sub(r"_(left|right)\b|_[a-z]*\d+$", "", name) for name in table.source_ids if name not in taken)
    return sorted({name.replace("_", " ") for name in names if name not in table.ids})


def read_prompt_table(path: Path) -> list[Prompt]:
    """Read a user's prompts: `.txt` with one per line, or `.tsv` or `.csv` with a column `prompt`.

    Raises:
        GuideGenError: the file is missing, not UTF-8, of another kind or without prompts, or a prompt is empty, too
            long or contradicts itself; names file and prompt.
    """
    if path.suffix not in (".txt", ".tsv", ".csv"):
        raise GuideGenError(f"{path}: prompts are read from .txt, .tsv or .csv")
    texts = _read_lines(path) if path.suffix == ".txt" else _read_column(path)
    prompts = [check_prompt(text, f"{path}, prompt {number}") for number, text in enumerate(texts, 1)]
    if not prompts:
        raise GuideGenError(f"{path}: no prompts")
    return prompts


def _read_lines(path: Path) -> list[str]:
    lines = _read_text(path).splitlines()
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def _read_column(path: Path) -> Sequence[str]:
    if path.suffix == ".tsv":
        return [row["prompt"] for row in read_tsv(path, ("prompt",))]
    reader = csv.DictReader(io.StringIO(_read_text(path), newline=""), strict=True)
    if "prompt" not in (reader.fieldnames or ()):
        raise GuideGenError(f"{path}: column prompt missing; found {', '.join(reader.fieldnames or ()) or 'nothing'}")
    try:
        return [row["prompt"] or "" for row in reader]
    except csv.Error as error:
        raise GuideGenError(f"{path}, line {reader.line_num}: {error}") from None


def _read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise GuideGenError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise GuideGenError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
