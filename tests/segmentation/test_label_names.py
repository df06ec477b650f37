"""The label tables agree with the installed TotalSegmentator."""

from pathlib import Path

import pytest

from guidegen.errors import GuideGenError
from guidegen.labels import TUMOUR, load_labels
from guidegen.mask.names import find_source_label
from guidegen.mask.totalsegmentator import map_ids, read_registry

pytestmark = pytest.mark.segmentation
LABELS = load_labels(Path(__file__).parents[2] / "config")


def test_source_labels_are_the_registry_and_the_tumour() -> None:
    registry = read_registry()
    assert len(registry) == 117
    assert {name: number for number, name in registry.items()} == {
        name: number for name, number in LABELS.source_ids.items() if name != TUMOUR
    }


def test_torso_classes_name_only_labels_that_exist() -> None:
    known = {*read_registry().values(), TUMOUR}
    claimed = {name for entry in LABELS.classes for name in entry.source_labels}
    assert claimed <= known
    assert {"liver", "rib_left_1", "vertebrae_L5", "lung_upper_lobe_right"} <= claimed


def test_lookup_gives_each_class_its_id() -> None:
    table = map_ids(read_registry(), LABELS.source_ids)
    assert table[0] == 0
    assert {name: table[number] for number, name in read_registry().items()}["liver"] == LABELS.source_ids["liver"]


def test_class_without_a_source_label_is_named() -> None:
    fewer = {name: number for name, number in LABELS.source_ids.items() if name != "spleen"}
    with pytest.raises(GuideGenError, match=r"source_labels\.tsv lacks spleen"):
        map_ids(read_registry(), fewer)


def test_names_of_version_1_are_understood() -> None:
    from totalsegmentator.map_to_binary import class_map  # pyright: ignore[reportMissingImports]

    # Structures that version 2 does not segment.
    gone = {"face", "pulmonary_artery"}
    unknown = {name for name in class_map["total_v1"].values() if find_source_label(name, LABELS.source_ids) is None}
    assert unknown == gone
