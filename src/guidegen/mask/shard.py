"""The phase's work on one shard: from retrieved annotations and CT to torso and source label maps."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from guidegen.atomic import hash_file
from guidegen.errors import ItemExcluded
from guidegen.labels import TUMOUR, LabelTable
from guidegen.manifest import Item, Outcome, read_manifest
from guidegen.mask.backends import Annotation, Layer, MaskCase, combine_backends
from guidegen.mask.coverage import BodyAxis, count_slices, measure_axis, name_regions, slice_heights
from guidegen.mask.gates import LabelledCase, check_gates
from guidegen.mask.measure import Tumour, find_absent, measure_organs, measure_tumour, trace_spine
from guidegen.mask.names import hash_names
from guidegen.mask.picture import draw_flagged
from guidegen.mask.resample import Grid, read_volume, write_labels
from guidegen.mask.settings import MaskSettings
from guidegen.mask.trunk import find_trunk_box
from guidegen.study import Study

COLUMNS = (
    *("source_path", "source_bytes", "source_sha256", "picture_path", "picture_bytes", "picture_sha256"),
    *("backend", "tumour_annotated", "tumour_kind", "tumour_size_mm"),
    *("tumour_volume_ml", "tumour_side", "tumour_site", "coverage_first", "coverage_last", "coverage_top"),
    *("coverage_bottom", "absent", "trunk_box", "organs", "flags"),
)


@dataclass(frozen=True)
class MaskWorker:
    """Makes the label maps of one case; picklable."""

    settings: MaskSettings
    labels: LabelTable

    def __call__(self, item: Item, folder: Path) -> Outcome:
        """Work on one case; `item.payload` is a `MaskCase`."""
        case: MaskCase = item.payload
        ct, grid = read_volume(case.ct) if case.ct else (None, None)
        found = combine_backends(case, grid, self.settings, self.labels.source_ids)
        if found is None:
            raise ItemExcluded("no label source: the case has no annotation that a configured backend reads")
        layer = found.layer
        source = merge_layers(layer.organs, layer.tumour, layer.grid, self.labels)
        torso = self.labels.source_to_torso[source]
        columns, flags = self._measure(source, torso, layer, ct, case.site)
        grave = [flag for flag in flags if flag.split(":")[0] in self.settings.gates.exclude]
        flags = [*layer.flags, *flags]
        columns |= {
            "backend": found.backend,
            "tumour_annotated": layer.tumour is not None,
            "tumour_kind": layer.tumour_kind,
            "flags": ",".join(flags),
        }
        files: dict[str, str] = {}
        if flags:
            # What excluded the case is what the picture should show.
            order = [*grave, *(flag for flag in flags if flag not in grave)]
            files["picture"] = f"{case.case}.flags.png"
            picture = draw_flagged(case.case, ct, torso, layer.grid, self.labels, order)
            (folder / files["picture"]).write_bytes(picture)
        if grave:
            return Outcome(files=files, columns=columns, status="excluded", reason="; ".join(grave))
        write_labels(folder / f"{case.case}.torso.nii.gz", torso, layer.grid)
        write_labels(folder / f"{case.case}.source.nii.gz", source, layer.grid)
        files |= {"": f"{case.case}.torso.nii.gz", "source": f"{case.case}.source.nii.gz"}
        return Outcome(files=files, columns=columns)

    def _measure(
        self, source: np.ndarray, torso: np.ndarray, layer: Layer, ct: np.ndarray | None, site: str
    ) -> tuple[dict[str, object], list[str]]:
        grid = layer.grid
        profiles = count_slices(source)
        z_mm = slice_heights(grid.shape, grid.affine)
        axis = measure_axis(profiles, z_mm, self.labels.source_ids)
        z_range = _limit_slices(axis, z_mm, grid, self.settings.trunk_range)
        box = find_trunk_box(ct, torso, grid, z_range, self.settings.trunk_margin_mm)
        organs = measure_organs(torso, ct, grid, self.labels)
        tumour = None
        mask = source == self.labels.source_ids[TUMOUR]
        if mask.any():
            spine = trace_spine(source, self.labels.source_ids)
            tumour = measure_tumour(mask, layer.organs, grid, self.labels, spine, site)
        flags = check_gates(LabelledCase(source, torso, grid, organs, tumour), self.labels, self.settings.gates)
        columns = {"organs": json.dumps(organs, sort_keys=True), "trunk_box": ",".join(map(str, box))}
        columns |= _describe_tumour(tumour)
        if axis is None:
            return columns, [*flags, "no_coverage"]
        if axis.basis == "organs":
            flags.append("coverage_from_organs")
        half = grid.spacing_mm[2] / 2
        top, bottom = axis.locate(z_mm[z_range[1] - 1] + half), axis.locate(z_mm[z_range[0]] - half)
        first, last = name_regions(top, bottom)
        absent = find_absent(
            profiles, organs, self.labels, grid, top=top, bottom=bottom, least_ml=self.settings.absent_ml
        )
        columns |= {
            "coverage_first": first.value,
            "coverage_last": last.value,
            "coverage_top": round(top, 4),
            "coverage_bottom": round(bottom, 4),
            "absent": ",".join(absent),
        }
        return columns, flags


def merge_layers(organs: np.ndarray | None, tumour: np.ndarray | None, grid: Grid, labels: LabelTable) -> np.ndarray:
    """Return (X, Y, Z) uint8 source labels in which the tumour overrides organs."""
    source = np.zeros(grid.shape, np.uint8) if organs is None else organs.copy()
    if tumour is not None:
        source[tumour] = labels.source_ids[TUMOUR]
    return source


def list_items(study: Study, collection: str, shard: str, weights: str = "") -> list[Item]:
    """Return one item per case of the shard that was converted; `weights` is the hash of TotalSegmentator's."""
    raw = read_manifest(study.manifest("data", "raw", collection, shard))
    ct_rows = read_manifest(study.manifest("data", "ct", collection, shard))
    tables = [study.root / "config" / name for name in ("labels.tsv", "source_labels.tsv")]
    table = {path.name: hash_file(path) for path in tables}
    if names := hash_names(study, collection):
        table["label_table"] = names
    site = study.collections[collection].site
    items = []
    for row in ct_rows:
        if row["status"] != "ok":
            continue
        series = [r for r in raw if r["parent"] == row["case"] and r["status"] == "ok"]
        annotations = [r for r in series if r["role"] != "ct"]
        inputs = {"ct": row["sha256"], "site": site, **table} | {
            r["case"]: f"{r['sha256']} {r['annotation_kind']}" for r in annotations
        }
        if weights:
            inputs["weights"] = weights
        payload = MaskCase(
            case=row["case"],
            collection=collection,
            root=study.root,
            ct=study.root / row["path"] if row["path"] else None,
            ct_series_uid=next((r["series_uid"] for r in series if r["role"] == "ct"), ""),
            annotations=tuple(_describe_annotation(study.root, r) for r in annotations),
            site=site,
        )
        items.append(Item(row["case"], inputs, payload))
    return items


def _describe_annotation(root: Path, row: Mapping[str, str]) -> Annotation:
    return Annotation(root / row["path"], row["format"], row["series_uid"], row["annotation_kind"])


def _describe_tumour(tumour: Tumour | None) -> dict[str, object]:
    if tumour is None:
        return {}
    return {
        "tumour_size_mm": round(tumour.size_mm, 2),
        "tumour_volume_ml": round(tumour.volume_ml, 3),
        "tumour_side": tumour.side.value if tumour.side else "",
        "tumour_site": tumour.site,
    }


def _limit_slices(
    axis: BodyAxis | None, z_mm: np.ndarray, grid: Grid, trunk_range: tuple[float, float]
) -> tuple[int, int]:
    """First and last slice (exclusive) of the trunk; all slices where the axis is unknown or misses the trunk."""
    if axis is None:
        return 0, grid.shape[2]
    inside = np.flatnonzero((z_mm <= axis.place(trunk_range[0])) & (z_mm >= axis.place(trunk_range[1])))
    return (int(inside[0]), int(inside[-1]) + 1) if inside.size else (0, grid.shape[2])
