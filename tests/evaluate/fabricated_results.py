"""A small finished study, fabricated as the contracts say: ellipsoid torsos that follow, or ignore, a prompt."""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from guidegen.atomic import hash_file, write_text
from guidegen.ids import make_case_id
from guidegen.labels import load_labels
from guidegen.manifest import BASE_COLUMNS, file_columns
from guidegen.mask.coverage import name_regions
from guidegen.prepare.cohort import COHORT_COLUMNS
from guidegen.statements import Phase, Sex, Side, Statements
from guidegen.study import Study
from guidegen.tables import write_tsv

CONFIG = Path(__file__).parents[2] / "config"
GRID = 24
COLLECTIONS = {"tcga_luad": "lung", "tcga_kirc": "kidney"}
IDS = load_labels(CONFIG).ids
TYPICAL_HU = dict.fromkeys(IDS, 60.0) | {"lung": -820, "vertebrae": 250, "rib": 300, "urinary_bladder": 5}
PHASE_HU = {
    Phase.NON_CONTRAST: {"aorta": 40, "kidney": 30, "liver": 55, "inferior_vena_cava": 40, "heart": 40},
    Phase.ARTERIAL: {"aorta": 320, "kidney": 160, "liver": 70, "inferior_vena_cava": 70, "heart": 280},
    Phase.PORTAL_VENOUS: {"aorta": 160, "kidney": 190, "liver": 115, "inferior_vena_cava": 150, "heart": 150},
}
SHAPES = {
    # class: [(x, y, position on the body axis), (radii: x, y in shares of the box, along the axis)]
    "lung": [((0.27, 0.5, 0.25), (0.17, 0.30, 0.24)), ((0.73, 0.5, 0.25), (0.17, 0.30, 0.24))],
    "heart": [((0.45, 0.65, 0.40), (0.13, 0.18, 0.10))],
    "liver": [((0.70, 0.55, 0.62), (0.21, 0.30, 0.12))],
    "spleen": [((0.20, 0.40, 0.60), (0.09, 0.15, 0.08))],
    "stomach": [((0.35, 0.68, 0.62), (0.12, 0.15, 0.08))],
    "kidney": [((0.30, 0.30, 0.72), (0.08, 0.11, 0.09)), ((0.70, 0.30, 0.74), (0.08, 0.11, 0.09))],
    "gallbladder": [((0.62, 0.78, 0.73), (0.06, 0.07, 0.05))],
    "colon": [((0.20, 0.65, 0.90), (0.08, 0.10, 0.14)), ((0.80, 0.65, 0.90), (0.08, 0.10, 0.14))],
    "urinary_bladder": [((0.50, 0.60, 1.25), (0.13, 0.20, 0.09))],
    "aorta": [((0.46, 0.34, 0.55), (0.05, 0.07, 0.48))],
    "inferior_vena_cava": [((0.57, 0.36, 0.75), (0.05, 0.06, 0.35))],
    "vertebrae": [((0.50, 0.18, 0.60), (0.08, 0.12, 1.60))],
}
TUMOUR_PLACE = {
    ("lung", Side.LEFT): (0.27, 0.5, 0.25),
    ("lung", Side.RIGHT): (0.73, 0.5, 0.25),
    ("kidney", Side.LEFT): (0.30, 0.30, 0.72),
    ("kidney", Side.RIGHT): (0.70, 0.30, 0.74),
}
RANGES = ((-0.1, 0.6), (-0.1, 1.4), (0.42, 1.02), (0.42, 1.4))
MIRRORED = {"left kidney": 0, "right kidney": 1}


