"""The prepared cohort as the training stages read it."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from guidegen.errors import GuideGenError
from guidegen.manifest import read_manifest
from guidegen.models.knowledge_injection import Coverage, Spacing
from guidegen.models.model_files import Binding, hash_labels
from guidegen.models.text import hash_encoder
from guidegen.stages import NEEDS, describe_needs
from guidegen.study import Study
from guidegen.tables import read_tsv

EMPTY_KEY = "empty"
TRAINING, HELD_OUT = ("train",), ("val", "test")
"""Nothing is chosen by the validation and test cases, so both may measure the held-out loss."""
COLUMNS = ("case", "patient", "collection", "split", "spacing_mm", "coverage_top", "coverage_bottom", "status")


@dataclass(frozen=True)
class CohortCase:
    """One case of the cohort; arrays that it lacks are None."""

    case: str
    patient: str
    collection: str
    split: str
    labels: Path | None
    ct: Path | None
    spacing: Spacing | None
    coverage: Coverage | None
    prompts: tuple[tuple[str, str], ...]
    """(prompt, key of its token states), variant 0 first."""

    def load_labels(self) -> np.ndarray:
        """Return class ids, uint8 (n, n, n), memory-mapped. Raises GuideGenError where the case has none."""
        return _load_array(self.case, self.labels, "label map")

    def load_ct(self) -> np.ndarray:
        """Return HU, int16 (2n, 2n, 2n), memory-mapped. Raises GuideGenError where the case has none."""
        return _load_array(self.case, self.ct, "CT")

    def check_array(self, what: str, array: np.ndarray, shape: tuple[int, ...], low: float, high: float) -> None:
        """Raise GuideGenError where an array has another shape than the config asks for, or values out of range."""
        if array.shape != shape:
            raise GuideGenError(f"{self.case}: {what} has shape {array.shape}, expected {shape}; check prepare.grid")
        if array.size and (array.min() < low or array.max() > high):
            raise GuideGenError(
                f"{self.case}: {what} has values {array.min()} … {array.max()}, expected {low} … {high}"
            )


def _load_array(case: str, path: Path | None, what: str) -> np.ndarray:
    if path is None or not path.is_file():
        raise GuideGenError(f"{case}: no {what} ({path or 'not in arrays.tsv'}); run `guidegen prepare` again")
    return np.load(path, mmap_mode="r")


@dataclass(frozen=True)
class Cohort:
    """All cases with status ok, in table order, and their token states."""

    study: Study
    cases: tuple[CohortCase, ...]

    @classmethod
    def load(cls, study: Study) -> "Cohort":
        """Read `data/cohort`. Raises GuideGenError where `guidegen prepare` was not run."""
        folder = study.root / "data" / "cohort"
        rows = read_tsv(folder / "cohort.tsv", COLUMNS)
        arrays = {row["case"]: row for row in read_manifest(folder / "arrays.tsv")}
        prompts: dict[str, list[tuple[int, str, str]]] = {}
        for row in read_tsv(folder / "text" / "prompts.tsv", ("case", "variant", "key", "prompt")):
            prompts.setdefault(row["case"], []).append((int(row["variant"]), row["prompt"], row["key"]))

        def locate(case: str, column: str) -> Path | None:
            name = arrays.get(case, {}).get(column, "")
            return study.root / name if name else None

        cases = tuple(
            CohortCase(
                case=row["case"],
                patient=row["patient"],
                collection=row["collection"],
                split=row["split"],
                labels=locate(row["case"], "labels_path"),
                ct=locate(row["case"], "ct_path"),
                spacing=_parse_numbers(row["spacing_mm"]),  # type: ignore[arg-type]
                coverage=_parse_numbers(",".join([row["coverage_top"], row["coverage_bottom"]])),  # type: ignore[arg-type]
                prompts=tuple((text, key) for _, text, key in sorted(prompts.get(row["case"], []))),
            )
            for row in rows
            if row["status"] == "ok"
        )
        return cls(study, cases)

    @cached_property
    def _states(self) -> dict[str, np.ndarray]:
        path = self.study.root / "data" / "cohort" / "text" / "states.safetensors"
        if not path.is_file():
            raise GuideGenError(f"{path}: no such file; run `guidegen prepare`")
        with safe_open(path, framework="np") as stream:
            about = json.loads((stream.metadata() or {}).get("guidegen", "{}"))
            wanted = self.study.config.prepare.encoder.model_dump(mode="json")
            if about.get("encoder") != wanted:
                raise GuideGenError(f"{path}: made with the encoder {about.get('encoder')}, the config has {wanted}")
            return {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118

    def states(self, key: str) -> np.ndarray:
        """Return the token states (L, E) of a prompt's key; "" is the empty prompt."""
        try:
            return self._states[key or EMPTY_KEY]
        except KeyError:
            raise GuideGenError(f"states.safetensors holds no states for key '{key}'; run `guidegen prepare`") from None

    @property
    def shares(self) -> dict[str, float]:
        """Share of the training samples per collection."""
        return self.study.config.train.collection_shares

    def select(self, stage: str, splits: Iterable[str] = TRAINING) -> list[CohortCase]:
        """Return the cases of some splits that have what a stage needs.

        Raises:
            GuideGenError: there is none.
        """
        found = [
            case for case in self.cases if case.split in splits and all(getattr(case, part) for part in NEEDS[stage])
        ]
        if not found:
            path, names = self.study.root / "data" / "cohort" / "cohort.tsv", " or ".join(splits)
            raise GuideGenError(f"{path}: {stage} needs {describe_needs(stage)}, and no case of split {names} has it")
        return found

    def bind(self) -> Binding:
        """Return what a model trained on this cohort is bound to."""
        labels, settings = self.study.labels, self.study.config.prepare
        return Binding(
            grid=settings.grid,
            classes=tuple(entry.name for entry in labels.classes),
            labels_hash=hash_labels(labels),
            encoder=settings.encoder.name,
            encoder_hash=hash_encoder(settings.encoder),
            text_width=self.states("").shape[1],
            max_tokens=settings.encoder.max_tokens,
        )


def measure_frequencies(cases: Sequence[CohortCase], classes: int) -> Tensor:
    """Return the share of each class among the voxels of the cases' label maps, float64 (classes,); none is 0."""
    counts = torch.ones(classes, dtype=torch.float64)
    for case in cases:
        counts += torch.from_numpy(np.bincount(case.load_labels().ravel(), minlength=classes)).double()
    return counts / counts.sum()


def _parse_numbers(text: str) -> tuple[float, ...] | None:
    cells = text.split(",")
    return tuple(float(cell) for cell in cells) if all(cells) else None
