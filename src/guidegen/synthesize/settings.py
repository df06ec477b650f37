"""Config section of the phase `synthesize`."""

from collections.abc import Mapping
from typing import Literal, Self, get_args

from pydantic import Field, model_validator

from guidegen.errors import GuideGenError
from guidegen.pair.vocabulary import SITES
from guidegen.section import Section
from guidegen.segment.settings import SegmentSettings
from guidegen.statements import Phase, Region, Sex, Side

NO_TUMOUR = "none"
"""Level of the factor `site` that asks for a CT without a mass."""
TOTALSEGMENTATOR = "totalsegmentator"
"""Segmenter of a set that is TotalSegmentator itself."""
GateName = Literal[
    "volume", "components", "left_right", "order", "tumour", "hu", "noise", "seams", "agreement", "prompt"
]


class DesignSettings(Section):
    """Factors of a prompt plan with their levels: all combinations are asked for in turn."""

    sex: tuple[Sex, ...] = ()
    """`female`, `male`; a factor without levels is not stated."""
    age: tuple[tuple[int, int], ...] = ()
    """Ranges of years, first and last included; the age of a case is drawn within."""
    site: tuple[str, ...] = ()
    """Organs with a mass, and `none` for no mass."""
    side: tuple[Side, ...] = ()
    """`left`, `right`; stated for masses in paired organs only."""
    size_mm: tuple[tuple[int, int], ...] = ()
    """Ranges of the largest diameter; stated with masses only."""
    phase: tuple[Phase, ...] = ()
    """Contrast phases."""
    coverage: tuple[tuple[Region, Region], ...] = ()
    """First and last region of the covered range."""

    @model_validator(mode="after")
    def _check_levels(self) -> Self:
        if not any(getattr(self, name) for name in type(self).model_fields):
            raise ValueError("a design needs at least one factor with levels")
        unknown = [name for name in self.site if name not in (*SITES, NO_TUMOUR)]
        if unknown:
            raise ValueError(f"site: unknown organ '{unknown[0]}'; known: {', '.join((*SITES, NO_TUMOUR))}")
        if not any(name != NO_TUMOUR for name in self.site) and (self.side or self.size_mm):
            raise ValueError("side and size_mm describe masses; name at least one organ in site")
        for low, high in (*self.age, *self.size_mm):
            if not 0 < low <= high:
                raise ValueError(f"range [{low}, {high}]: expected two positive numbers, the smaller one first")
        for first, last in self.coverage:
            if list(Region).index(first) > list(Region).index(last):
                raise ValueError(f"coverage: '{last}' does not lie below '{first}'")
        return self


class SetSettings(Section):
    """One synthetic set: where its prompts come from and what becomes of cases that fail a gate."""

    split: Literal["train", "val", "test"] = "train"
    """Split of the patients whose prompts and numbers are used; sets of test patients are never trained on."""
    cases: int = Field(1000, ge=1)
    """Size of the set; the first cases stay the same when it grows."""
    design: DesignSettings | None = None
    """Prompts from a design instead of from the cohort."""
    table: str = ""
    """Prompts from a file instead: `.txt` with a prompt per line, or `.tsv` or `.csv` with a column `prompt`; absolute,
    or relative to the study."""
    balance_tumour: bool = False
    """Prompts of the cohort with and without a tumour in turn, so that half of the set asks for one; off: as many as
    the patients of the split have."""
    numeric_conditions: bool = True
    """Condition on spacing and covered range of the source case (with `design` and `table`, of a case of the split that
    covers what the prompt says); off: only the text acts."""
    reject: bool = True
    """Draw again what fails a gate; off where the set measures what the models do."""
    segmenter: str = ""
    """Who must find in the CT what the label map says (gate `agreement`): an arm of `segment.arms` that learns from
    real cases only, or `totalsegmentator` (in the segmentation environment, with its weights). Empty leaves the gate
    out."""

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        if self.design and self.table:
            raise ValueError("prompts come from `design` or from `table`, not from both")
        if self.balance_tumour and (self.design or self.table):
            raise ValueError(
                "balance_tumour chooses among prompts of the cohort; leave it out with `design` and `table`"
            )
        return self


