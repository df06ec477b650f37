"""Tab-separated tables as the study keeps them: text, sorted by the writer, never a guessed type."""

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from guidegen.atomic import replace_file
from guidegen.errors import GuideGenError

NEEDS_QUOTES = re.compile(r'[\n\r"]')
csv.field_size_limit(1 << 30)  # a JSON cell may be longer than the 128 KiB that Python allows


def read_tsv(path: Path, required: Sequence[str] = ()) -> list[dict[str, str]]:
    """Read a table into one dictionary per row, every value a string ("" where a cell is empty).

    Raises:
        GuideGenError: the file is missing or no UTF-8, has no header, lacks a required column or has one twice, or a
            row has another length.
    """
    if not path.is_file():
        raise GuideGenError(f"{path}: no such table")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise GuideGenError(f"{path}: not UTF-8 text (byte {error.start}); save the table as UTF-8") from None
    return parse_tsv(text, str(path), required)


def parse_tsv(text: str, name: str, required: Sequence[str] = ()) -> list[dict[str, str]]:
    """Read the text of a table as `read_tsv` does; `name` is what errors call it."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter="\t", strict=True)
    try:
        header = next(reader, None)
        if not header:
            raise GuideGenError(f"{name}: empty, expected a header line")
        missing = [column for column in required if column not in header]
        if missing:
            raise GuideGenError(f"{name}: column(s) {', '.join(missing)} missing; found {', '.join(header)}")
        twice = sorted({column for column in header if header.count(column) > 1})
        if twice:
            raise GuideGenError(f"{name}: column(s) {', '.join(twice)} used twice in the header")
        rows = []
        for cells in reader:
            if len(cells) != len(header):
                raise GuideGenError(f"{name}, line {reader.line_num}: {len(cells)} cells, the header has {len(header)}")
            rows.append(dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        raise GuideGenError(f"{name}, line {reader.line_num}: {error}") from None
    return rows


def format_cell(value: Any) -> str:
    """Return the text of one cell; floats with 9 significant digits, so that equal runs write equal bytes.

    Lists and tuples are joined by a comma, dictionaries become JSON; NumPy scalars count as Python's.
    """
    if type(value) is str:
        return value
    if value is None:
        return ""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.9g}"
    if isinstance(value, list | tuple):
        return ",".join(format_cell(part) for part in value)
    if isinstance(value, dict):
        return json.dumps(value, sort_keys=True)
    return str(value)


def write_tsv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a table atomically; a key outside `columns` is an error, a missing one an empty cell."""
    known = set(columns)
    with replace_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        stream.write(_join(columns))
        for row in rows:
            if unknown := sorted(row.keys() - known):
                raise GuideGenError(f"{path}: column(s) {', '.join(unknown)} not among {', '.join(columns)}")
            stream.write(_join([format_cell(row.get(name)) for name in columns]))


def _join(cells: Sequence[str]) -> str:
    line = "\t".join(cells)
    if not line or len(cells) != line.count("\t") + 1 or NEEDS_QUOTES.search(line):
        line = "\t".join(map(_quote, cells)) or '""'
    return line + "\n"


def _quote(cell: str) -> str:
    # csv.writer leaves a lone carriage return bare, which reads back as a new row.
    return '"' + cell.replace('"', '""') + '"' if NEEDS_QUOTES.search(cell) or "\t" in cell else cell
