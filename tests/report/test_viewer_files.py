"""Volumes in the report are the study's volumes: same places, same values, or reduced as it says."""

import base64
import json
import re

import nibabel
import numpy as np
import pytest
from bundled_libraries import LIBRARIES, read_bundled_files, write_licences

from guidegen.manifest import read_manifest
from guidegen.report.page import write_report
from guidegen.report.viewer_files import LIBRARY_LICENCES, embed_pair
from guidegen.services import ServiceError
from guidegen.study import Study

AFFINE = np.array([[1.0, 0, 0, -10], [0, 2, 0, 20], [0, 0, 4, -30], [0, 0, 0, 1]])


def read_script(text: str) -> dict:
    return json.loads(text.removeprefix("guidegenCase(").removesuffix(");\n"))


def decode(text: str) -> nibabel.Nifti1Image:
    import gzip

    return nibabel.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(text)))


def test_a_small_pair_is_embedded_voxel_for_voxel() -> None:
    rng = np.random.default_rng(0)
    ct = rng.integers(-1024, 2000, (8, 6, 4)).astype(np.int16)
    labels = rng.integers(0, 9, (4, 3, 2)).astype(np.uint8)
    pair = read_script(embed_pair("case", ct, labels, AFFINE, 8).write_script())
    assert pair["reduced"] == ""
    assert pair["voxel_mm"] == "1 × 2 × 4"
    assert np.array_equal(decode(pair["ct"]).dataobj, ct)
    assert np.array_equal(decode(pair["labels"]).dataobj, labels.repeat(2, 0).repeat(2, 1).repeat(2, 2))
    assert np.array_equal(decode(pair["labels"]).affine, AFFINE)


def test_a_large_pair_is_reduced_and_stays_where_it_is() -> None:
    ct = np.full((21, 10, 5), -1000, np.int16)
    labels = np.zeros(ct.shape, np.uint8)
    ct[6:9], labels[6:9] = 500, 3
    pair = read_script(embed_pair("case", ct, labels, AFFINE, 7).write_script())
    assert pair["reduced"] == "3 × 2 × 1"
    small, ids = decode(pair["ct"]), decode(pair["labels"])
    assert small.shape == ids.shape == (7, 5, 5)
    assert np.asanyarray(small.dataobj)[2, 0, 0] == 500
    assert np.asanyarray(ids.dataobj)[2, 0, 0] == 3
    assert small.affine @ [2, 0, 0, 1] == pytest.approx(AFFINE @ [7, 0.5, 0, 1])


def test_volumes_are_kept_until_their_files_change(small_study: Study) -> None:
    study = small_study
    write_report(study)
    manifest = study.root / "results" / "report" / "viewer.tsv"
    rows = {row["case"]: row for row in read_manifest(manifest) if row["case"] != "niivue"}
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert len(rows) == 3 * study.config.report.viewer_cases
    case = next(iter(rows))
    times = {name: (study.root / row["path"]).stat().st_mtime_ns for name, row in rows.items()}
    (study.root / rows[case]["path"]).write_text("damaged")
    write_report(study)
    after = {name: (study.root / row["path"]).stat().st_mtime_ns for name, row in rows.items()}
    assert {name for name in rows if after[name] != times[name]} == {case}


def test_licences_of_all_that_the_bundle_holds_lie_beside_it(small_study: Study) -> None:
    write_report(small_study)
    rows = {row["case"]: row for row in read_manifest(small_study.root / "results" / "report" / "viewer.tsv")}
    if rows["niivue"]["status"] == "excluded":
        pytest.skip(rows["niivue"]["reason"])
    licences = small_study.root / rows["niivue"]["libraries_path"]
    assert licences.parent == (small_study.root / rows["niivue"]["path"]).parent
    assert licences.read_bytes() == LIBRARY_LICENCES.read_bytes()
    sections = re.findall(r"={100}\n(\S+) (\S+)\n={100}\n", licences.read_text(encoding="utf-8"))
    assert sections == [(library.package.name, library.package.version) for library in LIBRARIES]
    assert {package for package, _ in read_bundled_files()} == {name for name, _ in sections}


def test_licences_are_those_of_the_very_files_in_the_bundle() -> None:
    packages = {library.package.name: library.package for library in LIBRARIES}
    try:
        for name, package in packages.items():
            bundled = {path: text for (owner, path), text in read_bundled_files().items() if owner == name}
            files = package.read_members(list(bundled))
            assert {path: data.decode() for path, data in files.items()} == bundled, name
        assert LIBRARY_LICENCES.read_text(encoding="utf-8") == write_licences()
    except ServiceError as error:
        pytest.skip(str(error))
