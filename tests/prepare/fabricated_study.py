"""A study whose convert, mask and pair phases are done: their tables as the contracts say, with simple volumes."""

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np

from guidegen.atomic import hash_file
from guidegen.ids import make_case_id
from guidegen.manifest import BASE_COLUMNS
from guidegen.study import Study
from guidegen.tables import write_tsv

CONFIG = Path(__file__).parents[2] / "config"
SHAPE = (44, 34, 60)
SPACING = (8.0, 8.0, 8.0)
ORGANS = {
    # class id: (HU, [(centre x, y, z), (radius x, y, z)] as shares of the box; x to the right, y forward, z up)
    6: (-800, [((0.26, 0.55, 0.78), (0.17, 0.30, 0.17)), ((0.74, 0.55, 0.78), (0.17, 0.30, 0.17))]),
    11: (150, [((0.42, 0.65, 0.74), (0.13, 0.18, 0.09))]),
    3: (110, [((0.70, 0.55, 0.54), (0.21, 0.30, 0.09))]),
    1: (120, [((0.20, 0.40, 0.53), (0.09, 0.15, 0.06))]),
    4: (60, [((0.33, 0.65, 0.52), (0.12, 0.15, 0.06))]),
    2: (160, [((0.30, 0.32, 0.38), (0.07, 0.11, 0.07)), ((0.70, 0.32, 0.36), (0.07, 0.11, 0.07))]),
    9: (30, [((0.25, 0.65, 0.28), (0.08, 0.10, 0.11)), ((0.75, 0.65, 0.28), (0.08, 0.10, 0.11))]),
    10: (10, [((0.50, 0.60, 0.07), (0.13, 0.20, 0.05))]),
    12: (250, [((0.50, 0.18, 0.50), (0.08, 0.12, 0.60))]),
    17: (200, [((0.46, 0.36, 0.55), (0.045, 0.07, 0.30))]),
    20: (60, [((0.60, 0.55, 0.55), (0.06, 0.09, 0.05))]),
}


