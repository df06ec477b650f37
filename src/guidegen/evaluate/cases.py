"""Read real and generated cases and observe them, one at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np

from guidegen.errors import GuideGenError
from guidegen.evaluate.observe import Observation, observe_case
from guidegen.manifest import read_manifest
from guidegen.prepare.cohort import CohortCase
from guidegen.progress import Advance
from guidegen.statements import Statements
from guidegen.study import Study
from guidegen.tables import read_tsv


@dataclass(frozen=True)
class Case:
    """One case, observed.

    `coverage` is the true numeric coverage (top, bottom) of a real case (0 at the centre of T1, 1 at that of L5), None
    for a generated one; `group` is what the bootstrap resamples (the patient); `voxel_mm` is the longest edge of a
    voxel of the label grid.
    """

    case: str
    group: str
    split: str
    statements: Statements
    coverage: tuple[float, float] | None
    tumour_annotated: bool
    voxel_mm: float
    seen: Observation


def read_real_cases(study: Study, cohort: Sequence[CohortCase], advance: Advance) -> Iterator[Case]:
    """Yield every cohort case that has labels, with the statements of its canonical prompt (none without a prompt)."""
    path = study.root / "data" / "cohort" / "text" / "prompts.tsv"
    stated = {
        row["case"]: Statements.model_validate_json(row["statements"])
        for row in read_tsv(path, ("case", "variant", "statements"))
        if row["variant"] == "0"
    }
    for entry in cohort:
        advance(1, entry.case)
        if entry.labels_path is None:
            continue
        ct = entry.load_ct() if entry.ct_path else None
        yield Case(
            case=entry.case,
            group=entry.patient,
            split=entry.split,
            statements=stated.get(entry.case, Statements()),
            coverage=entry.coverage,
            tumour_annotated=entry.tumour_annotated,
            voxel_mm=max(entry.spacing),
            seen=observe_case(entry.load_labels(), ct, np.asarray(entry.spacing), study.labels),
        )


def list_synthetic(study: Study, name: str) -> list[dict[str, str]]:
    """Rows of a synthetic set's prompt table, each joined with its manifest row.

    Raises:
        GuideGenError: the set was not made, or a prompt has no row in its shard's manifest.
    """
    folder = study.root / "results" / "synthetic" / name
    prompts = read_tsv(folder / "prompts.tsv", ("case", "prompt", "statements", "source_case", "shard"))
    made = {
        row["case"]: row
        for shard in sorted({row["shard"] for row in prompts})
        for row in read_manifest(folder / f"{shard}.tsv")
    }
    missing = [row["case"] for row in prompts if row["case"] not in made]
    if missing:
        raise GuideGenError(f"{folder}: {len(missing)} prompt(s) without a manifest row, the first is {missing[0]}")
    return [made[row["case"]] | row for row in prompts]


def list_synthetic_sets(study: Study) -> list[str]:
    """Names of the synthetic sets that have a prompt table."""
    return sorted(path.parent.name for path in (study.root / "results" / "synthetic").glob("*/prompts.tsv"))


def read_synthetic_cases(study: Study, name: str, advance: Advance) -> Iterator[Case]:
    """Yield every generated case of a set; cases that failed or were rejected for good are not there to yield."""
    for row in list_synthetic(study, name):
        advance(1, row["case"])
        if row["status"] != "ok":
            continue
        labels, spacing = read_volume(study.root / row["labels_path"])
        ct, _ = read_volume(study.root / row["path"])
        yield Case(
            case=row["case"],
            group=row["source_case"] or row["case"],
            split=row["split"],
            statements=Statements.model_validate_json(row["statements"]),
            coverage=None,
            tumour_annotated=True,
            voxel_mm=float(spacing.max()),
            seen=observe_case(labels.astype(np.uint8), ct, spacing, study.labels),
        )


def read_volume(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a NIfTI volume as (X, Y, Z) in RAS+ and its spacing in mm."""
    image = nibabel.as_closest_canonical(nibabel.load(path))
    return np.asanyarray(image.dataobj), np.asarray(image.header.get_zooms()[:3], float)  # type: ignore[attr-defined]
