"""From a patient's record, the CT's header and the label map's measurements to the statements of one case."""

import json
from collections.abc import Mapping
from typing import Any

from guidegen.mask.sites import name_class
from guidegen.pair.record import PatientRecord
from guidegen.pair.settings import PairSettings
from guidegen.pair.vocabulary import ABSENT_ORGANS, SITES
from guidegen.statements import Phase, Region, Sex, Side, Source, Statements
from guidegen.study import Collection


class CaseStatements:
    """Collects the statements of one case, each with its source, and what contradicts."""

    def __init__(self, conflicts: list[str]) -> None:
        self.values: dict[str, Any] = {}
        self.sources: dict[str, Source] = {}
        self.conflicts = list(conflicts)

    def state(self, attribute: str, value: Any, source: Source) -> None:
        """Add a statement; an empty value states nothing."""
        if value not in (None, "", ()):
            self.values[attribute] = value
            self.sources[attribute] = source

    def build(self) -> Statements:
        """Return the typed statements."""
        return Statements.model_validate(self.values)


def join_case(
    record: PatientRecord,
    ct: Mapping[str, str],
    mask: Mapping[str, str] | None,
    collection: Collection,
    settings: PairSettings,
) -> CaseStatements:
    """Join what is known about a case.

    Args:
        record: the patient's clinical record, empty where there is none.
        ct: the case's row of the CT manifest.
        mask: its row of the mask manifest, None where it has no label map.
        collection: its collection.
        settings: what may be stated.
    """
    case = CaseStatements(record.conflicts)
    for attribute in ("age", "sex", "histology", "stage", "t", "n", "m", "smoking"):
        if attribute in record.values:
            case.state(attribute, record.values[attribute], record.sources[attribute])
    _join_header(case, ct, settings)
    _join_site(case, record, collection)
    measured = mask if mask and mask["status"] == "ok" else {}
    _join_tumour(case, record, measured, settings)
    _join_coverage(case, measured)
    _join_absent(case, record, measured)
    return case


def _join_header(case: CaseStatements, ct: Mapping[str, str], settings: PairSettings) -> None:
    sex = Sex(ct["sex"]) if ct["sex"] in ("female", "male") else None
    age = round(float(ct["age"])) if ct["age"] else None
    header = {
        "sex": (sex, Source(kind="dicom", name="PatientSex", value=ct["sex"])),
        "age": (age, Source(kind="dicom", name="PatientAge", value=ct["age"])),
    }
    for attribute, (value, source) in header.items():
        known = case.values.get(attribute)
        if value is None:
            continue
        if known is None:
            if not any(text.startswith(f"{attribute}:") for text in case.conflicts):
                case.state(attribute, value, source)
        elif known != value and (attribute == "sex" or abs(known - value) > settings.age_tolerance_years):
            table = case.sources[attribute]
            case.conflicts.append(
                f"{attribute}: {table.name} {table.field} says {table.value}, DICOM {source.name} says {source.value}"
            )
    if ct["phase"]:
        name = ct.get("phase_source") or "header"
        described = ct.get("description", "")
        case.state("phase", Phase(ct["phase"]), Source(kind="dicom", name=name, value=described or ct["phase"]))


def _join_site(case: CaseStatements, record: PatientRecord, collection: Collection) -> None:
    site, subsite = record.values.get("site"), record.values.get("subsite")
    if site:
        case.state("site", site, record.sources["site"])
    elif collection.site not in ("", "unknown"):
        source = Source(kind="table", name="collections.tsv", field="site", row=collection.id, value=collection.site)
        case.state("site", collection.site, source)
    if subsite and case.values.get("site"):
        case.state("subsite", subsite, record.sources["subsite"])


def _join_tumour(case: CaseStatements, record: PatientRecord, mask: Mapping[str, str], settings: PairSettings) -> None:
    """A tumour is stated where it is in the label map, with its measured size and side.

    One in another organ than the cancer's would be said to be in the cancer's: it is reported and left out.
    """
    annotated = mask.get("tumour_annotated") == "true" and bool(mask.get("tumour_size_mm"))
    side = record.values.get("side")
    if annotated and (other := _find_other_site(case, mask)):
        case.conflicts.append(f"site: the cancer is of the {case.values['site']}, the annotated tumour lies in {other}")
        annotated = False
    if annotated:
        kind = mask["tumour_kind"]
        case.state("tumour", True, Source(kind="measurement", name="tumour", field="tumour_annotated", value=kind))
        size = float(round(float(mask["tumour_size_mm"])))
        case.state("tumour_size_mm", size, _measurement("tumour_size_mm", mask))
        if mask["tumour_side"]:
            measured = Side(mask["tumour_side"])
            if side and side != measured:
                source = "report" if record.sources["side"].kind == "report" else "table"
                case.conflicts.append(f"side: the {source} says {side}, the annotated tumour lies {measured}")
            case.state("side", measured, _measurement("tumour_side", mask))
            side = None
    if side and "side" not in case.values and (words := SITES.get(case.values.get("site", ""))) and words.paired:
        case.state("side", side, record.sources["side"])
    if not annotated and settings.pathology_size == "state" and "size_mm" in record.values:
        case.state("tumour_size_mm", float(round(record.values["size_mm"])), record.sources["size_mm"])


def _find_other_site(case: CaseStatements, mask: Mapping[str, str]) -> str:
    """Return the organ that the tumour was measured in, "" where it is the cancer's or that organ has no class."""
    measured, expected = mask.get("tumour_site", ""), name_class(case.values.get("site", ""))
    return measured if expected not in ("", measured) else ""


def _join_coverage(case: CaseStatements, mask: Mapping[str, str]) -> None:
    for attribute in ("coverage_first", "coverage_last"):
        if mask.get(attribute):
            case.state(attribute, Region(mask[attribute]), _measurement(attribute, mask))


def _join_absent(case: CaseStatements, record: PatientRecord, mask: Mapping[str, str]) -> None:
    """Measured absence first; an operation in the history is left out where the label map shows the organ."""
    measured = [organ for organ in mask.get("absent", "").split(",") if organ]
    organs = json.loads(mask["organs"]) if mask.get("organs") else {}
    absent = list(measured)
    for organ in measured:
        case.sources[f"absent.{organ}"] = _measurement("absent", mask)
    for organ in record.values.get("absent", ()):
        if organ in organs:
            volume = organs[organ]["ml"]
            case.conflicts.append(
                f"absent: the history says {organ} removed, the label map shows {volume:.1f} ml of it"
            )
        elif organ not in absent:
            absent.append(organ)
            case.sources[f"absent.{organ}"] = record.sources[f"absent.{organ}"]
    order = list(ABSENT_ORGANS)
    case.values["absent"] = tuple(
        sorted(absent, key=lambda organ: order.index(organ) if organ in order else len(order))
    )


def _measurement(name: str, mask: Mapping[str, str]) -> Source:
    return Source(kind="measurement", name=name, field=mask.get("backend", ""), value=mask[name])
