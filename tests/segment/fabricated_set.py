"""A synthetic set that is fabricated: real volumes dressed up as one."""

import numpy as np
from fabricated_study import make_volume, write_volume

from guidegen.atomic import hash_file
from guidegen.manifest import BASE_COLUMNS
from guidegen.prepare.resample import resample_ct, resample_labels
from guidegen.segment.settings import ArmSettings
from guidegen.study import Study
from guidegen.tables import write_tsv

CONFIG = """
prepare: {grid: 16}
synthesize:
  sets: {train: {split: train, cases: 3}, stolen: {split: test, cases: 3}}
segment:
  {resolution: labels, patch: 16, filters: 8, steps: 90, learning_rate: 0.01, validations: 3, seeds: 1}
"""


def fabricate_set(study: Study, name: str) -> None:
    rows = []
    for number in range(3):
        ct, labels = make_volume(np.random.default_rng(100 + number))
        row = {"case": f"{name}-{number:05d}", "status": "ok" if number < 2 else "excluded", "reason": ""}
        for role, volume in (("", resample_ct(ct, 32)), ("labels", resample_labels(labels, 16, 21))):
            path = study.root / f"results/synthetic/{name}/s000/{row['case']}.{role or 'ct'}.nii.gz"
            write_volume(path, volume)
            prefix = f"{role}_" if role else ""
            row |= {f"{prefix}path": path.relative_to(study.root), f"{prefix}sha256": hash_file(path)}
            row[f"{prefix}bytes"] = path.stat().st_size
        rows.append(row)
    columns = [*BASE_COLUMNS, "labels_path", "labels_bytes", "labels_sha256"]
    write_tsv(study.manifest("results", "synthetic", name, "s000"), columns, rows)


def with_arms(study: Study, arms: dict[str, ArmSettings]) -> Study:
    segment = study.config.segment.model_copy(update={"arms": arms})
    return Study(study.root, study.config.model_copy(update={"segment": segment}))
