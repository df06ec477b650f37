"""Sources `archive` and `idc`: an index in the IDC's columns, read with a filter on collection and modality."""

import importlib
import re
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from guidegen.atomic import hash_file
from guidegen.errors import GuideGenError
from guidegen.index.series import Offer, Series

MODALITIES = ("CT", "SEG", "RTSTRUCT")
COLUMNS = (
    "collection_id",
    "PatientID",
    "StudyInstanceUID",
    "StudyDate",
    "SeriesInstanceUID",
    "crdc_series_uuid",
    "SeriesNumber",
    "Modality",
    "SeriesDescription",
    "BodyPartExamined",
    "SOPClassUID",
    "TransferSyntaxUID",
    "instanceCount",
    "series_size_MB",
    "license_short_name",
    "source_DOI",
    "analysis_result_id",
    "aws_bucket",
)
ANNOTATED_COLUMNS = ("segmented_SeriesInstanceUID", "referenced_SeriesInstanceUID")
NAMED_CT = re.compile(r"CT series (\d+)\s*$")
BATCH_ROWS = 65_536


def read_archive(folder: Path, collections: list[str]) -> dict[str, Offer]:
    """Read the index of a local archive.

    Args:
        folder: the archive, in the layout of `docs/reference/contracts.md`.
        collections: collection ids.

    Raises:
        GuideGenError: the archive or its index is missing, or it has no CT of a wanted collection.
    """
    table = folder / "idc_index.parquet"
    if not table.is_file():
        raise GuideGenError(
            f"{table}: the archive is missing; `guidegen phantom --out {folder}` makes the embedded one, or set "
            "index.archive to a folder of that layout, or index.source to 'idc'"
        )
    annotated = read_targets([folder / "seg_index.parquet"])
    offers = {name: Offer([], hash_file(table)[:12]) for name in collections}
    for row in iterate_rows(table, collections):
        place = f"{row['collection_id']}/{row['PatientID']}/{row['SeriesInstanceUID']}"
        offers[row["collection_id"]].series.append(_make_series(row, place, annotated))
    return _require_ct(offers, table)


def read_idc(collections: list[str], tables: Path | None) -> dict[str, Offer]:
    """Read the index of the Imaging Data Commons that the package idc-index-data carries.

    Args:
        collections: collection ids.
        tables: folder with `seg_index.parquet` and `rtstruct_index.parquet`, which the package does not carry; None:
            its own folder. Where they are missing, annotations are linked only by what their description says.

    Raises:
        GuideGenError: no CT of a wanted collection.
    """
    package = importlib.import_module("idc_index_data")
    table = Path(str(package.IDC_INDEX_PARQUET_FILEPATH))
    folder = tables or table.parent
    annotated = read_targets([folder / "seg_index.parquet", folder / "rtstruct_index.parquet"])
    offers = {name: Offer([], f"idc-index-data {version('idc-index-data')}") for name in collections}
    for row in iterate_rows(table, collections):
        place = f"s3://{row['aws_bucket']}/{row['crdc_series_uuid']}/"
        offers[row["collection_id"]].series.append(_make_series(row, place, annotated))
    offers = {name: Offer(_link_by_description(offer.series), offer.version) for name, offer in offers.items()}
    return _require_ct(offers, table)


def iterate_rows(table: Path, collections: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of the wanted collections and modalities; reads in batches, so that memory stays small.

    Raises:
        GuideGenError: the file is no parquet table or lacks a column.
    """
    try:
        file = pq.ParquetFile(table, memory_map=True)
    except (OSError, pa.ArrowInvalid) as error:
        raise GuideGenError(f"{table}: not a parquet table: {error}") from None
    with file:
        missing = [name for name in COLUMNS if name not in file.schema_arrow.names]
        if missing:
            raise GuideGenError(f"{table}: column(s) {', '.join(missing)} missing, expected the IDC's columns")
        for batch in file.iter_batches(BATCH_ROWS, columns=list(COLUMNS), use_threads=False):
            batch = batch.filter(_is_in(batch.column("Modality"), MODALITIES))
            yield from batch.filter(_is_in(batch.column("collection_id"), collections)).to_pylist()


def _is_in(column: pa.Array, values: Sequence[str]) -> pa.Array:
    return pc.is_in(column, pa.array(values, column.type))  # pyright: ignore[reportAttributeAccessIssue]  # pyright: ignore[reportAttributeAccessIssue]


def read_targets(tables: list[Path]) -> dict[str, tuple[str, str]]:
    """Return (UID of the annotated CT series, algorithm type) by annotation series UID, of the tables that exist."""
    found: dict[str, tuple[str, str]] = {}
    for table in tables:
        if not table.is_file():
            continue
        names = pq.ParquetFile(table).schema_arrow.names
        target = next((name for name in ANNOTATED_COLUMNS if name in names), None)
        if target is None or "SeriesInstanceUID" not in names:
            raise GuideGenError(f"{table}: expected SeriesInstanceUID and one of {', '.join(ANNOTATED_COLUMNS)}")
        kind = ["AlgorithmType"] if "AlgorithmType" in names else []
        for row in pq.read_table(table, columns=["SeriesInstanceUID", target, *kind]).to_pylist():
            algorithm = row.get("AlgorithmType") or ""
            text = algorithm if isinstance(algorithm, str) else (algorithm[0] if algorithm else "")
            found[row["SeriesInstanceUID"]] = (row[target] or "", text)
    return found


def _make_series(row: dict[str, Any], location: str, annotated: dict[str, tuple[str, str]]) -> Series:
    target, algorithm = annotated.get(row["SeriesInstanceUID"], ("", ""))
    is_ct = row["Modality"] == "CT" and not row["analysis_result_id"]
    return Series(
        collection=row["collection_id"],
        patient_id=row["PatientID"] or "",
        series_uid=row["SeriesInstanceUID"],
        study_uid=row["StudyInstanceUID"] or "",
        modality=row["Modality"],
        role="ct" if is_ct else "annotation",
        description=row["SeriesDescription"] or "",
        body_part=row["BodyPartExamined"] or "",
        study_date=str(row["StudyDate"] or ""),
        series_number=str(row["SeriesNumber"] or ""),
        sop_class=row["SOPClassUID"] or "",
        transfer_syntax=row["TransferSyntaxUID"] or "",
        instances=int(row["instanceCount"]),
        size=round(row["series_size_MB"] * 1e6),
        licence=row["license_short_name"] or "",
        doi=row["source_DOI"] or "",
        analysis_result=row["analysis_result_id"] or "",
        algorithm_type=algorithm,
        crdc_series_uuid=row["crdc_series_uuid"] or "",
        location=location,
        target_uid=target,
    )


def _link_by_description(series: list[Series]) -> list[Series]:
    """Link annotations whose description ends in `CT series <number>` to that series of the same study."""
    numbered: dict[tuple[str, str], list[str]] = {}
    for item in series:
        if item.role == "ct":
            numbered.setdefault((item.study_uid, item.series_number), []).append(item.series_uid)
    linked = []
    for item in series:
        named = NAMED_CT.search(item.description) if item.role == "annotation" and not item.target_uid else None
        targets = numbered.get((item.study_uid, named.group(1)), []) if named else []
        linked.append(Series(**{**vars(item), "target_uid": targets[0]}) if len(targets) == 1 else item)
    return linked


def _require_ct(offers: dict[str, Offer], table: Path) -> dict[str, Offer]:
    for name, offer in offers.items():
        if not any(series.role == "ct" for series in offer.series):
            raise GuideGenError(f"{table}: no CT series of the collection '{name}'")
    return offers
