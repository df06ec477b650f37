"""The cohort table, and how the later phases read it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from guidegen.errors import GuideGenError
from guidegen.study import Study
from guidegen.tables import read_tsv

COHORT_COLUMNS = (
    *("case", "patient", "collection", "site", "split", "has_ct", "has_labels", "tumour_annotated", "sex", "age"),
    *("phase", "coverage_first", "coverage_last", "coverage_top", "coverage_bottom", "spacing_mm", "tumour_size_mm"),
    *("tumour_side", "absent", "licence", "status", "reason", "prompts"),
)


@dataclass(frozen=True)
class CohortCase:
    """One case that later phases may use; text values are "" where unknown."""

    case: str
    patient: str
    collection: str
    split: str
    tumour_annotated: bool
    sex: str
    coverage_first: str
    coverage_last: str
    coverage: tuple[float, float] | None
    """Top and bottom of the covered range: 0 at T1, 1 at L5."""
    spacing: tuple[float, float, float]
    """Millimetres per voxel of the label grid, x, y, z."""
    licence: str
    labels_path: Path | None
    ct_path: Path | None
    digest: str
    """Hash over the arrays, for fingerprints."""

    def load_labels(self) -> np.ndarray:
        """Return the label map, uint8 (n, n, n)."""
        assert self.labels_path is not None
        return np.load(self.labels_path, allow_pickle=False)

    def load_ct(self) -> np.ndarray:
        """Return the CT, int16 HU (2n, 2n, 2n)."""
        assert self.ct_path is not None
        return np.load(self.ct_path, allow_pickle=False)


def read_cohort(study: Study) -> list[CohortCase]:
    """Return the usable cases (status ok), sorted by case id.

    Raises:
        GuideGenError: the cohort was not prepared yet.
    """
    folder = study.root / "data" / "cohort"
    if not (folder / "cohort.tsv").is_file():
        raise GuideGenError(f"{folder / 'cohort.tsv'}: no cohort yet; run `guidegen prepare --study {study.root}`")
    arrays = {row["case"]: row for row in read_tsv(folder / "arrays.tsv")}
    rows = read_tsv(folder / "cohort.tsv", COHORT_COLUMNS)
    return [_read_case(study, row, arrays[row["case"]]) for row in rows if row["status"] == "ok"]


def _read_case(study: Study, row: dict[str, str], arrays: dict[str, str]) -> CohortCase:
    covered = row["coverage_top"], row["coverage_bottom"]
    x, y, z = (float(value) for value in row["spacing_mm"].split(","))
    return CohortCase(
        case=row["case"],
        patient=row["patient"],
        collection=row["collection"],
        split=row["split"],
        tumour_annotated=row["tumour_annotated"] == "true",
        sex=row["sex"],
        coverage_first=row["coverage_first"],
        coverage_last=row["coverage_last"],
        coverage=(float(covered[0]), float(covered[1])) if all(covered) else None,
        spacing=(x, y, z),
        licence=row["licence"],
        labels_path=study.root / arrays["labels_path"] if arrays["labels_path"] else None,
        ct_path=study.root / arrays["ct_path"] if arrays["ct_path"] else None,
        digest=f"{arrays['labels_sha256']}{arrays['ct_sha256']}",
    )
