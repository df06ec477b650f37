"""Converts the CT series of one shard to volumes in HU."""

import io
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from guidegen.codehash import code_hash
from guidegen.convert.facts import read_facts
from guidegen.convert.headers import check_headers
from guidegen.convert.nifti import read_nifti
from guidegen.convert.settings import ConvertSettings
from guidegen.convert.volume import Volume, convert_stack, write_volume
from guidegen.errors import ItemError, ItemExcluded
from guidegen.manifest import Item, Outcome, process_items, read_manifest
from guidegen.retrieve.tarball import read_tar
from guidegen.study import Collection, Study

COLUMNS = (
    *("patient", "patient_id", "content", "shape", "spacing_mm", "extent_mm", "hu_min", "hu_max", "padding_value"),
    *("padding_share", "sex", "age", "contrast_agent", "phase", "phase_source", "kernel", "thickness_mm", "kvp"),
    *("manufacturer", "description", "body_part", "transfer_syntax", "repairs"),
)


@dataclass(frozen=True)
class Conversion:
    """What a worker needs to convert one case; `raw` is the manifest row of its CT, None for a label-only case."""

    root: Path
    index: Mapping[str, str]
    raw: Mapping[str, str] | None
    settings: ConvertSettings


def convert_shard(study: Study, collection: Collection, shard: str) -> list[dict[str, str]]:
    """Convert all cases of a shard and write its manifest.

    Raises:
        GuideGenError: the shard was not retrieved.
        ShardFailed: more cases failed than the config allows.
    """
    raw = {row["case"]: row for row in read_manifest(study.manifest("data", "raw", collection.id, shard))}
    cases: dict[str, dict[str, str]] = {}
    for row in study.read_index(collection.id, shard):
        if row["role"] == "ct" or row["case"] not in cases:
            cases[row["case"]] = row
    settings = study.config.convert
    items = []
    for case, row in cases.items():
        found = raw.get(case) if row["role"] == "ct" else None
        if row["role"] == "ct" and found is None:
            raise ItemError(f"{case}: not in the manifest of data/raw/{collection.id}/{shard}; retrieve it again")
        inputs = {"raw": found["sha256"] + found["status"] if found else "none"}
        items.append(Item(case, inputs, Conversion(study.root, row, found, settings)))
    return process_items(
        study.shard("data", "ct", collection.id, shard),
        items,
        convert_case,
        fingerprint=code_hash("convert") + study.config.hash_sections("convert"),
        columns=COLUMNS,
        max_failed_share=study.config.study.max_failed_share,
        workers=settings.workers,
    )


def convert_case(item: Item, folder: Path) -> Outcome:
    """Convert one case; a case that has only labels becomes an ok row without a file.

    A series that is not one regular axial volume becomes an excluded row, or a failed one where the config says so;
    one that was not retrieved or cannot be converted a failed one.
    """
    task: Conversion = item.payload
    identity = {"patient": task.index["patient"], "patient_id": task.index["patient_id"]}
    if task.raw is None:
        return Outcome(columns=identity | {"content": "none"})
    try:
        return _convert_series(item.case, task, task.raw, identity, folder)
    except ItemExcluded as error:
        return Outcome(status="excluded", reason=str(error), columns=identity)
    except ItemError as error:
        return Outcome(status="failed", reason=str(error), columns=identity)


def _convert_series(
    case: str, task: Conversion, raw: Mapping[str, str], identity: dict[str, str], folder: Path
) -> Outcome:
    if raw["status"] != "ok":
        raise ItemError(f"{case}: its series was not retrieved: {raw['reason']}")
    files = [data for _, data in read_tar(task.root / raw["path"])]
    if raw["format"] == "nifti":
        volume, facts, repairs = read_nifti(case, files[0], task.settings), {}, ()
    else:
        stack = check_headers(case, files, task.settings)
        volume = convert_stack(case, stack, folder)
        header = pydicom.dcmread(io.BytesIO(stack.slices[0].data), stop_before_pixels=True)
        facts, repairs = read_facts(header), stack.repairs
        if stack.one_of_several:
            facts |= {"phase": "", "phase_source": ""}
        for name in ("dicom", "nifti"):
            shutil.rmtree(folder / name)
    name = f"{case}.nii.gz"
    write_volume(folder / name, volume.hu, volume.affine)
    columns = identity | {"content": "ct"} | describe_volume(volume) | facts | {"repairs": "; ".join(repairs)}
    return Outcome(files={"": name}, columns=columns)


def describe_volume(volume: Volume) -> dict[str, Any]:
    """Return the manifest columns that the volume itself fills; lists run x, y, z."""
    spacing = np.linalg.norm(volume.affine[:3, :3], axis=0)
    extent = spacing * volume.hu.shape
    # The same voxels without negative strides, which make numpy's reductions ten times slower.
    hu = volume.hu[tuple(slice(None, None, -1 if stride < 0 else 1) for stride in volume.hu.strides)]
    return {
        "shape": ",".join(str(n) for n in volume.hu.shape),
        "spacing_mm": ",".join(f"{value:.6g}" for value in spacing),
        "extent_mm": ",".join(f"{value:.6g}" for value in extent),
        "hu_min": int(hu.min()),
        "hu_max": int(hu.max()),
        "padding_value": volume.padding_value,
        "padding_share": round(volume.padding_share, 6),
    }
