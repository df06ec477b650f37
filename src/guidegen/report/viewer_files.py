"""What the viewer in the page loads: NiiVue, and for each case one script that holds its CT and label map.

A page that is opened from disk may not read other files, but it may load scripts; so the volumes are gzipped NIfTI in
base64 inside a script, which is loaded when its case is opened.
"""

import base64
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import nibabel
import numpy as np
from isal import igzip

from guidegen.atomic import hash_file
from guidegen.codehash import code_hash
from guidegen.errors import GuideGenError, ItemExcluded
from guidegen.labels import LabelTable
from guidegen.manifest import Item, Outcome, process_items
from guidegen.overlay import LUNG, SOFT_TISSUE, Window
from guidegen.report.npm_package import NpmPackage
from guidegen.study import Study

NIIVUE = NpmPackage(
    "@niivue/niivue",
    "0.46.0",
    "sha512-fw4/14lxbb4Q9qEDW+eMMfC2wfGTb0x0cgN1VnHsm1bq2kv/xXBQRQJrloQ1Ma5qNweBwbJynEEPm8fXbN8Bgw==",
)
"""The newest release whose package holds its licence."""
BUNDLE, LICENCE = "dist/niivue.umd.js", "LICENSE"
LIBRARY_LICENCES = Path(__file__).parent / "assets" / "niivue.libraries.LICENSE.txt"
"""Those of the libraries in the bundle, which NiiVue's package lacks; `tests/report/bundled_libraries.py` writes it."""
LIBRARY = "niivue"
"""Its row in the manifest."""
BONE = Window("bone", 400, 1800)
WINDOWS = (LUNG, SOFT_TISSUE, BONE)
FOLDER = ("results", "report", "viewer")
LICENCE_FILES = {"licence": "niivue.LICENSE.txt", "libraries": LIBRARY_LICENCES.name}
COLUMNS = (*(f"{key}_{part}" for key in LICENCE_FILES for part in ("path", "bytes", "sha256")), "voxel_mm", "reduced")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ViewedCase:
    """A case that the viewer can open; paths are relative to the study."""

    case: str
    ct: str
    labels: str
    inputs: Mapping[str, str]
    """sha256 of both files, as the manifests state them."""


@dataclass(frozen=True)
class EmbeddedPair:
    """CT and label map on one grid, as the viewer's script holds them."""

    case: str
    ct: str
    """Gzipped NIfTI in base64."""
    labels: str
    voxel_mm: str
    reduced: str
    """By how much the grid is coarser than the file's along x, y, z; empty where it is the same."""

    def write_script(self) -> str:
        """Return the script that hands the pair to the page."""
        return f"guidegenCase({json.dumps(asdict(self))});\n"


def write_viewer(study: Study, cases: Iterable[ViewedCase]) -> dict[str, dict[str, str]]:
    """Write `results/report/viewer/` with its manifest and return the manifest's rows by case.

    Without NiiVue (no network) the volumes are written all the same; its row is then `excluded` and says why.

    Raises:
        ShardFailed: a volume cannot be read.
    """
    library, reason = read_library()
    origin = {"integrity": NIIVUE.integrity, "libraries": hash_file(LIBRARY_LICENCES), "reason": reason}
    items = [Item(LIBRARY, origin, library or reason)]
    items += [Item(entry.case, dict(entry.inputs), entry) for entry in cases]
    edge = study.config.report.viewer_edge
    rows = process_items(
        study.shard(*FOLDER),
        items,
        lambda item, folder: _write_item(study, item, folder),
        fingerprint=f"{code_hash('report.viewer_files')} {edge}",
        columns=COLUMNS,
    )
    return {row["case"]: row for row in rows}


def read_library() -> tuple[dict[str, bytes] | None, str]:
    """Return NiiVue's files by their path in the package, or None and why they cannot be had."""
    try:
        return NIIVUE.read_members([BUNDLE, LICENCE]), ""
    except GuideGenError as error:
        log.warning("the page is written without its volume viewer: %s", error)
        return None, f"NiiVue {NIIVUE.version} could not be fetched: {error}"


