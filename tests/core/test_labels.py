"""The label table: twenty torso classes out of sided source labels."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from guidegen.errors import GuideGenError
from guidegen.labels import TUMOUR, load_labels
from guidegen.tables import read_tsv, write_tsv

CONFIG = Path(__file__).parents[2] / "config"
COLUMNS = ("id", "name", "source_labels", "hu_low", "hu_high", "colour")


def test_the_projects_own_table_is_whole() -> None:
    table = load_labels(CONFIG)
    assert table.ids["background"] == 0
    assert TUMOUR in table.ids
    lookup = table.source_to_torso
    assert lookup.shape == (256,)
    assert lookup.dtype == np.uint8
    for entry in table.classes:
        assert entry.hu_low < entry.hu_high
        assert {int(lookup[table.source_ids[name]]) for name in entry.source_labels} <= {entry.id}
    assert lookup[0] == 0
    assert len(table) == len(table.classes)


def test_left_and_right_are_told_apart_where_the_class_is_sided() -> None:
    table = load_labels(CONFIG)
    for name in table.ids:
        if name.endswith("_left"):
            other = name.removesuffix("_left") + "_right"
            assert table.ids[other] != table.ids[name]


def edit(rows: list[dict[str, str]], number: int, **cells: str) -> list[dict[str, str]]:
    return [row | cells if index == number else row for index, row in enumerate(rows)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: edit(rows, 2, id="7"), "class ids must be 0, 1, 2"),
        (lambda rows: edit(rows, 2, id="two"), "id is 'two', expected a number"),
        (lambda rows: edit(rows, 2, hu_low="low"), "hu_low is 'low', expected a number"),
        (lambda rows: edit(rows, 2, name=rows[3]["name"]), "class name is used twice"),
        (lambda rows: edit(rows, 2, source_labels="splean"), "takes 'splean', which .* does not list"),
        (lambda rows: edit(rows, 2, source_labels=rows[3]["source_labels"]), "is claimed by"),
    ],
)
def test_a_wrong_table_is_refused(
    tmp_path: Path, change: Callable[[list[dict[str, str]]], list[dict[str, str]]], message: str
) -> None:
    rows = [{name: row[name] for name in COLUMNS} for row in read_tsv(CONFIG / "labels.tsv")]
    write_tsv(tmp_path / "labels.tsv", COLUMNS, change(rows))
    (tmp_path / "source_labels.tsv").write_bytes((CONFIG / "source_labels.tsv").read_bytes())
    with pytest.raises(GuideGenError, match=message):
        load_labels(tmp_path)
