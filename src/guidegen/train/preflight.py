"""What is looked at before any GPU hour: the list of all that is wrong, not the first error after a night."""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from safetensors import SafetensorError, safe_open

from guidegen.atomic import hash_file
from guidegen.errors import GuideGenError
from guidegen.manifest import read_manifest
from guidegen.prepare.splits import SPLITS
from guidegen.progress import track_progress
from guidegen.study import Study
from guidegen.train.cohort import EMPTY_KEY, HELD_OUT, TRAINING, Cohort, CohortCase

HU_LIMITS = (-1024, 3071)
"""`guidegen prepare` clips to these."""
AIR_HU, LEAST_AIR = -500, 0.001
SOFT_TISSUE_HU, LEAST_SOFT_TISSUE = (-200, 300), 0.02
NAMED = 20


def check_cohort(study: Study, stages: Sequence[str], *, read_arrays: bool) -> Cohort:
    """Look at all that the given stages will read.

    Args:
        study: the study.
        stages: names of stages.
        read_arrays: read every array once, and not only its header.

    Raises:
        GuideGenError: lists what is wrong, with the case and what would be right.
    """
    cohort = Cohort.load(study)
    problems = [*_check_settings(study, cohort, stages), *_check_splits(cohort, stages), *_check_text(study, cohort)]
    arrays = {row["case"]: row for row in read_manifest(study.root / "data" / "cohort" / "arrays.tsv")}
    found = [problem for case in cohort.cases for problem in _check_files(study, case, arrays[case.case])]
    problems += found
    if read_arrays and not found:
        with track_progress("preflight", len(cohort.cases)) as advance:
            for case in cohort.cases:
                problems += _check_values(study, case, arrays[case.case])
                advance()
    if problems:
        more = [f"… and {len(problems) - NAMED} more"] if len(problems) > NAMED else []
        lines = "\n".join(f"  {problem}" for problem in [*problems[:NAMED], *more])
        raise GuideGenError(f"train: {len(problems)} problems, nothing was trained:\n{lines}")
    return cohort


def _check_settings(study: Study, cohort: Cohort, stages: Sequence[str]) -> Iterator[str]:
    train = study.config.train
    world = train.devices * train.nodes
    for stage in stages:
        optimization = getattr(train, stage).optimization if stage != "latents" else None
        if optimization and optimization.accumulate % world:
            yield (
                f"train.{stage}.optimization.accumulate is {optimization.accumulate}; the {world} processes of "
                f"train.devices × train.nodes share these batches, so it must be a multiple of {world}"
            )
    known = sorted({case.collection for case in cohort.cases})
    for name in train.collection_shares:
        if name not in known:
            yield f"train.collection_shares: '{name}' has no case in the cohort, which has {', '.join(known)}"


def _check_splits(cohort: Cohort, stages: Sequence[str]) -> Iterator[str]:
    patients: dict[str, set[str]] = defaultdict(set)
    for case in cohort.cases:
        if case.split not in SPLITS:
            yield f"{case.case}: split '{case.split}', expected one of {', '.join(SPLITS)}"
        patients[case.patient].add(case.split)
    for patient, splits in patients.items():
        if len(splits) > 1:
            yield f"patient {patient} is in the splits {' and '.join(sorted(splits))}; look at data/cohort/splits.json"
    for stage in stages:
        for splits in (TRAINING, HELD_OUT):
            try:
                cohort.select(stage, splits)
            except GuideGenError as error:
                yield str(error)


def _check_text(study: Study, cohort: Cohort) -> Iterator[str]:
    path = study.root / "data" / "cohort" / "text" / "states.safetensors"
    encoder = study.config.prepare.encoder
    try:
        with safe_open(path, framework="np") as stream:
            about = json.loads((stream.metadata() or {}).get("guidegen", "{}"))
            shapes = {key: stream.get_slice(key).get_shape() for key in stream.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        yield f"{path}: {error}; run `guidegen prepare` again"
        return
    if about.get("encoder") != encoder.model_dump(mode="json"):
        yield f"{path}: made with the encoder {about.get('encoder')}, the config has {encoder.model_dump(mode='json')}"
    if EMPTY_KEY not in shapes:
        yield f"{path}: no states of the empty prompt; run `guidegen prepare` again"
        return
    width = shapes[EMPTY_KEY][-1]
    for case in cohort.cases:
        for text, key in case.prompts:
            shape = shapes.get(key)
            if not text.strip():
                yield f"{case.case}: an empty prompt"
            if shape is None:
                yield f"{case.case}: no token states for '{text[:60]}' (key {key}); run `guidegen prepare` again"
            elif len(shape) != 2 or shape[1] != width or not 0 < shape[0] <= encoder.max_tokens:
                yield f"{case.case}: token states of shape {shape}, expected (1 … {encoder.max_tokens}, {width})"


def _check_files(study: Study, case: CohortCase, row: dict[str, str]) -> Iterator[str]:
    grid = study.config.prepare.grid
    for role, path, side, kind in (("labels", case.labels, grid, "uint8"), ("ct", case.ct, 2 * grid, "int16")):
        if path is None:
            continue
        if not path.is_file():
            yield f"{case.case}: {path} is missing; run `guidegen prepare` again"
            continue
        size, expected = path.stat().st_size, int(row[f"{role}_bytes"])
        if size != expected:
            yield f"{case.case}: {path} has {size} bytes, arrays.tsv says {expected}; run `guidegen prepare` again"
            continue
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except ValueError as error:
            yield f"{case.case}: {path} is no array: {error}; run `guidegen prepare` again"
            continue
        if array.shape != (side,) * 3 or array.dtype != kind:
            found = f"shape {array.shape} and type {array.dtype}"
            yield f"{case.case}: {role} has {found}, expected {(side,) * 3} and {kind}; check prepare.grid"


def _check_values(study: Study, case: CohortCase, row: dict[str, str]) -> Iterator[str]:
    for role, path in (("labels", case.labels), ("ct", case.ct)):
        if path is not None and hash_file(path) != row[f"{role}_sha256"]:
            yield f"{case.case}: {path} is not what arrays.tsv says (sha256); run `guidegen prepare` again"
            return
    if case.labels is not None:
        labels = case.load_labels()
        if labels.max() >= len(study.labels):
            yield f"{case.case}: label map has id {labels.max()}, expected 0 … {len(study.labels) - 1}"
        if not labels.any():
            yield f"{case.case}: label map is empty"
    if case.ct is not None:
        yield from _check_hu(case.case, case.load_ct())


def _check_hu(case: str, ct: np.ndarray) -> Iterator[str]:
    low, high = int(ct.min()), int(ct.max())
    if low < HU_LIMITS[0] or high > HU_LIMITS[1]:
        yield f"{case}: CT has {low} … {high} HU, expected {HU_LIMITS[0]} … {HU_LIMITS[1]}"
    air = float((ct < AIR_HU).mean())
    soft = float(((ct >= SOFT_TISSUE_HU[0]) & (ct <= SOFT_TISSUE_HU[1])).mean())
    if air < LEAST_AIR or soft < LEAST_SOFT_TISSUE:
        yield (
            f"{case}: {air:.1%} of the CT is air (below {AIR_HU} HU) and {soft:.1%} soft tissue ({SOFT_TISSUE_HU[0]} … "
            f"{SOFT_TISSUE_HU[1]} HU), expected at least {LEAST_AIR:.1%} and {LEAST_SOFT_TISSUE:.0%}: are these HU?"
        )