def _write_item(study: Study, item: Item, folder: Path) -> Outcome:
    if isinstance(item.payload, str):
        raise ItemExcluded(item.payload)
    if item.case == LIBRARY:
        contents = (item.payload[BUNDLE], item.payload[LICENCE], LIBRARY_LICENCES.read_bytes())
        files = {"": "niivue.js", **LICENCE_FILES}
        for name, content in zip(files.values(), contents, strict=True):
            (folder / name).write_bytes(content)
        return Outcome(files)
    entry: ViewedCase = item.payload
    ct, labels = (nibabel.as_closest_canonical(nibabel.load(study.root / name)) for name in (entry.ct, entry.labels))
    pair = embed_pair(item.case, read_array(ct), read_array(labels), ct.affine, study.config.report.viewer_edge)
    (folder / f"{item.case}.js").write_text(pair.write_script(), encoding="utf-8")
    return Outcome({"": f"{item.case}.js"}, {"voxel_mm": pair.voxel_mm, "reduced": pair.reduced})


def read_array(image: "nibabel.Nifti1Image") -> np.ndarray:
    """Return the voxels as they are stored where no scaling applies."""
    return np.asanyarray(image.dataobj)


def embed_pair(case: str, ct: np.ndarray, labels: np.ndarray, affine: np.ndarray, edge: int) -> EmbeddedPair:
    """Put a CT and its label map into one script.

    Args:
        case: the case.
        ct: HU, (X, Y, Z) in RAS+.
        labels: torso classes on the CT's grid, or on one that is a whole multiple coarser over the same box.
        affine: of the CT, (4, 4), mm.
        edge: longest edge in voxels; a larger volume is reduced by whole factors, the CT by the mean of each block, the
            label map by the voxel at its middle.
    """
    for axis in range(3):
        labels = labels.repeat(ct.shape[axis] // labels.shape[axis], axis)
    factors = [-(-side // edge) for side in ct.shape]
    if max(factors) > 1:
        ct, labels = _average_blocks(ct, factors), labels[tuple(slice(f // 2, None, f) for f in factors)]
        labels = np.pad(labels, [(0, a - b) for a, b in zip(ct.shape, labels.shape, strict=True)], mode="edge")
        shift = affine @ np.array([*((f - 1) / 2 for f in factors), 0])
        affine = affine @ np.diag([*factors, 1])
        affine[:, 3] += shift
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    return EmbeddedPair(
        case,
        _encode_nifti(np.clip(np.rint(ct), -1024, 3071).astype(np.int16), affine),
        _encode_nifti(labels.astype(np.uint8), affine),
        " × ".join(f"{value:.3g}" for value in spacing),
        "" if max(factors) == 1 else " × ".join(map(str, factors)),
    )


def _average_blocks(ct: np.ndarray, factors: list[int]) -> np.ndarray:
    padding = [(0, -side % factor) for side, factor in zip(ct.shape, factors, strict=True)]
    blocks = np.pad(ct, padding, mode="edge").astype(np.float32)
    for axis, factor in enumerate(factors):
        shape = (*blocks.shape[:axis], blocks.shape[axis] // factor, factor, *blocks.shape[axis + 1 :])
        blocks = blocks.reshape(shape).mean(axis + 1)
    return blocks


def _encode_nifti(volume: np.ndarray, affine: np.ndarray) -> str:
    image = nibabel.Nifti1Image(volume, affine)
    image.header.set_xyzt_units("mm")
    return base64.b64encode(igzip.compress(image.to_bytes(), 3, mtime=0)).decode()


def describe_viewer(table: LabelTable) -> str:
    """Return what the viewer's script needs to know of windows and classes, as JSON."""
    colours = [tuple(bytes.fromhex(entry.colour.removeprefix("#"))) for entry in table.classes]
    windows = [
        {"name": w.name, "text": str(w), "low": w.centre - w.width / 2, "high": w.centre + w.width / 2} for w in WINDOWS
    ]
    names = [entry.name.replace("_", " ") for entry in table.classes]
    return json.dumps({"windows": windows, "names": names, "colours": colours}).replace("<", "\\u003c")
