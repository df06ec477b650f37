"""Which CT series an annotation series was drawn on: the IDC's tables of SEG and RTSTRUCT, or a description."""

import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import requests

from guidegen.atomic import hash_file, replace_file
from guidegen.errors import GuideGenError
from guidegen.index.series import Offer, Series
from guidegen.services import TemporaryError, UnreachableError, ask_service, read_stream

TABLES = ("seg_index.parquet", "rtstruct_index.parquet")
ANNOTATED_COLUMNS = ("segmented_SeriesInstanceUID", "referenced_SeriesInstanceUID")
NAMED_CT = re.compile(r"CT series (\d+)\s*$")
LONGEST_DOWNLOAD_S = 900.0
BATCH_ROWS = 65_536
log = logging.getLogger(__name__)


def find_tables(folder: Path | None, url: str, cache: Path, attempts: int) -> list[Path]:
    """Return the IDC's tables of SEG and RTSTRUCT, which the package idc-index-data does not carry.

    Args:
        folder: where they lie already, None: they are downloaded.
        url: place of the releases of idc-index-data, "": nothing is downloaded.
        cache: where downloaded tables are kept.
        attempts: how often a download is tried; once where the place cannot be reached at all.

    Returns:
        Both tables; none where the place cannot be reached or is "", with a warning.

    Raises:
        GuideGenError: `folder` lacks a table, or a download failed or is not what its checksum says.
    """
    if folder:
        missing = [name for name in TABLES if not (folder / name).is_file()]
        if missing:
            raise GuideGenError(f"index.idc_tables: {folder} lacks {', '.join(missing)}")
        return [folder / name for name in TABLES]
    release = version("idc-index-data")
    paths = [cache / release / name for name in TABLES]
    try:
        for path in paths:
            if not path.is_file() and url:
                _download(f"{url.rstrip('/')}/{release}/release_artifacts/{path.name}", path, attempts)
    except UnreachableError as error:
        log.warning("%s", error)
    found = [path for path in paths if path.is_file()]
    if len(found) < len(paths):
        log.warning(
            "%s of idc-index-data %s not at hand: annotations are linked to their CT only where their description "
            "names it. `guidegen index --force` with a connection (or index.idc_tables) links them all.",
            " and ".join(name for name in TABLES if cache / release / name not in found),
            release,
        )
    return found


def _download(url: str, path: Path, attempts: int) -> None:
    def take_checksum(response: requests.Response) -> str:
        words = b"".join(read_stream(response, LONGEST_DOWNLOAD_S)).decode("ascii", "replace").split()
        if not words or not re.fullmatch(r"[0-9a-f]{64}", words[0]):
            raise TemporaryError(f"{response.url}: no sha256 checksum in it")
        return words[0]

    def take_table(response: requests.Response) -> None:
        with replace_file(path) as temporary:
            with temporary.open("wb") as stream:
                for piece in read_stream(response, LONGEST_DOWNLOAD_S):
                    stream.write(piece)
            found = hash_file(temporary)
            if found != expected:
                raise TemporaryError(f"{url}: sha256 is {found}, {url}.sha256 says {expected}")

    expected = ask_service("GET", f"{url}.sha256", take_checksum, attempts=attempts, retry_unreachable=False)
    ask_service("GET", url, take_table, attempts=attempts, retry_unreachable=False)


def link_annotations(offers: dict[str, Offer], tables: list[Path]) -> dict[str, Offer]:
    """Return the offers with the CT of each annotation, as the tables say, else as its description says.

    A description that ends in `CT series <number>` names that series of the same study.

    Args:
        offers: what the source has, by collection.
        tables: as `find_tables` gives them; one that does not exist is passed over.

    Raises:
        GuideGenError: a file is no such table.
    """
    uids = [item.series_uid for offer in offers.values() for item in offer.series if item.role == "annotation"]
    targets: dict[str, tuple[str, str]] = {}
    for table in tables:
        if table.is_file():
            targets |= _read_targets(table, uids)
    linked = {}
    for name, offer in offers.items():
        known = [_set_target(item, targets.get(item.series_uid)) for item in offer.series]
        linked[name] = Offer(_link_by_description(known), offer.version)
    return linked


def _read_targets(table: Path, uids: list[str]) -> dict[str, tuple[str, str]]:
    """Return (UID of the annotated CT, algorithm type) of the given annotations; in batches, to keep memory small."""
    found: dict[str, tuple[str, str]] = {}
    try:
        with pq.ParquetFile(table) as file:
            names = file.schema_arrow.names
            target = next((name for name in ANNOTATED_COLUMNS if name in names), None)
            if target is None or "SeriesInstanceUID" not in names:
                raise GuideGenError(f"{table}: expected SeriesInstanceUID and one of {', '.join(ANNOTATED_COLUMNS)}")
            columns = ["SeriesInstanceUID", target, *(["AlgorithmType"] if "AlgorithmType" in names else [])]
            for batch in file.iter_batches(BATCH_ROWS, columns=columns, use_threads=False):
                wanted = batch.column("SeriesInstanceUID")
                for row in batch.filter(is_in(wanted, uids)).to_pylist():
                    algorithm = row.get("AlgorithmType") or ""
                    text = algorithm if isinstance(algorithm, str) else (algorithm[0] if algorithm else "")
                    found[row["SeriesInstanceUID"]] = (row[target] or "", text)
    except (OSError, pa.ArrowInvalid) as error:
        raise GuideGenError(f"{table}: not a parquet table: {error}") from None
    return found


def _set_target(item: Series, found: tuple[str, str] | None) -> Series:
    return replace(item, target_uid=found[0], algorithm_type=found[1]) if found else item


def _link_by_description(series: list[Series]) -> list[Series]:
    numbered: dict[tuple[str, str], list[str]] = {}
    for item in series:
        if item.role == "ct":
            numbered.setdefault((item.study_uid, item.series_number), []).append(item.series_uid)
    linked = []
    for item in series:
        named = NAMED_CT.search(item.description) if item.role == "annotation" and not item.target_uid else None
        targets = numbered.get((item.study_uid, named.group(1)), []) if named else []
        linked.append(replace(item, target_uid=targets[0]) if len(targets) == 1 else item)
    return linked


def is_in(column: pa.Array, values: Sequence[str]) -> pa.Array:
    """Return which elements of a column are among the values, as a mask."""
    return pc.is_in(column, pa.array(values, column.type))  # pyright: ignore[reportAttributeAccessIssue]
