"""What each arm learns from and is judged on."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from guidegen.errors import GuideGenError
from guidegen.manifest import read_manifest
from guidegen.mask.resample import read_volume
from guidegen.prepare.cohort import CohortCase, read_cohort
from guidegen.segment.settings import ArmSettings
from guidegen.study import Study
from guidegen.synthesize.plan import read_plan
from guidegen.tables import read_tsv

HU_LOW, HU_HIGH = -1024.0, 1024.0


@dataclass(frozen=True)
class SegmentCase:
    """One case with CT and labels, real or synthetic."""

    case: str
    ct: Path
    """`.npy` (2n)³ or NIfTI on that grid, int16 HU."""
    labels: Path
    """`.npy` n³ or NIfTI on that grid, class ids."""
    digest: str
    """Hash of both files."""
    tumour_known: bool = True
    """False where nobody looked for a tumour: its absence from the label map then says nothing."""

    def load(self, resolution: str) -> tuple[np.ndarray, np.ndarray]:
        """Return (CT scaled to [-1, 1], float32; class ids, uint8), both on the grid of `resolution`."""
        ct, labels = _read_array(self.ct), _read_array(self.labels).astype(np.uint8)
        if any(fine != 2 * coarse for fine, coarse in zip(ct.shape, labels.shape, strict=True)):
            raise GuideGenError(f"{self.case}: CT {ct.shape} is not twice as fine as the label map {labels.shape}")
        scaled = scale_ct(ct)
        if resolution == "labels":
            return pool_ct(scaled), labels
        return scaled, labels.repeat(2, 0).repeat(2, 1).repeat(2, 2)


def scale_ct(ct: np.ndarray) -> np.ndarray:
    """Clip HU and scale them to [-1, 1], float32."""
    return ((np.clip(ct, HU_LOW, HU_HIGH) - HU_LOW) * (2 / (HU_HIGH - HU_LOW)) - 1).astype(np.float32)


def pool_ct(ct: np.ndarray) -> np.ndarray:
    """Average blocks of 2³ voxels: (2n, 2n, 2n) to (n, n, n)."""
    x, y, z = (size // 2 for size in ct.shape)
    return ct.reshape(x, 2, y, 2, z, 2).mean((1, 3, 5), dtype=np.float32)


def _read_array(path: Path) -> np.ndarray:
    return np.load(path, allow_pickle=False) if path.suffix == ".npy" else read_volume(path)[0]


def list_real(cohort: Sequence[CohortCase], split: str) -> list[SegmentCase]:
    """Return the real cases of a split that have CT and labels."""
    return [
        SegmentCase(case.case, case.ct_path, case.labels_path, case.digest, case.tumour_annotated)
        for case in cohort
        if case.split == split and case.ct_path and case.labels_path
    ]


def list_synthetic(study: Study, name: str, cohort: Sequence[CohortCase]) -> list[SegmentCase]:
    """Return the cases of a synthetic set that passed their gates.

    Raises:
        GuideGenError: a case was made from a prompt of a test patient.
    """
    requests = read_plan(study, name)
    check_sources(study, name, cohort)
    cases = []
    for shard in sorted({study.config.synthesize.name_shard(number) for number in range(len(requests))}):
        for row in read_manifest(study.manifest("results", "synthetic", name, shard)):
            if row["status"] == "ok":
                files = study.root / row["path"], study.root / row["labels_path"]
                cases.append(SegmentCase(row["case"], *files, f"{row['sha256']}{row['labels_sha256']}"))
    return cases


def check_sources(study: Study, name: str, cohort: Sequence[CohortCase]) -> None:
    """Raise GuideGenError where a synthetic set would tell a segmenter of the test patients."""
    test = {case.case for case in cohort if case.split == "test"}
    told = {case.case for case in cohort if case.split != "test"}
    texts = read_tsv(study.root / "data" / "cohort" / "text" / "prompts.tsv", ("case", "prompt"))
    secret = {row["prompt"] for row in texts if row["case"] in test} - {
        row["prompt"] for row in texts if row["case"] in told
    }
    for request in read_plan(study, name):
        if request.source_case in test or request.split == "test" or request.prompt in secret:
            raise GuideGenError(
                f"results/synthetic/{name}/prompts.tsv: {request.case} is made from the prompt of a test patient "
                f"({request.source_case or request.prompt!r}); a segmenter must not learn from it. "
                f"Use a set with `split: train`"
            )
        if request.source_case and request.source_case not in told:
            raise GuideGenError(
                f"results/synthetic/{name}/prompts.tsv: {request.case} comes from {request.source_case}, which is not "
                f"in data/cohort/cohort.tsv; plan the set again"
            )


def list_training(study: Study, arm: ArmSettings) -> list[SegmentCase]:
    """Return what an arm learns from, sorted by case; nothing where no case has both CT and labels."""
    cohort = read_cohort(study)
    cases = list_real(cohort, "train") if arm.real else []
    if arm.synthetic:
        cases += list_synthetic(study, arm.synthetic, cohort)
    return sorted(cases, key=lambda case: case.case)


def hash_cases(cases: Sequence[SegmentCase]) -> str:
    """Return a hash over the files of the cases."""
    text = "\n".join(f"{case.case} {case.digest} {case.tumour_known}" for case in cases)
    return hashlib.sha256(text.encode()).hexdigest()
