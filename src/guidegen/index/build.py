"""Builds the frozen tables of `data/index/`: what is used, what is not and why, and the shard count."""

import hashlib
import json
import logging
import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from guidegen.atomic import write_text
from guidegen.errors import GuideGenError
from guidegen.ids import assign_shard, clean_patient, make_case_id
from guidegen.index.pseudonyms import Pseudonymiser, load_pseudonymiser, private_table, read_private, write_private
from guidegen.index.select import FunnelStep, Selection, match_annotation, select_series
from guidegen.index.series import Offer, Series
from guidegen.index.sources import read_offers
from guidegen.index.withdrawn import list_withdrawn
from guidegen.study import Collection, Study
from guidegen.tables import read_tsv, write_tsv

INDEX_COLUMNS = (
    *("case", "patient", "patient_id", "collection", "role", "format", "series_uid", "study_uid", "modality"),
    *("description", "body_part", "study_date", "instances", "bytes", "licence", "doi", "source", "source_version"),
    *("crdc_series_uuid", "location", "rank", "shard", "annotation_kind"),
)
EXCLUDED_COLUMNS = (
    *("collection", "patient_id", "series_uid", "study_uid", "modality", "description", "body_part", "study_date"),
    *("instances", "bytes", "licence", "crdc_series_uuid", "criterion"),
)
NOT_ALLOWED = "annotation_source"
TARGET_UNKNOWN = "annotation_target_unknown"
TARGET_UNUSED = "annotation_target_unused"
PRIVATE_ANNOTATION = "private_annotation"
log = logging.getLogger(__name__)


