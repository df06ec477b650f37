"""Config section of the phase `mask`."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from guidegen.section import Section

Backend = Literal["dicom_seg", "rtstruct", "nifti", "totalsegmentator"]


class BackendChoice(Section):
    """Which backends label a collection, in order of priority."""

    organs: tuple[Backend, ...] = ("dicom_seg", "nifti")
    """The first of these that finds organs in a case supplies them."""
    tumour: tuple[Backend, ...] = ("dicom_seg", "rtstruct", "nifti")
    """The first of these that finds an accepted tumour annotation supplies the tumour; it overrides organs."""


class TotalSegmentatorSettings(Section):
    """How the backend `totalsegmentator` runs (task `total`, in the segmentation environment)."""

    device: str = "gpu"
    """`gpu`, `cpu` or `gpu:N`."""
    speed: Literal["normal", "fast", "fastest"] = "normal"
    """Resolution of the model: 1.5, 3 or 6 mm."""
    home: Path = Path(".guidegen/totalsegmentator")
    """Its folder of weights and settings (`TOTALSEG_HOME_DIR`); relative paths are relative to the study."""


class GateSettings(Section):
    """Quality gates; a case that misses one carries the gate's name and what was found in `flags`."""

    volume_ml: dict[str, tuple[float, float]] = {
        "liver": (400.0, 4500.0),
        "spleen": (30.0, 2000.0),
        "kidney": (60.0, 1200.0),
        "pancreas": (10.0, 300.0),
        "heart": (150.0, 2000.0),
        "urinary_bladder": (5.0, 1500.0),
        "gallbladder": (0.5, 300.0),
    }
    """Plausible volumes of organs that lie wholly inside the scan, by class (gate `volume`)."""
    components: dict[str, int] = {"liver": 1, "spleen": 2, "kidney": 2, "heart": 1, "urinary_bladder": 1, "aorta": 2}
    """Largest number of separate parts by class (gate `components`)."""
    component_ml: float = Field(2.0, gt=0)
    """Parts smaller than this are not counted."""
    truncated_ml: float = Field(5.0, gt=0)
    """Gate `truncated`: an organ with more than this in the outermost voxels of the field of view's sides is cut."""
    order_margin_mm: float = 10.0
    """Gate `order`: organs of the lower trunk lie below those of the upper, give or take this much."""
    side_margin_mm: float = 10.0
    """Gate `left_right`: a right-sided label lies right of its left-sided twin, the liver right of the spleen."""
    tumour_touch_mm: float = Field(5.0, gt=0)
    """Gate `tumour_place`: a tumour lies in the organ of the collection's cancer or at most this far from it, or from
    any organ where that one is not labelled; one and a half slices where they are thicker."""
    exclude: tuple[str, ...] = ("left_right", "order")
    """Gates that exclude a case instead of flagging it."""


class MaskSettings(Section):
    """How organs and tumours become label maps on the CT's grid."""

    default: BackendChoice = BackendChoice()
    """Backends of all collections that `collections` does not name."""
    collections: dict[str, BackendChoice] = {}
    """Backends by collection."""
    label_tables: dict[str, Path] = {}
    """Table (TSV with `id` and `name`) of the ids in a collection's NIfTI label maps, e.g.
    `{hospital: config/our_labels.tsv}`; names of both versions of TotalSegmentator are understood. Without one the ids
    are those of `source_labels.tsv`."""
    accepted_kinds: tuple[Literal["expert", "ai", "seed"], ...] = ("expert", "ai")
    """Kinds of annotation that make a tumour label; others leave a case without one, never read as health."""
    totalsegmentator: TotalSegmentatorSettings = TotalSegmentatorSettings()
    trunk_margin_mm: float = Field(10.0, ge=0)
    """Margin around the body, or around the labels where there is no CT, of the trunk box."""
    trunk_range: tuple[float, float] = (-0.12, 1.5)
    """The trunk box ends at these positions on the spine (0 is T1, 1 is L5), so that head and legs are left out."""
    absent_ml: float = Field(0.3, ge=0)
    """An organ with less than this where its place is covered counts as absent."""
    gates: GateSettings = GateSettings()  # type: ignore[call-arg]

    def choose_backends(self, collection: str) -> BackendChoice:
        """Return the backends of a collection."""
        return self.collections.get(collection, self.default)

    def uses(self, backend: Backend, collection: str) -> bool:
        """Tell whether a backend may label a collection."""
        choice = self.choose_backends(collection)
        return backend in (*choice.organs, *choice.tumour)