def make_volume(rng: np.random.Generator, tumour: bool = True, chest: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return CT (int16 HU) and label map (uint8) of a torso in RAS+; `chest` keeps the upper half only."""
    grid = np.stack(np.meshgrid(*((np.arange(n) + 0.5) / n for n in SHAPE), indexing="ij"))
    body = ((grid[0] - 0.5) / 0.48) ** 2 + ((grid[1] - 0.5) / 0.47) ** 2 < 1
    ct = np.where(body, 20.0, -1024.0)
    labels = np.zeros(SHAPE, np.uint8)
    size = rng.uniform(0.92, 1.08)
    for index, (hu, parts) in ORGANS.items():
        if index == 20 and not tumour:
            continue
        for centre, radius in parts:
            offset = (grid - np.array(centre)[:, None, None, None]) / (np.array(radius)[:, None, None, None] * size)
            inside = ((offset**2).sum(0) < 1) & body
            ct[inside], labels[inside] = hu, index
    ct += rng.normal(0, 10, SHAPE) * body
    ct = np.clip(np.rint(ct), -1024, 3071).astype(np.int16)
    lower = SHAPE[2] // 2 if chest else 0
    return ct[:, :, lower:], labels[:, :, lower:]


def write_volume(path: Path, volume: np.ndarray, spacing: tuple[float, float, float] = SPACING) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(volume, np.diag([*spacing, 1.0])), path)


def fabricate_study(root: Path, patients: int = 6, config: str = "", only: dict[str, str] | None = None) -> Study:
    """Make a study with two collections in one shard each.

    Args:
        root: empty folder.
        patients: patients per collection.
        config: YAML of further sections.
        only: case index within the first collection → `ct`, `labels`, `convert-failed` or `mask-failed`.
    """
    (root / "config").mkdir(parents=True)
    for name in ("collections.tsv", "labels.tsv", "source_labels.tsv"):
        shutil.copy(CONFIG / name, root / "config" / name)
    text = "study: {name: fabricated, threads: 1, collections: [tcga_kirc, tcga_lihc], max_failed_share: 0.5}\n"
    (root / "config" / "config.yaml").write_text(text + (config or "prepare: {grid: 16}\n"))
    for collection in ("tcga_kirc", "tcga_lihc"):
        _write_collection(root, collection, patients, (only or {}) if collection == "tcga_kirc" else {})
    return Study.load(root)


def _write_collection(root: Path, collection: str, patients: int, only: dict[str, str]) -> None:
    index, ct_rows, mask_rows, texts = [], [], [], []
    for number in range(patients):
        rng = np.random.default_rng([number, len(collection), ord(collection[-1])])
        patient = f"{collection[-4:].upper()}-{number:04d}"
        case = make_case_id(collection, patient, f"1.2.{number}")
        kind, chest, tumour = only.get(str(number), ""), number % 3 == 2, number % 2 == 0
        sex = "female" if number % 2 else "male"
        index.append(_index_row(case, patient, collection))
        ct, labels = make_volume(rng, tumour=tumour, chest=chest)
        ct_row, mask_row = _write_files(root, collection, case, ct, labels, kind)
        ct_rows.append({**ct_row, "patient": patient, "patient_id": patient, "sex": sex, "age": 50 + number})
        mask_rows.append({**mask_row, **(_measure(labels, chest, tumour) if mask_row["status"] == "ok" else {})})
        texts += _write_prompts(case, collection, number, sex, chest, tumour)
    own = ("patient", "patient_id", "content", "sex", "age", "phase")
    write_tsv(root / f"data/index/{collection}.tsv", list(index[0]), index)
    write_tsv(root / f"data/ct/{collection}/s000.tsv", [*BASE_COLUMNS, *own], ct_rows)
    columns = dict.fromkeys(key for row in mask_rows for key in row)
    write_tsv(root / f"data/mask/{collection}/s000.tsv", list(columns), mask_rows)
    write_tsv(root / f"data/text/{collection}.tsv", list(texts[0]), texts)


def _index_row(case: str, patient: str, collection: str) -> dict[str, str]:
    row = {"case": case, "patient": patient, "patient_id": patient, "collection": collection, "role": "ct"}
    return {**row, "format": "dicom", "series_uid": case, "licence": "CC BY 3.0", "doi": "10.1/x", "shard": "s000"}


def _write_files(root: Path, collection: str, case: str, ct: np.ndarray, labels: np.ndarray, kind: str) -> tuple:
    empty = {"case": case, "status": "ok", "reason": "", "path": "", "bytes": "", "sha256": ""}
    ct_row, mask_row = {**empty, "content": "none"}, dict(empty)
    if kind == "convert-failed":
        return {**ct_row, "status": "failed", "reason": "no slices"}, {**mask_row, "status": "excluded", "reason": "-"}
    if kind != "labels":
        path = root / f"data/ct/{collection}/s000/{case}.nii.gz"
        write_volume(path, ct)
        ct_row |= {"content": "ct", **_name_file(root, path)}
    if kind == "ct":
        mask_row |= {"status": "excluded", "reason": "no label source"}
    elif kind == "mask-failed":
        mask_row |= {"status": "failed", "reason": "unreadable SEG"}
    else:
        path = root / f"data/mask/{collection}/s000/{case}.torso.nii.gz"
        write_volume(path, labels)
        mask_row |= _name_file(root, path)
    return ct_row, mask_row


def _name_file(root: Path, path: Path) -> dict[str, object]:
    return {"path": str(path.relative_to(root)), "bytes": path.stat().st_size, "sha256": hash_file(path)}


def _measure(labels: np.ndarray, chest: bool, tumour: bool) -> dict[str, object]:
    x, y, z = labels.shape
    return {
        "tumour_annotated": True,
        "tumour_size_mm": 55.0 if tumour else "",
        "tumour_side": "right" if tumour else "",
        "coverage_first": "chest",
        "coverage_last": "upper abdomen" if chest else "pelvis",
        "coverage_top": -0.1,
        "coverage_bottom": 0.6 if chest else 1.2,
        "absent": "",
        "trunk_box": f"1,{x - 1},1,{y - 1},0,{z}",
    }


def _write_prompts(case: str, collection: str, number: int, sex: str, chest: bool, tumour: bool) -> list[dict]:
    site = "kidney" if collection == "tcga_kirc" else "liver"
    last = "upper abdomen" if chest else "pelvis"
    statements = {"age": 50 + number, "sex": sex, "site": site, "tumour": tumour, "coverage_first": "chest"}
    statements |= {"coverage_last": last, "tumour_size_mm": 55.0 if tumour else None}
    words = [
        f"{50 + number}-year-old {sex}, cancer of the {site}, {'mass of 55 mm, ' if tumour else ''}chest to {last}.",
        f"CT from chest to {last} of a {sex} aged {50 + number} with {site} cancer, case {number}.",
    ]
    base = {"case": case, "status": "ok", "reason": "", "statements": json.dumps(statements), "sources": "{}"}
    return [{**base, "variant": index, "prompt": text, "conflicts": ""} for index, text in enumerate(words)]
