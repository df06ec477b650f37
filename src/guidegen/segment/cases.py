"""What each arm learns from and is judged on."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from guidegen.errors import GuideGenError
from guidegen.evaluate.memorisation import find_memorised
from guidegen.evaluate.volumes import read_spacing
from guidegen.manifest import read_manifest
from guidegen.mask.resample import read_volume
from guidegen.prepare.cohort import CohortCase, read_cohort
from guidegen.seeds import derive_seed
from guidegen.segment.settings import Run
from guidegen.study import Study
from guidegen.synthesize.plan import read_plan
from guidegen.tables import read_tsv

HU_LOW, HU_HIGH = -1024.0, 1024.0


class GridCase(ABC):
    """A case that can be brought onto the study's grids."""

    case: str

    @abstractmethod
    def read(self) -> tuple[np.ndarray, np.ndarray, tuple[float, float, float]]:
        """Return (CT in HU (2n)³, class ids n³, spacing of the label grid in mm)."""

    def load(self, resolution: str) -> tuple[np.ndarray, np.ndarray]:
        """Return (CT scaled to [-1, 1], float32; class ids, uint8), both on the grid of `resolution`."""
        ct, labels, _ = self.read()
        if any(fine != 2 * coarse for fine, coarse in zip(ct.shape, labels.shape, strict=True)):
            raise GuideGenError(f"{self.case}: CT {ct.shape} is not twice as fine as the label map {labels.shape}")
        if resolution == "labels":
            return pool_ct(scale_ct(ct)), labels
        return scale_ct(ct), labels.repeat(2, 0).repeat(2, 1).repeat(2, 2)

    def load_hu(self, resolution: str) -> tuple[np.ndarray, np.ndarray, tuple[float, float, float]]:
        """Return (CT in HU, int16; class ids, uint8; spacing in mm), all on the grid of `resolution`."""
        ct, labels, (x, y, z) = self.read()
        if resolution == "labels":
            return np.rint(pool_ct(ct)).astype(np.int16), labels, (x, y, z)
        return ct.astype(np.int16), labels.repeat(2, 0).repeat(2, 1).repeat(2, 2), (x / 2, y / 2, z / 2)


@dataclass(frozen=True)
class SegmentCase(GridCase):
    """One case with CT and labels, real or synthetic."""

    case: str
    ct: Path
    """`.npy` (2n)³ or NIfTI on that grid, int16 HU."""
    labels: Path
    """`.npy` n³ or NIfTI on that grid, class ids."""
    digest: str
    """Hash of both files."""
    spacing: tuple[float, float, float]
    """Of the label grid, mm."""
    tumour_known: bool = True
    """False where nobody looked for a tumour: its absence from the label map then says nothing."""

    def read(self) -> tuple[np.ndarray, np.ndarray, tuple[float, float, float]]:
        """Read both files."""
        return _read_array(self.ct), _read_array(self.labels).astype(np.uint8), self.spacing


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
        SegmentCase(case.case, case.ct_path, case.labels_path, case.digest, case.spacing, case.tumour_annotated)
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
                digest = f"{row['sha256']}{row['labels_sha256']}"
                cases.append(SegmentCase(row["case"], *files, digest, read_spacing(files[1])))
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


@dataclass(frozen=True)
class TrainingSet:
    """What a run learns from, each list sorted by case."""

    real: list[SegmentCase]
    synthetic: list[SegmentCase]

    @property
    def cases(self) -> list[SegmentCase]:
        """All cases, sorted by case."""
        return sorted([*self.real, *self.synthetic], key=lambda case: case.case)


def list_training(study: Study, run: Run) -> TrainingSet:
    """Return what a run learns from; nothing where no case has both CT and labels.

    Raises:
        GuideGenError: a synthetic set that tells of test patients, or a set size that there are not enough cases for.
    """
    arm = study.config.segment.arms[run.arm]
    cohort = read_cohort(study)
    real = list_real(cohort, "train") if arm.real else []
    synthetic = list_synthetic(study, arm.synthetic, cohort) if arm.synthetic else []
    if synthetic and study.config.segment.drop_memorised:
        copies = find_memorised(study, cohort, arm.synthetic)
        synthetic = [case for case in synthetic if case.case not in copies]
    if run.size is not None and arm.synthetic:
        synthetic = _take(study, run, synthetic)
    elif run.size is not None:
        real = _take(study, run, real)
    return TrainingSet(*(sorted(cases, key=lambda case: case.case) for cases in (real, synthetic)))


def _take(study: Study, run: Run, cases: list[SegmentCase]) -> list[SegmentCase]:
    """Draw as many cases as a run wants; a smaller set is part of every larger one, and all seeds see the same."""
    assert run.size is not None
    if run.size > len(cases):
        raise GuideGenError(
            f"segment.arms.{run.arm}.sizes asks for {run.size} cases, but there are {len(cases)}; make the set larger "
            f"(`synthesize.sets`), or ask for fewer"
        )
    seed = study.config.study.seed
    return sorted(cases, key=lambda case: derive_seed(seed, "segment", "size", case.case))[: run.size]


def hash_cases(cases: Sequence[SegmentCase]) -> str:
    """Return a hash over the files of the cases."""
    text = "\n".join(f"{case.case} {case.digest} {case.tumour_known}" for case in cases)
    return hashlib.sha256(text.encode()).hexdigest()