@dataclass(frozen=True)
class Traits:
    """What one torso is made from."""

    sex: Sex
    age: int
    site: str
    tumour: bool
    side: Side
    size_mm: float
    phase: Phase
    top: float
    bottom: float
    absent: tuple[str, ...]

    def state(self) -> Statements:
        first, last = name_regions(self.top, self.bottom)
        facts: dict[str, Any] = {"age": self.age, "sex": self.sex, "site": self.site, "phase": self.phase}
        facts |= {"tumour": self.tumour, "coverage_first": first, "coverage_last": last, "absent": self.absent}
        if self.tumour:
            facts |= {"side": self.side, "tumour_size_mm": self.size_mm}
        return Statements(**facts)


def draw_traits(rng: np.random.Generator, site: str) -> Traits:
    top, bottom = RANGES[int(rng.integers(2) if site == "lung" else rng.integers(1, 4))]
    absent = ((), ("gallbladder",), ("left kidney",))[int(rng.integers(3))] if bottom > 0.9 else ()
    side = Side.RIGHT if absent == ("left kidney",) else (Side.LEFT, Side.RIGHT)[int(rng.integers(2))]
    return Traits(
        sex=(Sex.FEMALE, Sex.MALE)[int(rng.integers(2))],
        age=int(rng.integers(40, 85)),
        site=site,
        tumour=bool(rng.random() < 0.7),
        side=side,
        size_mm=round(float(rng.uniform(70, 130)), 1),
        phase=tuple(PHASE_HU)[int(rng.integers(3))],
        top=top,
        bottom=bottom,
        absent=absent,
    )


def make_torso(traits: Traits, rng: np.random.Generator, grid: int = GRID) -> tuple[np.ndarray, np.ndarray, tuple]:
    """Return the label map (grid³), the CT ((2 grid)³) and the spacing of the label grid in mm."""
    axes = (np.arange(grid) + 0.5) / grid
    x, y, z = np.meshgrid(axes, axes, axes, indexing="ij")
    position = traits.top + (traits.bottom - traits.top) * (1 - z)
    height_mm = 420.0 * (traits.bottom - traits.top)
    spacing = (360 / grid, 260 / grid, height_mm / grid)
    size = rng.uniform(0.94, 1.06) * (1.0 if traits.sex is Sex.MALE else 0.9)
    labels = np.zeros((grid,) * 3, np.uint8)

    def draw(name: str, centre: tuple[float, ...], radii: tuple[float, ...]) -> None:
        offset = [(a - c) / (r * size) for a, c, r in zip((x, y, position), centre, radii, strict=True)]
        labels[sum(o**2 for o in offset) < 1] = IDS[name]

    for name, parts in SHAPES.items():
        for number, (centre, radii) in enumerate(parts):
            if name in traits.absent or any(
                name == "kidney" and MIRRORED.get(organ) == number for organ in traits.absent
            ):
                continue
            draw(name, centre, radii)
    if traits.tumour:
        centre = TUMOUR_PLACE[traits.site, traits.side]
        draw("tumour", centre, (traits.size_mm / 720, traits.size_mm / 520, traits.size_mm / 840))
    hu = TYPICAL_HU | PHASE_HU[traits.phase]
    table = np.array([-1000.0, *(hu[name] for name in list(IDS)[1:])])
    body = ((x - 0.5) / 0.49) ** 2 + ((y - 0.5) / 0.48) ** 2 < 1
    ct = np.where((labels == 0) & body, 20.0, table[labels])
    ct = ct.repeat(2, 0).repeat(2, 1).repeat(2, 2) + rng.normal(0, 12, (2 * grid,) * 3)
    return labels, np.clip(np.rint(ct), -1024, 3071).astype(np.int16), spacing


def write_sentence(said: Statements) -> str:
    words = [f"{said.age}-year-old {'woman' if said.sex is Sex.FEMALE else 'man'}", f"{said.site} cancer"]
    words += [f"{said.tumour_size_mm / 10:.1f} cm mass on the {said.side}"] if said.tumour_size_mm else []
    words += [f"without {organ}" for organ in said.absent]
    return ", ".join([*words, f"{said.phase} phase, {said.coverage_first} to {said.coverage_last}"]) + "."


