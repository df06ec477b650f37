"""Do prompts control the label maps of a trained stage I? `python benchmarks/prompts.py STUDY [steps]`.

Takes minutes on a CPU. Every held-out case (validation and test) with a prompt and labels is drawn once, numeric
conditions empty, and measured as `guidegen evaluate` does, against shuffled prompts. It is no benchmark of the table.
"""

import sys
from pathlib import Path

import numpy as np
import torch

from guidegen.evaluate.adherence import evaluate_adherence
from guidegen.evaluate.attributes import fit_instruments
from guidegen.evaluate.cases import Case, read_real_cases
from guidegen.evaluate.observe import observe_case
from guidegen.models.semantic_synthesizer import SemanticSynthesizer
from guidegen.prepare.cohort import read_cohort
from guidegen.seeds import derive_seed
from guidegen.study import Study
from guidegen.train.cohort import HELD_OUT, Cohort


def main(folder: str, steps: str = "") -> None:
    """Print a line per attribute."""
    study = Study.load(Path(folder).resolve())
    torch.set_num_threads(study.config.study.threads)
    model = SemanticSynthesizer.load(study.root / "results" / "models" / "semantic_synthesizer")
    cohort = Cohort.load(study)
    real = list(read_real_cases(study, read_cohort(study), lambda *_: None))
    tools = fit_instruments([c for c in real if c.split == "train"], study.labels, study.config.evaluate)
    held_out = {case.case: case for case in real if case.split != "train"}
    asked = [case for case in cohort.select("semantic_synthesizer", HELD_OUT) if case.case in held_out]
    maps = model.sample(
        [cohort.states(case.prompts[0][1]) for case in asked],
        [None] * len(asked),
        [None] * len(asked),
        [derive_seed(study.config.study.seed, "benchmark prompts", case.case) for case in asked],
        steps=int(steps) if steps else None,
    )
    made = [
        Case(
            case=case.case,
            group=case.patient,
            split=case.split,
            statements=held_out[case.case].statements,
            coverage=None,
            tumour_annotated=True,
            voxel_mm=held_out[case.case].voxel_mm,
            seen=observe_case(labels, None, np.asarray(case.spacing), study.labels),
        )
        for case, labels in zip(asked, maps, strict=True)
    ]
    found = evaluate_adherence(made, list(held_out.values()), tools, study.config.study.seed)
    for name, entry in found["attributes"].items():
        true, control, difference = entry["true"], entry["control"], entry["difference"]
        print(
            f"{name:16} n {true['n']:3}  prompt {true['value']}  shuffled {control['value']}  difference "
            f"{difference['value']} ({difference.get('low')} to {difference.get('high')})  {entry['verdict']}"
        )
    counts = sorted(int((labels == study.labels.ids["tumour"]).sum()) for labels in maps)
    print(f"tumour voxels drawn: {counts}")


if __name__ == "__main__":
    main(*sys.argv[1:])
