"""The selection agrees with the published outcome, and each difference has a name.

The outcome (`collections/eligible_series.tsv.gz` beside the real series) was made with other code, from the same index.
"""

import csv
import gzip
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from guidegen.index.build import TARGET_UNKNOWN, CollectionIndex, build_collection
from guidegen.index.select import estimate_extents, rank_series
from guidegen.index.series import Offer
from guidegen.index.sources import read_offers
from guidegen.study import Study

pytestmark = pytest.mark.real
REALDATA = Path(os.environ.get("GUIDEGEN_REALDATA", Path(__file__).parents[2].parent / "shared" / "realdata"))
OUTCOME = REALDATA.parent / "collections" / "eligible_series.tsv.gz"
CONFIG = Path(__file__).parents[2] / "config"
LEAST_AGREEMENT = 0.97
KEYS = ("kernel", "thickness", "region", "extent", "images", "date", "uid")
"""What `rank_series` compares, in its order."""


@dataclass
class Selected:
    """What is offered, what is used of it, and the published series by patient and rank."""

    offers: dict[str, Offer] = field(default_factory=dict)
    indices: dict[str, CollectionIndex] = field(default_factory=dict)
    published: dict[tuple[str, str], dict[int, str]] = field(default_factory=dict)


@pytest.fixture(scope="module", params=["paper12", "balanced"])
def selected(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Selected:
    if not OUTCOME.is_file():
        pytest.skip(f"the published outcome is missing: {OUTCOME}")
    root = tmp_path_factory.mktemp("selection")
    (root / "config").mkdir()
    for name in ("collections.tsv", "labels.tsv", "source_labels.tsv"):
        (root / "config" / name).write_bytes((CONFIG / name).read_bytes())
    index = "index: {source: idc, idc_tables_url: '', series_per_patient: 1000}"
    (root / "config" / "config.yaml").write_text(f"study: {{collections: {request.param}}}\n{index}\n")
    study = Study.load(root)
    found = Selected()
    for collection, offer in read_offers(study, list(study.collections.values())).items():
        found.offers[collection.id] = offer
        found.indices[collection.id] = build_collection(study, collection, offer)
    with gzip.open(OUTCOME, "rt", encoding="utf-8") as stream:
        for row in csv.DictReader(stream, delimiter="\t"):
            if row["collection_id"] in study.collections:
                ranks = found.published.setdefault((row["collection_id"], row["PatientID"]), {})
                ranks[int(row["rank_in_patient"])] = row["SeriesInstanceUID"]
    return found


def test_used_series_are_the_published_ones(selected: Selected) -> None:
    ours = {row["series_uid"] for index in selected.indices.values() for row in index.rows if row["role"] == "ct"}
    theirs = {uid for ranks in selected.published.values() for uid in ranks.values()}
    assert len(ours & theirs) >= LEAST_AGREEMENT * max(len(ours), len(theirs))
    reasons = {row["series_uid"]: row["criterion"] for index in selected.indices.values() for row in index.excluded}
    unexplained = [uid for uid in theirs - ours if not reasons.get(uid)]
    assert not unexplained
    assert ours <= theirs, "a series is used that the published rule leaves out, by no criterion of ours"


def test_best_series_are_the_published_ones_or_have_a_reason(selected: Selected) -> None:
    names = Counter(name_difference(selected, *patient) for patient in selected.published)
    # An annotation without its CT may be the reason or not, so these count against us.
    plain = sum(count for name, count in names.items() if name != "annotation")
    print(dict(names))
    assert names["same"] >= LEAST_AGREEMENT * plain
    assert names["uid"] == 0, "a tie that only the UID breaks is no reason"


def name_difference(selected: Selected, collection: str, patient: str) -> str:
    """Return `same`, or the criterion by which our best CT of a patient comes before the published one."""
    rows = [row for row in selected.indices[collection].rows if row["patient_id"] == patient]
    best = next(row for row in rows if row["role"] == "ct" and row["rank"] == 1)
    published = selected.published[collection, patient][1]
    if best["series_uid"] == published:
        return "same"
    if any(row["case"] == best["case"] and row["role"] != "ct" for row in rows):
        return "annotation"
    used = {row["series_uid"] for row in rows}
    members = [series for series in selected.offers[collection].series if series.series_uid in used]
    extents = estimate_extents(members)
    keys = {series.series_uid: rank_series(series, extents[series.series_uid]) for series in members}
    name = next(
        n for n, ours, theirs in zip(KEYS, keys[best["series_uid"]], keys[published], strict=True) if ours != theirs
    )
    assert keys[best["series_uid"]] < keys[published], f"{patient}: ranked against its own key"
    return f"annotation without its CT, else {name}" if has_unlinked(selected, collection, patient) else name


def has_unlinked(selected: Selected, collection: str, patient: str) -> bool:
    """Whether a patient has an accepted annotation of which nobody says on which CT it was drawn."""
    return any(
        row["patient_id"] == patient and row["criterion"] == TARGET_UNKNOWN
        for row in selected.indices[collection].excluded
    )