def fabricate_results(
    root: Path, patients: int = 20, asked: int = 24, obey: bool = True, phantom: bool = True
) -> Study:
    """Make a finished study. With `obey` False each generated case was made from another case's prompt."""
    (root / "config").mkdir(parents=True)
    for name in ("collections.tsv", "labels.tsv", "source_labels.tsv"):
        shutil.copy(CONFIG / name, root / "config" / name)
    text = f"study: {{name: fabricated, seed: 5, threads: 1, collections: [{', '.join(COLLECTIONS)}]}}\n"
    text += f"index: {{source: archive}}\nprepare: {{grid: {GRID}}}\n"
    text += "evaluate: {surface_tolerance_mm: 15, fidelity_cases: 8, slices: 4, clips: 2, diversity_pairs: 4}\n"
    (root / "config" / "config.yaml").write_text(text)
    cohort, arrays, prompts = [], [], []
    state = {}
    for collection, site in COLLECTIONS.items():
        tables = {"index": [], "excluded": [], "ct": [], "mask": [], "text": []}
        for number in range(patients):
            rng = np.random.default_rng([number, len(site)])
            add_case(root, collection, number, draw_traits(rng, site), rng, tables, cohort, arrays)
        prompts += [row for row in tables["text"] if row["variant"] == 0]
        write_tables(root, collection, tables, phantom)
        state[collection] = {"shards": 1, "source": "archive", "version": "v1"}
    write_text(root / "data/index/index.json", json.dumps(state))
    write_tsv(root / "data/cohort/cohort.tsv", [*COHORT_COLUMNS], cohort)
    write_tsv(root / "data/cohort/arrays.tsv", list(arrays[0]), arrays)
    columns = ("case", "variant", "key", "prompt", "statements")
    kept = [{key: row.get(key, "") for key in columns} for row in prompts]
    write_tsv(root / "data/cohort/text/prompts.tsv", columns, kept)
    add_models(root)
    add_synthetic(root, "adherence", asked, obey)
    add_synthetic(root, "train", 8, True)
    add_segmentation(root, cohort, arrays)
    return Study.load(root)


def add_case(root, collection, number, traits, rng, tables, cohort, arrays) -> None:
    patient = f"{collection[-4:].upper()}-{number:04d}"
    case = make_case_id(collection, patient, f"1.2.{number}")
    labels, ct, spacing = make_torso(traits, rng)
    said = traits.state()
    common = {"case": case, "patient": patient, "patient_id": patient, "collection": collection}
    index = {**common, "role": "ct", "format": "dicom", "series_uid": f"1.2.{number}", "licence": "CC BY 3.0"}
    index |= {"doi": "10.7937/k9/x", "source": "archive", "source_version": "v1", "shard": "s000"}
    tables["index"] += [index, {**index, "role": "annotation", "annotation_kind": "expert"}]
    tables["excluded"] += [{"collection": collection, "patient_id": patient, "criterion": "scout", "instances": 1}]
    fine = tuple(s / 2 for s in spacing)
    base = f"{collection}/s000/{case}"
    row = save_nifti(root, f"data/ct/{base}.nii.gz", ct, fine)
    tables["ct"].append(
        {"case": case, "status": "ok", **row, "patient": patient, "patient_id": patient, "content": "ct"}
        | {"spacing_mm": ",".join(f"{s:.4g}" for s in fine), "sex": traits.sex, "age": traits.age, "hu_min": -1024}
        | {"manufacturer": "GuideGen phantom", "shape": "48,48,48", "padding_share": 0.1, "hu_max": 600, "repairs": ""}
    )
    big = labels.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    row = save_nifti(root, f"data/mask/{base}.torso.nii.gz", big, fine)
    sizes = {name: {"ml": float((labels == i).sum()), "hu": 50} for name, i in IDS.items() if (labels == i).any()}
    seen = {"coverage_first": said.coverage_first, "coverage_last": said.coverage_last, "coverage_top": traits.top}
    seen |= {"coverage_bottom": traits.bottom, "absent": ",".join(traits.absent), "tumour_annotated": True}
    seen |= {"tumour_size_mm": traits.size_mm, "tumour_side": traits.side} if traits.tumour else {}
    flags = "order: lung below liver" if number == 0 else ""
    mask = {"case": case, "status": "ok", **row, **seen, "backend": "dicom_seg", "organs": json.dumps(sizes)}
    tables["mask"].append(mask | {"flags": flags, "tumour_site": traits.site if traits.tumour else ""})
    source = {"kind": "table", "name": f"{collection}.tsv", "field": "gender", "row": patient, "value": traits.sex}
    for variant in range(2):
        text = {"case": case, "variant": variant, "status": "ok", "reason": "", "prompt": write_sentence(said)}
        text |= {"statements": said.model_dump_json(exclude_none=True), "key": f"{case}-{variant}"}
        tables["text"].append(text | {"sources": json.dumps({"sex": source}), "conflicts": "[]"})
    split = "test" if number % 4 == 0 else "val" if number % 8 == 1 else "train"
    grid = ",".join(f"{s:.6g}" for s in spacing)
    cohort.append(
        {**{k: common[k] for k in ("case", "patient", "collection")}, **seen, "site": traits.site, "split": split}
        | {"has_ct": True, "has_labels": True, "sex": traits.sex, "age": traits.age, "phase": traits.phase}
        | {"spacing_mm": grid, "licence": "CC BY 3.0", "status": "ok", "prompts": 2}
    )
    entry: dict[str, Any] = {"case": case, "status": "ok", "reason": "", "path": "", "bytes": "", "sha256": ""}
    for role, array in (("labels", labels), ("ct", ct)):
        path = root / f"data/cohort/arrays/{case}.{role}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, array)
        entry |= name_file(root, path, role)
    arrays.append(entry | {"spacing_mm": grid, "box": ""})