@dataclass
class CollectionIndex:
    """The tables of one collection, before they are written."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    excluded: list[dict[str, Any]] = field(default_factory=list)
    private: list[dict[str, Any]] = field(default_factory=list)
    funnel: list[FunnelStep] = field(default_factory=list)
    shards: int = 0
    version: str = ""


def build_index(study: Study, *, add: bool = False, force: bool = False) -> dict[str, CollectionIndex]:
    """Build and write the index of every collection that has none yet.

    Args:
        study: the study.
        add: read the sources of built collections again and add the patients that are new; old ones stay as they are.
        force: select again from scratch; the shard counts are kept.

    Returns:
        What was written, by collection; a collection that was kept is not in it.

    Raises:
        GuideGenError: a source is missing, a collection is unknown to it, or its licence is not allowed. Nothing is
            written then.
    """
    state = read_state(study)
    todo = [c for c in study.collections.values() if add or force or not study.index_table(c.id).is_file()]
    clash = [name for name in study.config.index.local if name in _list_public(study)]
    if clash:
        raise GuideGenError(f"index.local: '{clash[0]}' is the name of a public collection; choose another")
    built, offers = {}, read_offers(study, todo)
    for collection in todo:
        old = read_tsv(study.index_table(collection.id)) if add and study.index_table(collection.id).is_file() else []
        # An offer is dropped once it is used: there may be a hundred thousand series.
        offer = offers.pop(collection)
        built[collection.id] = build_collection(study, collection, offer, state.get(collection.id), old)
    for name, result in built.items():
        _write_collection(study, name, result)
        state[name] = {
            "shards": result.shards,
            "source": study.collections[name].source,
            "version": result.version,
            "settings": hash_selection(study, study.collections[name]),
        }
        write_text(state_file(study), json.dumps(state, indent=1, sort_keys=True) + "\n")
    return built


def build_collection(
    study: Study,
    collection: Collection,
    offer: Offer,
    state: dict[str, Any] | None = None,
    old: list[dict[str, str]] | None = None,
) -> CollectionIndex:
    """Select, rank and name the series of one collection.

    Args:
        study: the study.
        collection: the collection.
        offer: what its source has of it.
        state: its entry of `index.json`, with the shard count, None at first.
        old: rows of its index so far, which stay as they are; only further patients are added.
    """
    settings = study.config.index
    local = collection.source == "local"
    pseudonyms = load_pseudonymiser(study) if local and settings.local[collection.id].private else None
    naming = _Naming(collection, offer.version, pseudonyms)
    if withdrawn := list_withdrawn(study.root, collection.id):
        offer = replace(offer, series=[s for s in offer.series if naming.patient(s) not in withdrawn])
    kinds: dict[str, tuple[str, bool]] = {}
    for series in offer.series:
        rule = match_annotation(series, settings.annotations) if series.role == "annotation" else None
        if rule:
            kinds[series.series_uid] = (rule.kind, rule.tumour)
    tumours = {s.target_uid for s in offer.series if kinds.get(s.series_uid, ("", False))[1] and s.target_uid}
    labelled = {s.target_uid for s in offer.series if s.target_uid and (s.role == "labels" or s.series_uid in kinds)}
    selection = select_series(
        (series for series in offer.series if series.role == "ct"),
        getattr(settings.selection, collection.source),
        licences=None if local else settings.licences,
        series_per_patient=settings.series_per_patient,
        tumour_annotated=tumours,
        annotated=labelled,
    )
    if not local:
        _require_licence(collection, selection)
    result = CollectionIndex(funnel=selection.funnel, version=offer.version, rows=[*(old or [])])
    if old and private_table(study, collection.id).is_file():
        result.private += read_private(study, collection.id)
    known = {row["patient"] for row in result.rows}
    chosen = [(s, rank) for s, rank in selection.chosen if naming.patient(s) not in known]
    alone = [s for s in offer.series if s.role == "labels" and not s.target_uid and naming.patient(s) not in known]
    patients = {naming.patient(series) for series, _ in chosen} | {naming.patient(s) for s in alone} | known
    result.shards = state["shards"] if state else max(1, math.ceil(len(patients) / settings.patients_per_shard))
    followers = _list_followers(offer, kinds, pseudonyms is not None)
    for series, rank in chosen:
        _add_case(result, naming, series, rank, followers.get(series.series_uid, []), kinds)
    for series in alone:
        _add_case(result, naming, series, 1, [], kinds)
    result.rows.sort(key=lambda row: (row["case"], row["role"] != "ct", row["series_uid"]))
    _list_excluded(result, naming, offer, selection, kinds)
    return result


@dataclass(frozen=True)
class _Naming:
    """How the series of a collection are named in tracked tables."""

    collection: Collection
    version: str
    pseudonyms: Pseudonymiser | None

    def patient_id(self, series: Series) -> str:
        if self.pseudonyms:
            return self.pseudonyms.patient(self.collection.id, series.patient_id)
        return series.patient_id

    def patient(self, series: Series) -> str:
        return clean_patient(self.patient_id(series))

    def uid(self, uid: str) -> str:
        return self.pseudonyms.uid(uid) if self.pseudonyms else uid

    def describe(self, series: Series) -> dict[str, Any]:
        public = self.pseudonyms is None
        return {
            "patient_id": self.patient_id(series),
            "collection": self.collection.id,
            "series_uid": self.uid(series.series_uid),
            "study_uid": self.uid(series.study_uid),
            "modality": series.modality,
            "description": " ".join(series.description.split()) if public else "",
            "body_part": " ".join(series.body_part.split()) if public else "",
            "study_date": series.study_date if public else "",
            "instances": series.instances,
            "bytes": series.size,
            "licence": series.licence or self.collection.licence,
            "crdc_series_uuid": series.crdc_series_uuid,
        }


def _add_case(
    result: CollectionIndex,
    naming: _Naming,
    main: Series,
    rank: int,
    followers: list[Series],
    kinds: dict[str, tuple[str, bool]],
) -> None:
    patient = naming.patient(main)
    case = make_case_id(naming.collection.id, patient, naming.uid(main.series_uid))
    shard = assign_shard(patient, result.shards)
    for series in [main, *followers]:
        kind = "expert" if series.role == "labels" else kinds.get(series.series_uid, ("", False))[0]
        row = {"case": case, "patient": patient, "role": series.role, "format": series.format, "rank": rank}
        row |= naming.describe(series) | {"shard": shard, "annotation_kind": kind}
        row |= {"doi": series.doi or naming.collection.doi}
        row |= {"source": naming.collection.source, "source_version": naming.version}
        row["location"] = "" if naming.pseudonyms else series.location
        result.rows.append(row)
        if naming.pseudonyms:
            private = {key: row[key] for key in ("case", "role", "series_uid", "patient_id")}
            private |= {"source_patient_id": series.patient_id, "source_series_uid": series.series_uid}
            result.private.append(private | {"location": series.location})


def _list_followers(offer: Offer, kinds: dict[str, tuple[str, bool]], private: bool) -> dict[str, list[Series]]:
    """Return accepted annotations and label maps by the UID of their CT."""
    found: dict[str, list[Series]] = {}
    for series in sorted(offer.series, key=lambda s: s.series_uid):
        if series.target_uid and (series.role == "labels" or (series.series_uid in kinds and not private)):
            found.setdefault(series.target_uid, []).append(series)
    return found


def _list_excluded(
    result: CollectionIndex,
    naming: _Naming,
    offer: Offer,
    selection: Selection,
    kinds: dict[str, tuple[str, bool]],
) -> None:
    used = {row["series_uid"] for row in result.rows}
    chosen = {series.series_uid for series, _ in selection.chosen}
    reasons = {series.series_uid: criterion for series, criterion in selection.excluded}
    for series in offer.series:
        if naming.uid(series.series_uid) in used:
            continue
        if series.role == "ct":
            criterion = reasons.get(series.series_uid, "frozen")
        elif series.role == "annotation" and series.series_uid not in kinds:
            criterion = NOT_ALLOWED
        elif not series.target_uid:
            criterion = TARGET_UNKNOWN
        else:
            criterion = PRIVATE_ANNOTATION if series.target_uid in chosen and naming.pseudonyms else TARGET_UNUSED
        result.excluded.append(naming.describe(series) | {"criterion": criterion})
    result.excluded.sort(key=lambda row: (row["patient_id"], row["series_uid"]))


def _require_licence(collection: Collection, selection: Selection) -> None:
    refused = [series.licence for series, criterion in selection.excluded if criterion == "licence"]
    if refused and not selection.chosen:
        raise GuideGenError(
            f"{collection.id} ({collection.name}): licence '{refused[0]}' is not in index.licences; "
            "leave the collection out, or add its licence there if you may use it"
        )


def _list_public(study: Study) -> set[str]:
    return {row["collection"] for row in read_tsv(study.root / "config" / "collections.tsv", ("collection",))}


def _write_collection(study: Study, name: str, result: CollectionIndex) -> None:
    table = study.index_table(name)
    if result.private:
        write_private(study, name, result.private)
    write_tsv(table.with_name(f"{name}.excluded.tsv"), EXCLUDED_COLUMNS, result.excluded)
    write_tsv(table, INDEX_COLUMNS, result.rows)


def state_file(study: Study) -> Path:
    """`data/index/index.json`: shard count, source and version of each collection."""
    return study.root / "data" / "index" / "index.json"


def read_state(study: Study) -> dict[str, dict[str, Any]]:
    """Read `index.json`, empty where no index was built yet."""
    path = state_file(study)
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def hash_selection(study: Study, collection: Collection) -> str:
    """Return a hash of the settings that a collection's index depends on, 16 hex digits."""
    settings = study.config.index
    parts: dict[str, Any] = {"rule": getattr(settings.selection, collection.source).model_dump(mode="json")}
    parts |= {"annotations": [rule.model_dump(mode="json") for rule in settings.annotations]}
    parts |= {"per_patient": settings.series_per_patient, "collection": asdict(collection)}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
