"""Makes synthetic cases: draw, check, draw again, write with everything needed to explain or repeat it."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from guidegen.atomic import write_text
from guidegen.manifest import Item, Outcome
from guidegen.mask.resample import write_labels
from guidegen.prepare.cohort import CohortCase, read_cohort
from guidegen.study import Study
from guidegen.synthesize.batches import BatchSampler
from guidegen.synthesize.gates import Gates, describe_gates, list_failed
from guidegen.synthesize.pair import GateResult, Pair, Segmenter
from guidegen.synthesize.plan import CaseRequest
from guidegen.synthesize.prompts import list_notes
from guidegen.synthesize.reference import measure_reference
from guidegen.synthesize.sampler import PairSampler, find_spacing, read_model_hashes
from guidegen.synthesize.settings import GateName
from guidegen.synthesize.volumes import center_grid, write_ct

CASE_COLUMNS = (
    *("labels_path", "labels_bytes", "labels_sha256", "sidecar_path", "sidecar_bytes", "sidecar_sha256"),
    *("attempts", "gates", "rejections", "spacing_mm", "spacing_source"),
)


@dataclass(frozen=True)
class Draw:
    """The last attempt at a case, and why those before it were rejected."""

    pair: Pair
    spacing_source: str
    attempts: int
    gates: Mapping[GateName, GateResult]
    failed: Sequence[str]
    """Required gates that the last attempt failed, each with its detail."""
    rejections: Sequence[Mapping[str, Any]]

    def list_columns(self) -> dict[str, Any]:
        """Return what the manifest says of the case."""
        return {
            "attempts": self.attempts,
            "gates": json.dumps({name: result.passed for name, result in self.gates.items()}),
            "rejections": json.dumps(self.rejections),
            "spacing_mm": ",".join(f"{value:.6g}" for value in self.pair.spacing),
            "spacing_source": self.spacing_source,
        }


@dataclass(frozen=True)
class CaseMaker:
    """Makes cases of one study with one set of trained models."""

    study: Study
    sampler: BatchSampler
    reject: bool
    """Draw again, and in the end exclude, what fails a required gate."""
    training: Sequence[CohortCase]
    gates: Gates
    origin: Mapping[str, Any]
    """What all sidecars share: model and config hashes, licence chain."""

    @classmethod
    def load(
        cls, study: Study, requests: Iterable[CaseRequest], reject: bool, segmenter: Segmenter | None = None
    ) -> "CaseMaker":
        """Load models and training cohort. Raises GuideGenError where either is missing or they do not fit."""
        sampler = BatchSampler.load(PairSampler.load(study), requests)
        training = [case for case in read_cohort(study) if case.split == "train"]
        reference = measure_reference(training, study.labels)
        return cls(
            study=study,
            sampler=sampler,
            reject=reject,
            training=training,
            gates=Gates(study.labels, study.config.synthesize.gates, reference, segmenter),
            origin=describe_origin(study, training),
        )

    @cached_property
    def spacings(self) -> list[tuple[tuple[str, str], tuple[float, float, float]]]:
        """Covered range and spacing of each training case."""
        return [((case.coverage_first, case.coverage_last), case.spacing) for case in self.training]

    def make(self, item: Item, folder: Path) -> Outcome:
        """Write CT, label map and sidecar of one case: a worker of `process_items`, the payload is its request."""
        request: CaseRequest = item.payload
        draw = self.draw(request)
        files = self.write(folder, request, draw)
        if draw.failed and self.reject and not self.study.config.synthesize.keep_rejected:
            return Outcome(files, draw.list_columns(), "excluded", "gates failed: " + "; ".join(draw.failed))
        return Outcome(files, draw.list_columns())

    def draw(self, request: CaseRequest) -> Draw:
        """Draw a case until it passes the required gates or the attempts are used up."""
        settings = self.study.config.synthesize
        spacing, source = find_spacing(request, self.spacings)
        rejections: list[dict[str, Any]] = []
        while True:
            attempt = len(rejections)
            pair = Pair(*self.sampler.draw(request, attempt), spacing, request.statements)
            gates = self.gates.check(pair)
            failed = list_failed(gates, settings.gates.required)
            if failed and self.reject:
                outcomes = {name: result.passed for name, result in gates.items()}
                rejections.append({"attempt": attempt, "failed": failed, "gates": outcomes})
            if not failed or not self.reject or attempt + 1 == settings.max_attempts:
                return Draw(pair, source, attempt + 1, gates, failed, rejections)

    def write(self, folder: Path, request: CaseRequest, draw: Draw) -> dict[str, str]:
        """Write `<case>.ct.nii.gz`, `<case>.labels.nii.gz` and `<case>.json`; return file names by role."""
        files = {
            "": f"{request.case}.ct.nii.gz",
            "labels": f"{request.case}.labels.nii.gz",
            "sidecar": f"{request.case}.json",
        }
        pair, size = draw.pair, draw.pair.labels.shape[0]
        assert pair.ct is not None
        write_ct(folder / files[""], pair.ct, center_grid(size, pair.spacing, pair.ct.shape[0] // size))
        write_labels(folder / files["labels"], pair.labels, center_grid(size, pair.spacing))
        sidecar = {
            "synthetic": True,
            "case": request.case,
            "prompt": request.prompt,
            "notes": self.list_notes(request),
            "statements": request.statements,
            "source_case": request.source_case,
            "split": request.split,
            "seed": request.seed,
            "conditions": {"spacing_mm": request.spacing, "coverage": request.coverage},
            "spacing_mm": pair.spacing,
            "spacing_source": draw.spacing_source,
            "attempts": draw.attempts,
            "gates": describe_gates(draw.gates),
            "rejections": draw.rejections,
            **self.origin,
        }
        write_text(folder / files["sidecar"], json.dumps(sidecar, indent=1, sort_keys=True) + "\n")
        return files

    def list_notes(self, request: CaseRequest) -> list[str]:
        """Return what of a prompt the models cannot heed."""
        unread = self.sampler.sampler.find_unread(request.prompt)
        cut = [f"longer than the text encoder reads; cut off: '{unread[:80]}'"] if unread else []
        return [*list_notes(request.prompt, self.study.labels), *cut]


def describe_origin(study: Study, training: Sequence[CohortCase]) -> dict[str, Any]:
    """Return hashes of models and config, and data release and licence of all cases that the models learned from."""
    counts = Counter((case.collection, case.licence) for case in training)
    releases = read_releases(study)
    licences = [
        {
            "collection": collection,
            "licence": licence,
            "doi": study.collections[collection].doi,
            "release": releases.get(collection, ""),
            "cases": count,
        }
        for (collection, licence), count in sorted(counts.items())
    ]
    return {
        "models": read_model_hashes(study),
        "config": hash_settings(study),
        "encoder": study.config.prepare.encoder.name,
        "licences": licences,
    }


def hash_settings(study: Study) -> str:
    """Return a hash of the settings that a case depends on."""
    parts = ("gates", "max_attempts", "keep_rejected")
    sections = (*(f"synthesize.{part}" for part in parts), "prepare.grid", "prepare.encoder")
    return study.config.hash_sections(*sections)


def read_releases(study: Study) -> dict[str, str]:
    """Return source and version of the index that each collection was selected from, e.g. `idc v21`."""
    path = study.root / "data" / "index" / "index.json"
    entries = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return {name: f"{entry['source']} {entry['version']}" for name, entry in entries.items()}
