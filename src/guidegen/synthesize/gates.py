"""Gates: is a pair of label map and CT anatomically and radiologically plausible, and what the prompt asked for?

Each gate says passed (true), failed (false), or not applicable (none) with the reason; a gate that needs structures
which the covered range does not show is not applicable.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

import numpy as np
from scipy import ndimage

from guidegen.labels import LabelTable
from guidegen.synthesize.agreement import check_agreement
from guidegen.synthesize.anatomy_gates import ABOVE, RIGHT_OF, check_components, check_pairs, check_volumes
from guidegen.synthesize.image_gates import check_hu, check_noise, check_seams
from guidegen.synthesize.pair import GateResult, Pair, Segmenter
from guidegen.synthesize.prompt_gates import check_prompt_agreement, check_tumour
from guidegen.synthesize.reference import Reference
from guidegen.synthesize.settings import GateName, GateSettings

SEPARATOR = " | "


@dataclass(frozen=True)
class Gates:
    """All gates with what they compare with."""

    table: LabelTable
    settings: GateSettings
    reference: Reference | None = None
    """Real cases; without them `volume`, `noise`, `seams` and the covered range of `prompt` do not apply."""
    segmenter: Segmenter | None = None
    """Without it `agreement` does not apply."""

    def check(self, pair: Pair) -> dict[GateName, GateResult]:
        """Run all gates on one pair and return gate name → result."""
        counts = np.bincount(pair.labels.ravel(), minlength=len(self.table))
        present = {entry.name for entry in self.table.classes[1:] if counts[entry.id] >= self.settings.min_voxels}
        names = sorted(present & {name for two in (*RIGHT_OF, *ABOVE) for name in two})
        ids = [self.table.ids[name] for name in names]
        found = ndimage.center_of_mass(pair.labels > 0, pair.labels, ids) if names else []
        centres = dict(zip(names, np.asarray(found), strict=True))
        return {
            "volume": check_volumes(pair, self.table, self.settings, self.reference),
            "components": check_components(pair, self.table, self.settings, present),
            "left_right": check_pairs(centres, RIGHT_OF, 0, "right of"),
            "order": check_pairs(centres, ABOVE, 2, "above"),
            "tumour": check_tumour(pair, self.table, self.settings),
            "hu": check_hu(pair, self.table, self.settings, present),
            "noise": check_noise(pair, self.settings, self.reference),
            "seams": check_seams(pair, self.table, self.settings, self.reference),
            "agreement": check_agreement(pair, self.table, self.settings, self.segmenter),
            "prompt": check_prompt_agreement(pair, self.table, self.settings, self.reference),
        }


def list_failed(gates: Mapping[GateName, GateResult], required: Iterable[GateName]) -> list[str]:
    """Return `gate (detail)` of each required gate that failed, at most three details of each."""
    failed = {name: gates[name].details for name in gates if name in required and gates[name].passed is False}
    return [f"{name} ({SEPARATOR.join(details[:3])}{' | …' * (len(details) > 3)})" for name, details in failed.items()]


def describe_gates(gates: Mapping[GateName, GateResult]) -> dict[str, dict[str, object]]:
    """Return what a sidecar says of the gates."""
    return {
        name: {k: v for k, v in asdict(result).items() if v not in ((), None) or k == "passed"}
        for name, result in gates.items()
    }
