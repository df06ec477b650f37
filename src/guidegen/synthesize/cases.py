"""Makes synthetic cases: draw, check, draw again, write with everything needed to explain or repeat it."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from guidegen.atomic import write_text
from guidegen.manifest import Item, Outcome
from guidegen.mask.resample import write_labels
from guidegen.prepare.cohort import CohortCase, read_cohort
from guidegen.study import Study
from guidegen.synthesize.gates import GateResult, Reference, check_pair, list_failed, measure_volumes
from guidegen.synthesize.plan import CaseRequest
from guidegen.synthesize.sampler import PairSampler, find_spacing, read_model_hashes
from guidegen.synthesize.volumes import center_grid, write_ct

CASE_COLUMNS = (
    *("labels_path", "labels_bytes", "labels_sha256", "sidecar_path", "sidecar_bytes", "sidecar_sha256"),
    *("attempts", "gates", "rejections", "spacing_mm", "spacing_source"),
)


@dataclass(frozen=True)
class Draw:
    """The last attempt at a case, and why those before it were rejected."""

    labels: np.ndarray
    """uint8 (n, n, n)."""
    ct: np.ndarray
    """int16 HU (2n, 2n, 2n)."""
    spacing: tuple[float, float, float]
    spacing_source: str
    attempts: int
    gates: Mapping[str, GateResult]
    rejections: Sequence[Mapping[str, Any]]

    def list_columns(self) -> dict[str, Any]:
        """Return what the manifest says of the case."""
        return {
            "attempts": self.attempts,
            "gates": json.dumps({name: result.passed for name, result in self.gates.items()}),
            "rejections": json.dumps(self.rejections),
            "spacing_mm": ",".join(f"{value:.6g}" for value in self.spacing),
            "spacing_source": self.spacing_source,
        }


@dataclass(frozen=True)
class CaseMaker:
    """Makes cases of one study with one set of trained models."""

    study: Study
    sampler: PairSampler
    reject: bool
    """Draw again, and in the end exclude, what fails a gate."""
    spacings: tuple[tuple[tuple[str, str], tuple[float, float, float]], ...]
    """Covered range and spacing of each training case."""
    reference: Reference
    origin: Mapping[str, Any]
    """What all sidecars share: model and config hashes, licence chain."""

    @classmethod
    def load(cls, study: Study, reject: bool) -> "CaseMaker":
        """Load models and training cohort. Raises GuideGenError where either is missing or they do not fit."""
        sampler = PairSampler.load(study)
        training = [case for case in read_cohort(study) if case.split == "train"]
        return cls(
            study=study,
            sampler=sampler,
            reject=reject,
            spacings=tuple(((case.coverage_first, case.coverage_last), case.spacing) for case in training),
            reference=measure_reference(training, len(study.labels)),
            origin=describe_origin(study, training),
        )

    def make(self, item: Item, folder: Path) -> Outcome:
        """Write CT, label map and sidecar of one case: a worker of `process_items`, the payload is its request."""
        request: CaseRequest = item.payload
        draw = self.draw(request)
        files = self.write(folder, request, draw)
        failed = list_failed(draw.gates)
        if failed and self.reject and not self.study.config.synthesize.keep_rejected:
            return Outcome(files, draw.list_columns(), "excluded", "gates failed: " + "; ".join(failed))
        return Outcome(files, draw.list_columns())

    def draw(self, request: CaseRequest) -> Draw:
        """Draw a case until it passes the gates or the attempts are used up."""
        settings = self.study.config.synthesize
        spacing, source = find_spacing(request, self.spacings)
        rejections: list[dict[str, Any]] = []
        while True:
            attempt = len(rejections)
            labels, ct = self.sampler.draw(request, attempt)
            table, statements = self.study.labels, request.statements
            gates = check_pair(labels, ct, spacing, table, settings.gates, self.reference, statements)
            failed = list_failed(gates)
            if failed and self.reject:
                rejections.append({"attempt": attempt, "failed": failed})
            if not failed or not self.reject or attempt + 1 == settings.max_attempts:
                return Draw(labels, ct, spacing, source, attempt + 1, gates, rejections)

    def write(self, folder: Path, request: CaseRequest, draw: Draw) -> dict[str, str]:
        """Write `<case>.ct.nii.gz`, `<case>.labels.nii.gz` and `<case>.json`; return file names by role."""
        files = {
            "": f"{request.case}.ct.nii.gz",
            "labels": f"{request.case}.labels.nii.gz",
            "sidecar": f"{request.case}.json",
        }
        size = draw.labels.shape[0]
        write_ct(folder / files[""], draw.ct, center_grid(size, draw.spacing, draw.ct.shape[0] // size))
        write_labels(folder / files["labels"], draw.labels, center_grid(size, draw.spacing))
        sidecar = {
            "synthetic": True,
            "case": request.case,
            "prompt": request.prompt,
            "statements": request.statements,
            "source_case": request.source_case,
            "split": request.split,
            "seed": request.seed,
            "conditions": {"spacing_mm": request.spacing, "coverage": request.coverage},
            "spacing_mm": draw.spacing,
            "spacing_source": draw.spacing_source,
            "attempts": draw.attempts,
            "gates": {name: asdict(result) for name, result in draw.gates.items()},
            "rejections": draw.rejections,
            **self.origin,
        }
        write_text(folder / files["sidecar"], json.dumps(sidecar, indent=1, sort_keys=True) + "\n")
        return files


def measure_reference(training: Sequence[CohortCase], classes: int) -> Reference:
    """Return the class volumes of the training cases that have labels."""
    labelled = [case for case in training if case.labels_path]
    volumes = [measure_volumes(case.load_labels(), case.spacing, classes) for case in labelled]
    coverage = tuple((case.coverage_first, case.coverage_last) for case in labelled)
    return Reference(np.array(volumes).reshape(-1, classes), coverage)


def describe_origin(study: Study, training: Sequence[CohortCase]) -> dict[str, Any]:
    """Return hashes of models and config, and the licences of all cases that the models learned from."""
    counts = Counter((case.collection, case.licence) for case in training)
    licences = [
        {"collection": collection, "licence": licence, "doi": study.collections[collection].doi, "cases": count}
        for (collection, licence), count in sorted(counts.items())
    ]
    sections = ("synthesize", "prepare.grid", "prepare.encoder")
    return {
        "models": read_model_hashes(study),
        "config": study.config.hash_sections(*sections),
        "encoder": study.config.prepare.encoder.name,
        "licences": licences,
    }