class GateSettings(Section):
    """When a generated pair counts as plausible."""

    required: tuple[GateName, ...] = get_args(GateName)
    """Gates that a case must pass; the others are recorded only."""
    min_voxels: int = Field(4, ge=1)
    """A structure with fewer voxels on the label grid counts as absent."""
    volume_factor: float = Field(2.0, ge=1)
    """A class may be this many times larger or smaller than in any training case of the same covered range."""
    volume_share: float = Field(0.9, ge=0, le=1)
    """Share of the expected classes whose volume must be within that range."""
    expected_share: float = Field(0.95, ge=0, le=1)
    """A class that at least this share of those training cases has is expected."""
    reference_cases: int = Field(5, ge=1)
    """With fewer training cases of the same covered range, all of them are the reference."""
    stray_share: float = Field(0.1, ge=0, le=1)
    """Largest share of an organ's voxels outside its one part (kidneys and lungs: two parts)."""
    hu_share: float = Field(0.9, ge=0, le=1)
    """Share of the present classes whose median HU must be in the range of `labels.tsv`."""
    noise_factor: float = Field(3.0, ge=1)
    """Noise within organs may be this many times more or less than in any of a sample of training cases."""
    edge_share: float = Field(0.8, ge=0, le=1)
    """Least steepness of organ borders (gate `noise`), as a share of the least in that sample."""
    seam_factor: float = Field(2.0, ge=1)
    """The largest step between neighbouring planes, relative to the planes around them, may be this many times that of
    any of the sample."""
    agreement_share: float = Field(0.7, ge=0, le=1)
    """Least mean Dice of label map and segmenter, as a share of what the segmenter reaches on validation patients."""
    size_factor: float = Field(2.0, ge=1)
    """A tumour may be this many times larger or smaller than the prompt says, and a voxel besides."""


def _default_sets() -> dict[str, SetSettings]:
    adherence = SetSettings(split="test", cases=200, numeric_conditions=False, reject=False)  # type: ignore[call-arg]
    return {"train": SetSettings(segmenter="real"), "adherence": adherence}  # type: ignore[call-arg]


class SynthesizeSettings(Section):
    """The synthetic sets and the gates that they pass."""

    sets: dict[str, SetSettings] = Field(default_factory=_default_sets)
    """Sets by name (`[a-z0-9_]+`); segmenters learn from `train`, prompt adherence is measured on `adherence`."""
    cases_per_shard: int = Field(25, ge=1)
    """Cases of one job."""
    max_attempts: int = Field(3, ge=1)
    """How often a case is drawn until it passes the gates."""
    keep_rejected: bool = False
    """Keep a case that failed every time (the failed gates are recorded); off: it is excluded."""
    gates: GateSettings = GateSettings()  # type: ignore[call-arg]
    """Thresholds of the gates."""

    def name_shard(self, number: int) -> str:
        """Return the shard of the case with this number."""
        return f"s{number // self.cases_per_shard:03d}"

    def list_shards(self, name: str) -> list[str]:
        """Return the shards of a set."""
        return [self.name_shard(first) for first in range(0, self.sets[name].cases, self.cases_per_shard)]


def check_segmenters(sets: Mapping[str, SetSettings], segment: SegmentSettings) -> None:
    """Raise GuideGenError where a set is to be judged by a segmenter that is unknown or learns from synthetic cases."""
    runs = segment.list_runs()
    chosen = {name: entry.segmenter for name, entry in sets.items() if entry.segmenter not in ("", TOTALSEGMENTATOR)}
    for name, run in chosen.items():
        place = f"synthesize.sets.{name}.segmenter"
        if run not in runs:
            raise GuideGenError(
                f"{place}: no training '{run}' of segment.arms; there are {', '.join((*runs, TOTALSEGMENTATOR))}"
            )
        if synthetic := segment.arms[runs[run].arm].synthetic:
            raise GuideGenError(
                f"{place}: '{run}' learns from the synthetic set '{synthetic}' and cannot judge synthetic cases; "
                "name an arm with `real: true` and no synthetic set"
            )
        if segment.backend == "nnunet":
            raise GuideGenError(f"{place}: needs a segment.backend of MONAI, which the core environment can load")
