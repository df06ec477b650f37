"""Gate `agreement`: does a segmenter that learned from real cases find in the CT what the label map says?"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from guidegen.errors import GuideGenError
from guidegen.labels import TUMOUR, LabelTable
from guidegen.manifest import read_manifest
from guidegen.segment.cases import pool_ct, scale_ct
from guidegen.segment.settings import SegmentSettings
from guidegen.segment.training import load_segmenter, predict_labels
from guidegen.study import Study
from guidegen.synthesize.pair import GateResult, Pair, Segmenter
from guidegen.synthesize.settings import TOTALSEGMENTATOR, GateSettings
from guidegen.synthesize.totalsegmentator import TotalSegmentator


@dataclass(frozen=True)
class RealSegmenter:
    """A trained segmenter and how good it is."""

    network: nn.Module
    settings: SegmentSettings
    dice: float
    """Mean Dice on the validation patients, over the organs that they show."""

    @classmethod
    def load(cls, study: Study, arm: str) -> "RealSegmenter | None":
        """Load the segmenter of an arm; None where the study has no real case that one could learn from.

        Raises:
            GuideGenError: the arm was not trained yet.
        """
        folder = study.root / "results" / "segmentation" / arm
        path = study.manifest("results", "segmentation", arm)
        if not path.is_file():
            raise GuideGenError(f"{path}: arm '{arm}' was not trained yet; run `guidegen segment --arm {arm}` first")
        if not any(row["role"] == "model" and row["status"] == "ok" for row in read_manifest(path)):
            return None
        settings = study.config.segment
        dice = _read_validation_dice(folder / "curves.csv")
        return cls(load_segmenter(folder, settings, len(study.labels)), settings, dice)

    def predict(self, pair: Pair) -> np.ndarray:
        """Return class ids on the label grid, uint8 (n, n, n), of a CT that is twice as fine."""
        assert pair.ct is not None
        scaled = scale_ct(pair.ct)
        image = pool_ct(scaled) if self.settings.resolution == "labels" else scaled
        return predict_labels(self.network, image, self.settings)


def choose_segmenter(study: Study, name: str) -> Segmenter | None:
    """Return the segmenter that a set names: none, TotalSegmentator, or a training of `segment`."""
    if name == TOTALSEGMENTATOR:
        return TotalSegmentator(study)
    return RealSegmenter.load(study, name) if name else None


def _read_validation_dice(path: Path) -> float:
    with path.open(encoding="utf-8", newline="") as stream:
        values = [float(row["value"]) for row in csv.DictReader(stream) if row["name"] == "validation_dice"]
    return values[-1] if values else float("nan")


def check_agreement(pair: Pair, table: LabelTable, settings: GateSettings, segmenter: Segmenter | None) -> GateResult:
    """Compare the label map with what the segmenter finds in the CT, over the organs of the label map."""
    if pair.ct is None or segmenter is None:
        return GateResult(None, ("no CT" if pair.ct is None else "no segmenter",))
    if not np.isfinite(segmenter.dice):
        return GateResult(None, ("the segmenter has no validation patients",))
    predicted = segmenter.predict(pair)
    labels = pair.labels if predicted.shape == pair.labels.shape else pair.fine_labels
    scores = {}
    for entry in table.classes[1:]:
        mask, found = labels == entry.id, predicted == entry.id
        if entry.name != TUMOUR and np.count_nonzero(mask) >= settings.min_voxels:
            scores[entry.name] = float(2 * (mask & found).sum() / (mask.sum() + found.sum()))
    if not scores:
        return GateResult(None, ("no organ",))
    mean, least = float(np.mean(list(scores.values()))), settings.agreement_share * segmenter.dice
    if mean >= least:
        return GateResult(True, (), mean)
    worst = sorted(scores, key=lambda name: scores[name])[:3]
    return GateResult(False, (f"mean Dice {mean:.2f} instead of {least:.2f}, worst {', '.join(worst)}",), mean)
