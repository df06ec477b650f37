"""Tables give back what was written, whatever the cells hold."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guidegen.errors import GuideGenError
from guidegen.tables import format_cell, read_tsv, write_tsv

CELL = st.text(st.characters(exclude_categories=("Cs",)), max_size=12) | st.sampled_from(
    [
        "",
        " ",
        "a\tb",
        "a\nb",
        "a\rb",
        "a\r\nb",
        '"',
        '""',
        '"quoted" start',
        'mid " quote',
        "'--",
        "\x00",
        "\u2028",
        "ø",
    ]
)


@given(st.integers(1, 4).flatmap(lambda n: st.lists(st.lists(CELL, min_size=n, max_size=n), min_size=1, max_size=5)))
def test_round_trip(cells: list[list[str]]) -> None:
    columns = [f"c{number}" for number in range(len(cells[0]))]
    rows = [dict(zip(columns, line, strict=True)) for line in cells]
    with TemporaryDirectory() as folder:
        path = Path(folder, "table.tsv")
        write_tsv(path, columns, rows)
        assert read_tsv(path, columns) == rows
        before = path.read_bytes()
        write_tsv(path, columns, read_tsv(path))
        assert path.read_bytes() == before


def test_plain_tables_are_plain_text(tmp_path: Path) -> None:
    write_tsv(tmp_path / "t.tsv", ("case", "age", "organs"), [{"case": "a", "age": None, "organs": {"b": 1, "a": 2.5}}])
    assert (tmp_path / "t.tsv").read_bytes() == b'case\tage\torgans\na\t\t"{""a"": 2.5, ""b"": 1}"\n'


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "true"),
        (np.bool_(False), "false"),
        (1 / 3, "0.333333333"),
        (np.float32(0.1), "0.100000001"),
        (np.float64(2), "2"),
        (np.int16(-1024), "-1024"),
        ((1.5, 2), "1.5,2"),
        (["a", True], "a,true"),
        ({"b": None, "a": [1]}, '{"a": [1], "b": null}'),
    ],
)
def test_format_cell(value: object, text: str) -> None:
    assert format_cell(value) == text


def test_a_long_cell_can_be_read_back(tmp_path: Path) -> None:
    write_tsv(tmp_path / "t.tsv", ("a", "b"), [{"a": "x" * 300_000, "b": "y"}])
    assert len(read_tsv(tmp_path / "t.tsv")[0]["a"]) == 300_000


def test_a_foreign_table_with_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_bytes(b"\xef\xbb\xbfcase\tage\r\na\t1\r\n")
    assert read_tsv(tmp_path / "t.tsv", ("case",)) == [{"case": "a", "age": "1"}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty, expected a header line"),
        (b"case\tage\na\n", "line 2: 1 cells, the header has 2"),
        (b"case\tcase\n", "case used twice in the header"),
        (b"name\tage\n", "case missing; found name, age"),
        (b"case\n\xff\n", "not UTF-8"),
        (b'case\tage\n"a\t1\n', "line 2: unexpected end of data"),
    ],
)
def test_a_wrong_table_is_refused_with_its_place(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "t.tsv").write_bytes(content)
    with pytest.raises(GuideGenError, match=message) as caught:
        read_tsv(tmp_path / "t.tsv", ("case",))
    assert str(tmp_path / "t.tsv") in str(caught.value)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(GuideGenError, match="no such table"):
        read_tsv(tmp_path / "t.tsv")


def test_an_undeclared_column_is_refused_and_the_old_table_stays(tmp_path: Path) -> None:
    write_tsv(tmp_path / "t.tsv", ("a",), [{"a": 1}])
    with pytest.raises(GuideGenError, match=r"column\(s\) agee not among a"):
        write_tsv(tmp_path / "t.tsv", ("a",), [{"a": 2, "agee": 1}])
    assert read_tsv(tmp_path / "t.tsv") == [{"a": "1"}]