def write_tables(root: Path, collection: str, tables: dict[str, list[dict]], phantom: bool) -> None:
    write_tsv(root / f"data/index/{collection}.tsv", columns_of(tables["index"]), tables["index"])
    write_tsv(root / f"data/index/{collection}.excluded.tsv", columns_of(tables["excluded"]), tables["excluded"])
    bad = {"case": f"{collection}__BAD__00000000", "status": "failed", "reason": "slices missing: 3 of 40"}
    tables["ct"].append(bad)
    if not phantom:
        for row in tables["ct"]:
            row["manufacturer"] = "ACME"
    for phase in ("ct", "mask"):
        columns = [*BASE_COLUMNS, *(c for c in columns_of(tables[phase]) if c not in BASE_COLUMNS)]
        write_tsv(root / f"data/{phase}/{collection}/s000.tsv", columns, tables[phase])
    rows = [{key: value for key, value in row.items() if key != "key"} for row in tables["text"]]
    write_tsv(root / f"data/text/{collection}.tsv", columns_of(rows), rows)


def add_models(root: Path) -> None:
    for stage in ("semantic_synthesizer", "contrast_autoencoder", "latent_generator"):
        folder = root / "results/models" / stage
        held_out: dict[str, Any] = {"loss": 0.4, "baseline": 0.9, "baseline_name": "averages only"}
        if stage == "latent_generator":
            cases = [f"tcga_luad__P{k}__00000000" for k in range(3)]
            held_out |= {"cases": cases, "losses": [0.3, 0.4, 0.5], "baselines": [0.8, 0.9, 1.0], "measure": "MSE"}
        write_text(folder / "held_out.json", json.dumps(held_out))
        steps = ((step, name, scale * np.exp(-step / 80)) for step in range(0, 400, 10) for name, scale in CURVES)
        write_text(folder / "curves.csv", "step,name,value\n" + "".join(f"{s},{n},{v:.5f}\n" for s, n, v in steps))
        write_text(folder / "model.json", json.dumps({"stage": stage}))
        rows = [{"case": p.name, "status": "ok", **name_file(root, p, "")} for p in sorted(folder.iterdir())]
        write_tsv(root / f"results/models/{stage}.tsv", [*BASE_COLUMNS], rows)


