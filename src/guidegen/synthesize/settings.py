"""Config section of the phase `synthesize`."""

from typing import Literal

from pydantic import Field

from guidegen.section import Section


class SetSettings(Section):
    """One synthetic set: where its prompts come from and what becomes of cases that fail a gate."""

    split: Literal["train", "val", "test"] = "train"
    """Split of the patients whose prompts are used; sets of test patients are never trained on."""
    cases: int = Field(1000, ge=1)
    """Size of the set; the first cases stay the same when it grows."""
    numeric_conditions: bool = True
    """Condition on spacing and covered range of the source case; off: only the text acts."""
    reject: bool = True
    """Draw again what fails a gate; off where the set measures what the models do."""


class GateSettings(Section):
    """When a generated pair counts as plausible."""

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
    hu_share: float = Field(0.9, ge=0, le=1)
    """Share of the present classes whose median HU must be in the range of `labels.tsv`."""


def _default_sets() -> dict[str, SetSettings]:
    adherence = SetSettings(split="test", cases=200, numeric_conditions=False, reject=False)
    return {"train": SetSettings(), "adherence": adherence}  # type: ignore[call-arg]


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
