"""Synthetic cases as an nnU-Net v2 raw dataset: `imagesTr`, `labelsTr`, `dataset.json`."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from guidegen.atomic import write_text
from guidegen.errors import GuideGenError
from guidegen.labels import LabelTable
from guidegen.mask.resample import write_labels
from guidegen.synthesize.layouts import MadeCase, make_new_folder

NAME = re.compile(r"Dataset\d{3}_[A-Za-z0-9_]+")


def write_nnunet(cases: Sequence[MadeCase], out: Path, table: LabelTable) -> None:
    """Write a dataset that nnU-Net plans and trains on.

    CTs are copied; label maps are repeated onto the CT's grid, because nnU-Net wants one grid for both. Prompts and
    sidecars go beside them, to `sidecars/`.

    Args:
        cases: what to write.
        out: new folder, named as nnU-Net asks for it, e.g. `nnUNet_raw/Dataset501_Synthetic`.
        table: the torso classes.

    Raises:
        GuideGenError: the folder has another name or is not empty.
    """
    out = out.resolve()
    if not NAME.fullmatch(out.name):
        raise GuideGenError(f"{out}: nnU-Net wants a name such as Dataset501_Synthetic (three digits, then a name)")
    with make_new_folder(out) as folder:
        for name in ("imagesTr", "labelsTr", "sidecars"):
            (folder / name).mkdir()
        for case in cases:
            _, labels, grid = case.load()
            (folder / "imagesTr" / f"{case.case}_0000.nii.gz").write_bytes(case.ct.read_bytes())
            write_labels(folder / "labelsTr" / f"{case.case}.nii.gz", labels, grid)
            write_text(folder / "sidecars" / f"{case.case}.json", json.dumps(case.sidecar, indent=1, sort_keys=True))
        description = {
            "channel_names": {"0": "CT"},
            "labels": {entry.name: entry.id for entry in table.classes},
            "numTraining": len(cases),
            "file_ending": ".nii.gz",
            "name": out.name.partition("_")[2],
            "description": "Synthetic CTs and label maps of GuideGen; no case shows a patient",
            "licence": sorted({entry["licence"] for case in cases for entry in case.sidecar["licences"]}),
        }
        write_text(folder / "dataset.json", json.dumps(description, indent=1) + "\n")