CURVES = (("loss", 1.0), ("held_out", 1.1), ("kl", 0.02))


def add_synthetic(root: Path, name: str, count: int, obey: bool) -> None:
    folder = f"results/synthetic/{name}"
    rng = np.random.default_rng([count, 77])
    traits = [draw_traits(rng, tuple(COLLECTIONS.values())[i % 2]) for i in range(count)]
    prompts, made = [], []
    for i in range(count):
        case, said = f"{name}-{i:04d}", traits[i].state()
        drawn = traits[i] if obey else traits[(i + 1 + int(rng.integers(count - 1))) % count]
        labels, ct, spacing = make_torso(replace(drawn, age=50), rng)
        prompts.append(
            {"case": case, "prompt": write_sentence(said), "statements": said.model_dump_json(exclude_none=True)}
            | {"split": "train", "source_case": f"source-{i}", "seed": i, "shard": f"s{i % 2:03d}"}
        )
        row = save_nifti(root, f"{folder}/s{i % 2:03d}/{case}.ct.nii.gz", ct, tuple(s / 2 for s in spacing))
        row |= save_nifti(root, f"{folder}/s{i % 2:03d}/{case}.labels.nii.gz", labels, spacing, "labels")
        write_text(root / f"{folder}/s{i % 2:03d}/{case}.json", json.dumps({"seed": i}))
        row |= name_file(root, root / f"{folder}/s{i % 2:03d}/{case}.json", "sidecar")
        gates = {"volumes": True, "left_right": i != 3, "tumour": i % 5 != 0}
        made.append({"case": case, "status": "ok", "reason": "", **row, "attempts": 1, "gates": json.dumps(gates)})
    columns = ("case", "prompt", "statements", "split", "source_case", "spacing_mm", "coverage_top", "coverage_bottom")
    write_tsv(root / folder / "prompts.tsv", (*columns, "seed", "shard"), prompts)
    for shard in range(2):
        write_tsv(root / f"{folder}/s{shard:03d}.tsv", [*columns_of(made), "rejections"], made[shard::2])


def add_segmentation(root: Path, cohort: list[dict], arrays: list[dict]) -> None:
    files = {row["case"]: root / row["labels_path"] for row in arrays}
    for arm, noise in (("real", 0.05), ("synthetic", 0.2), ("both", 0.03)):
        rng = np.random.default_rng(int(noise * 100))
        folder = root / "results/segmentation" / arm
        rows = []
        for row in cohort:
            if row["split"] == "test":
                labels = np.load(files[row["case"]])
                labels = np.where(rng.random(labels.shape) < noise, 0, labels).astype(np.uint8)
                path = folder / "predictions" / f"{row['case']}.npy"
                path.parent.mkdir(parents=True, exist_ok=True)
                np.save(path, labels)
                rows.append({"case": row["case"], "status": "ok", **name_file(root, path, "")})
        text = "".join(f"{s},loss,{np.exp(-s / 50):.5f}\n" for s in range(0, 200, 10))
        write_text(folder / "curves.csv", "step,name,value\n" + text)
        write_tsv(root / f"results/segmentation/{arm}.tsv", [*BASE_COLUMNS], rows)


def save_nifti(root: Path, name: str, volume: np.ndarray, spacing: tuple, role: str = "") -> dict[str, Any]:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(volume, np.diag([*spacing, 1.0])), path)
    return name_file(root, path, role)


def name_file(root: Path, path: Path, role: str) -> dict[str, Any]:
    values = (str(path.relative_to(root)), path.stat().st_size, hash_file(path))
    return dict(zip(file_columns(role), values, strict=True))


def columns_of(rows: list[dict]) -> list[str]:
    return list(dict.fromkeys(key for row in rows for key in row))
