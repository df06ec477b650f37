"""Sources `archive` and `idc`: an index in the IDC's columns, read with a filter on collection and modality."""

import importlib
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from guidegen.atomic import hash_file
from guidegen.errors import GuideGenError
from guidegen.index.series import Offer, Series
from guidegen.index.targets import BATCH_ROWS, is_in, link_annotations

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
    offers = {name: Offer([], hash_file(table)[:12]) for name in collections}
    for row in iterate_rows(table, collections):
        place = f"{row['collection_id']}/{row['PatientID']}/{row['SeriesInstanceUID']}"
        offers[row["collection_id"]].series.append(_make_series(row, place))
    return _require_ct(link_annotations(offers, [folder / "seg_index.parquet"]), table)


def read_idc(collections: list[str], tables: list[Path]) -> dict[str, Offer]:
    """Read the index of the Imaging Data Commons that the package idc-index-data carries.

    Args:
        collections: collection ids.
        tables: which CT each annotation belongs to (`guidegen.index.targets.find_tables`).

    Raises:
        GuideGenError: no CT of a wanted collection.
    """
    package = importlib.import_module("idc_index_data")
    table = Path(str(package.IDC_INDEX_PARQUET_FILEPATH))
    extra = " with " + ", ".join(path.stem for path in tables) if tables else ""
    release = f"idc-index-data {version('idc-index-data')}{extra}"
    offers = {name: Offer([], release) for name in collections}
    for row in iterate_rows(table, collections):
        place = f"s3://{row['aws_bucket']}/{row['crdc_series_uuid']}/"
        offers[row["collection_id"]].series.append(_make_series(row, place))
    return _require_ct(link_annotations(offers, tables), table)


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
            batch = batch.filter(is_in(batch.column("Modality"), MODALITIES))
            batch = batch.filter(is_in(batch.column("collection_id"), collections))
            for cells in zip(*map(_list_cells, batch.columns), strict=True):
                yield dict(zip(batch.schema.names, cells, strict=True))


def _list_cells(column: pa.Array) -> list[Any]:
    """Return a column's values; a text that many rows have is one object, which keeps memory small."""
    if not pa.types.is_string(column.type) and not pa.types.is_large_string(column.type):
        return column.to_pylist()
    encoded = pc.dictionary_encode(column)  # pyright: ignore[reportAttributeAccessIssue]
    texts = encoded.dictionary.to_pylist()
    if len(texts) < len(column) / 2:
        texts = list(map(sys.intern, texts))
    return [None if place is None else texts[place] for place in encoded.indices.to_pylist()]


def _make_series(row: dict[str, Any], location: str) -> Series:
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
        crdc_series_uuid=row["crdc_series_uuid"] or "",
        location=location,
    )


def _require_ct(offers: dict[str, Offer], table: Path) -> dict[str, Offer]:
    for name, offer in offers.items():
        if not any(series.role == "ct" for series in offer.series):
            raise GuideGenError(f"{table}: no CT series of the collection '{name}'")
    return offers
