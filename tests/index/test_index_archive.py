"""The index of an archive: what is used, what is not and why, and that it stays as it was built."""

import json
from pathlib import Path

import pytest
from hand_made_ct import make_ct
from small_study import Archive, archive_config, make_archive, make_study

from guidegen.errors import GuideGenError
from guidegen.index.build import build_index
from guidegen.index.report import explain_selection, list_stale
from guidegen.study import Study
from guidegen.tables import read_tsv


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return make_archive(tmp_path / "study" / "archive")


@pytest.fixture
def study(tmp_path: Path, archive: Archive) -> Study:
    return make_study(tmp_path / "study", archive_config())


def read_excluded(study: Study) -> list[tuple[str, str]]:
    path = study.root / "data" / "index" / "tcga_luad.excluded.tsv"
    return sorted((row["description"], row["criterion"]) for row in read_tsv(path))


def add_patient(archive: Archive, name: str) -> None:
    datasets = make_ct(12)
    for ds in datasets:
        ds.PatientID = name
    archive.add(name, datasets)
    archive.write()


def test_every_series_is_used_or_excluded_by_a_named_criterion(study: Study, archive: Archive) -> None:
    build_index(study)
    rows = study.read_index("tcga_luad")
    assert [(row["patient"], row["role"], row["instances"]) for row in rows] == [
        ("P-1", "ct", "14"),
        ("P-1", "annotation", "1"),
        ("P-2", "ct", "12"),
    ]
    assert read_excluded(study) == [
        ("CHEST 2.5 B30f", "series_per_patient"),
        ("CHEST 5.0", "instances"),
        ("COR MPR", "description"),
        ("SCOUT", "description"),
    ]
    assert len(rows) + len(read_excluded(study)) == len(archive.rows)


def test_ct_with_tumour_annotation_ranks_first_although_its_kernel_is_sharp(study: Study) -> None:
    build_index(study)
    ct, annotation = study.read_index("tcga_luad")[:2]
    assert ct["description"] == "CHEST 2.5 B70f LUNG"
    assert (annotation["case"], annotation["annotation_kind"], annotation["shard"]) == (
        ct["case"],
        "expert",
        ct["shard"],
    )


def test_annotation_that_is_not_on_the_list_neither_counts_nor_ranks(tmp_path: Path, archive: Archive) -> None:
    study = make_study(tmp_path / "study", archive_config(annotations="[]"))
    build_index(study)
    assert [row["role"] for row in study.read_index("tcga_luad")] == ["ct", "ct"]
    assert study.read_index("tcga_luad")[0]["description"] == "CHEST 2.5 B30f"
    assert ("Tumour", "annotation_source") in read_excluded(study)


def test_more_series_per_patient(tmp_path: Path, archive: Archive) -> None:
    study = make_study(tmp_path / "study", archive_config(series_per_patient=2))
    build_index(study)
    assert [(row["patient"], row["rank"], row["role"]) for row in study.read_index("tcga_luad")].count(
        ("P-1", "2", "ct")
    ) == 1


def test_built_index_is_kept(study: Study, archive: Archive) -> None:
    build_index(study)
    before = study.index_table("tcga_luad").read_bytes()
    add_patient(archive, "P-3")
    assert build_index(study) == {}
    assert study.index_table("tcga_luad").read_bytes() == before


def test_added_patients_move_nobody(tmp_path: Path, archive: Archive) -> None:
    study = make_study(tmp_path / "study", archive_config(patients_per_shard=1))
    build_index(study)
    before = study.read_index("tcga_luad")
    for number in range(3, 12):
        add_patient(archive, f"P-{number}")
    build_index(study, add=True)
    after = study.read_index("tcga_luad")
    assert [row for row in after if row["patient"] in ("P-1", "P-2")] == before
    assert len({row["patient"] for row in after}) == 11
    assert {row["shard"] for row in after} <= {"s000", "s001"}


def test_shard_count_survives_a_new_selection(tmp_path: Path, archive: Archive) -> None:
    study = make_study(tmp_path / "study", archive_config(patients_per_shard=1))
    build_index(study)
    other = make_study(tmp_path / "study", archive_config(patients_per_shard=50))
    build_index(other, force=True)
    state = json.loads((study.root / "data" / "index" / "index.json").read_text())
    assert state["tcga_luad"]["shards"] == 2


def test_changed_rule_is_noticed(tmp_path: Path, study: Study) -> None:
    build_index(study)
    state = json.loads((study.root / "data" / "index" / "index.json").read_text())
    assert list_stale(study, state) == []
    other = make_study(tmp_path / "study", archive_config(series_per_patient=3))
    assert list_stale(other, state) == ["tcga_luad"]


def test_explain_shows_the_funnel_and_writes_nothing(study: Study) -> None:
    text = explain_selection(study)
    counts = [line.split()[2] for line in text.splitlines() if line.startswith("tcga_luad ") and "all CT" not in line]
    assert counts == ["6", "6", "5", "3", "3", "3", "3", "2"]
    assert "thresholds: index.selection.archive in config/config.yaml" in text
    assert not (study.root / "data").exists()


def test_missing_archive_names_path_and_command(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", archive_config())
    with pytest.raises(GuideGenError, match=r"idc_index.parquet: the archive is missing; `guidegen phantom --out"):
        build_index(study)
    assert not (study.root / "data").exists()


def test_collection_that_the_archive_does_not_have(tmp_path: Path, archive: Archive) -> None:
    config = archive_config().replace("[tcga_luad]", "[tcga_luad, tcga_kirc]")
    study = make_study(tmp_path / "study", config)
    with pytest.raises(GuideGenError, match="no CT series of the collection 'tcga_kirc'"):
        build_index(study)
    assert not (study.root / "data").exists()


def test_other_licence_is_refused_by_name(tmp_path: Path, archive: Archive) -> None:
    for row in archive.rows:
        row["license_short_name"] = "CC BY-NC 3.0"
    archive.write()
    study = make_study(tmp_path / "study", archive_config())
    with pytest.raises(GuideGenError, match=r"tcga_luad \(TCGA-LUAD\): licence 'CC BY-NC 3.0' is not in"):
        build_index(study)
    allowed = make_study(tmp_path / "study", archive_config(licences="[CC BY-NC 3.0]"))
    assert build_index(allowed)["tcga_luad"].rows[0]["licence"] == "CC BY-NC 3.0"


@pytest.mark.parametrize("patient", ["../../etc", "x" * 200, "Jürgen Groß", "a b\tc"])
def test_hostile_patient_id_makes_a_clean_case(tmp_path: Path, patient: str) -> None:
    archive = Archive(tmp_path / "study" / "archive")
    archive.add("plain", make_ct(12), PatientID=patient)
    archive.write()
    study = make_study(tmp_path / "study", archive_config())
    build_index(study)
    (row,) = study.read_index("tcga_luad")
    assert set(row["case"]) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    assert len(row["case"]) < 80
    assert "/" not in row["case"]


def test_series_without_patient_is_excluded(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "study" / "archive")
    archive.add("P-1", make_ct(12))
    archive.add("nobody", make_ct(13), PatientID="")
    archive.write()
    study = make_study(tmp_path / "study", archive_config())
    build_index(study)
    assert ("CHEST 2.5 B30f", "patient_id") in read_excluded(study)
