"""A paired CT, text and mask benchmark that anyone may have: everything but the CT pixels, which are fetched by UID."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from guidegen.atomic import hash_file
from guidegen.errors import GuideGenError
from guidegen.export.cards import render_template, write_data_card
from guidegen.export.licences import refuse_forbidden
from guidegen.export.release import Copy, Release, copy_files, write_folder, write_labels
from guidegen.progress import track_progress
from guidegen.tables import write_tsv

LOADER = Path(__file__).parent / "assets" / "guidegen_benchmark.py"
CASE_COLUMNS = (
    *("case", "split", "collection", "patient", "site", "series_uid", "study_uid", "source", "location", "instances"),
    *(
        "ct_shape",
        "spacing_mm",
        "ct_sha256",
        "phase",
        "tumour_annotated",
        "labels_path",
        "labels_sha256",
        "licence",
        "doi",
    ),
)
PROMPT_COLUMNS = ("case", "variant", "prompt", "statements", "sources")
METRICS = {
    "dice": {"unit": "share", "better": "higher"},
    "hd95": {"unit": "mm", "better": "lower"},
    "surface_dice": {"unit": "share", "better": "higher"},
}


def export_benchmark(release: Release, out: Path) -> int:
    """Write the benchmark into `out`; return the number of its cases.

    A case is in it where it is in the cohort, has a CT of a public DICOM series that a stranger can read as it is, and
    has a prompt; a label map where the study has one. The others are named in `left_out.tsv`.

    Raises:
        GuideGenError: a source forbids the release, no case is left, `out` is not empty, or a file is not what its
            manifest says.
    """
    refuse_forbidden(release.study)
    tables = release.tables
    series = {row["case"]: row for rows in tables.index.values() for row in rows if row["role"] == "ct"}
    volumes = {row["case"]: row for row in tables.ct}
    masks = {row["case"]: row for row in tables.mask if row["status"] == "ok"}
    prompts = [row for row in tables.text if row["status"] == "ok" and row["prompt"]]
    worded = {row["case"] for row in prompts}
    used, left_out = [], []
    for case in tables.cohort:
        reason = _explain_absence(release, case, series.get(case["case"], {}), volumes.get(case["case"], {}), worded)
        if reason:
            left_out.append({"case": case["case"], "reason": reason})
        else:
            used.append(case)
    if not used:
        reasons = "; ".join(sorted({row["reason"] for row in left_out})) or "the cohort is empty"
        raise GuideGenError(f"{release.study.root}: no case for a benchmark: {reasons}")
    with write_folder(out) as folder:
        rows = []
        with track_progress("benchmark", len(used), "cases") as advance:
            for case in used:
                name = case["case"]
                rows.append(_describe_case(release, case, series[name], volumes[name], masks.get(name)))
                advance(1, name)
        copies = [
            Copy(release.study.root / masks[row["case"]]["path"], row["labels_path"], row["labels_sha256"])
            for row in rows
            if row["labels_path"]
        ]
        copy_files(copies, folder, "benchmark: label maps")
        kept = {row["case"] for row in rows}
        write_tsv(folder / "cases.tsv", CASE_COLUMNS, rows)
        write_tsv(
            folder / "prompts.tsv", PROMPT_COLUMNS, [_pick(p, PROMPT_COLUMNS) for p in prompts if p["case"] in kept]
        )
        write_tsv(folder / "left_out.tsv", ("case", "reason"), left_out)
        _write_texts(release, folder, rows)
    return len(rows)


def _explain_absence(
    release: Release, case: Mapping[str, str], series: Mapping[str, str], volume: Mapping[str, str], worded: set[str]
) -> str:
    """Say why a case of the cohort cannot be in a benchmark, "" where it can."""
    name = case["case"]
    local = release.study.config.index.local.get(case["collection"])
    if case["status"] != "ok":
        return f"{case['status']} by prepare: {case['reason']}"
    if case["has_ct"] != "true" or not series:
        return "no CT"
    if local and local.private:
        return "private: its series UID is a pseudonym, nobody can fetch it"
    if series["format"] != "dicom":
        return f"its CT is no DICOM series but {series['format']}, there is no UID to fetch it by"
    if volume["repairs"]:
        return f"its series is irregular and was repaired ({volume['repairs']})"
    return "" if name in worded else "no prompt"


def _describe_case(
    release: Release,
    case: Mapping[str, str],
    series: Mapping[str, str],
    volume: Mapping[str, str],
    mask: Mapping[str, str] | None,
) -> dict[str, Any]:
    path = release.study.root / volume["path"]
    if hash_file(path) != volume["sha256"]:
        raise GuideGenError(f"{path}: not what its manifest says; see `guidegen version verify`")
    hu = np.ascontiguousarray(np.asanyarray(nibabel.Nifti1Image.load(path).dataobj), "<i2")
    public = series["location"] if series["location"].startswith("s3://") else ""
    return {
        **_pick(case, ("case", "split", "collection", "patient", "site", "phase", "tumour_annotated", "licence")),
        **_pick(series, ("series_uid", "study_uid", "source", "instances", "doi")),
        "location": public,
        "ct_shape": hu.shape,
        "spacing_mm": volume["spacing_mm"],
        "ct_sha256": hashlib.sha256(hu.tobytes()).hexdigest(),
        "labels_path": f"labels/{case['case']}.nii.gz" if mask and case["has_labels"] == "true" else "",
        "labels_sha256": mask["sha256"] if mask and case["has_labels"] == "true" else "",
    }


def _pick(row: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    return {name: row[name] for name in names}


def _write_texts(release: Release, folder: Path, rows: list[dict[str, Any]]) -> None:
    study = release.study
    write_labels(release, folder)
    protocol = {
        "metrics": METRICS,
        "surface_tolerance_mm": study.config.evaluate.surface_tolerance_mm,
        "grid": "the CT's",
        "interval": "95 %, bootstrap over patients",
        "resamples": study.config.evaluate.bootstrap,
        "test_split": "test",
    }
    (folder / "protocol.json").write_text(json.dumps(protocol, indent=1) + "\n", encoding="utf-8")
    shutil.copyfile(LOADER, folder / LOADER.name)
    facts = {
        "release": release,
        "cases": len(rows),
        "triples": sum(bool(row["labels_path"]) for row in rows),
        "splits": {name: sum(row["split"] == name for row in rows) for name in ("train", "val", "test")},
        "protocol": protocol,
        "public": all(row["location"] for row in rows),
    }
    for template, name in (("benchmark_readme.md", "README.md"), ("benchmark_protocol.md", "PROTOCOL.md")):
        (folder / name).write_text(render_template(template, facts), encoding="utf-8")
    write_data_card(release, folder / "DATA_CARD.md")
    files = {
        path.relative_to(folder).as_posix(): hash_file(path) for path in sorted(folder.rglob("*")) if path.is_file()
    }
    tree = {"format": 1, "run": release.run.tag, "date": release.run.date, "code": release.code, "files": files}
    (folder / "benchmark.json").write_text(json.dumps(tree, indent=1) + "\n", encoding="utf-8")
