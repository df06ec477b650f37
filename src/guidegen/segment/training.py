"""Trains one segmenter."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from monai.inferers.utils import sliding_window_inference
from monai.losses.dice import DiceCELoss
from monai.networks.nets.segresnet import SegResNet
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from guidegen.atomic import write_text
from guidegen.errors import GuideGenError
from guidegen.labels import TUMOUR, LabelTable
from guidegen.progress import track_progress
from guidegen.segment.cases import SegmentCase
from guidegen.segment.settings import SegmentSettings

IMPOSSIBLE = -1e4
"""Logit of a class that cannot be."""


@dataclass(frozen=True)
class Volumes:
    """Cases in memory, on the grid that the network works on."""

    ct: list[np.ndarray]
    """float32 in [-1, 1]."""
    labels: list[np.ndarray]
    """uint8."""
    tumour_known: list[bool]

    @classmethod
    def load(cls, cases: Sequence[SegmentCase], resolution: str) -> "Volumes":
        """Read all cases."""
        pairs = [case.load(resolution) for case in cases]
        return cls([ct for ct, _ in pairs], [labels for _, labels in pairs], [case.tumour_known for case in cases])

    def draw_batch(self, rng: np.random.Generator, settings: SegmentSettings) -> tuple[Tensor, Tensor, Tensor]:
        """Return random patches: CT (B, 1, p, p, p), labels (B, 1, p, p, p), and whether tumours are known (B,).

        Intensities are scaled and shifted at random; nothing is mirrored, because that would be wrong anatomy.
        """
        images, targets, known = [], [], []
        for index in rng.integers(len(self.ct), size=settings.batch):
            ct, labels = self.ct[index], self.labels[index]
            starts = [rng.integers(max(size - settings.patch, 0) + 1) for size in ct.shape]
            patch = tuple(slice(start, start + settings.patch) for start in starts)
            scale, shift = rng.normal(0, settings.intensity_jitter, 2)
            images.append(ct[patch] * np.float32(1 + scale) + np.float32(shift))
            targets.append(labels[patch].astype(np.int64))
            known.append(self.tumour_known[index])
        return (
            torch.from_numpy(np.stack(images)[:, None]),
            torch.from_numpy(np.stack(targets)[:, None]),
            torch.tensor(known),
        )


def build_network(settings: SegmentSettings, classes: int) -> SegResNet:
    """Return the untrained network: CT (B, 1, X, Y, Z) to logits (B, classes, X, Y, Z)."""
    return SegResNet(spatial_dims=3, init_filters=settings.filters, in_channels=1, out_channels=classes)


def weigh_classes(labels: Sequence[np.ndarray], classes: int) -> Tensor:
    """Return loss weights (classes,), inverse to the square root of the class frequency, with mean 1."""
    counts = np.sum([np.bincount(array.ravel(), minlength=classes) for array in labels], axis=0)
    weights = 1 / np.sqrt(np.maximum(counts / counts.sum(), 1e-5))
    weights[counts == 0] = 0
    return torch.tensor(weights / weights.mean(), dtype=torch.float32)


def train_segmenter(
    training: Volumes, validation: Volumes, settings: SegmentSettings, table: LabelTable, seed: int
) -> tuple[SegResNet, list[tuple[int, str, float]]]:
    """Train from random weights; equal arguments and thread counts give equal weights on one CPU model.

    Returns:
        The network, and its curves as (step, name, value).

    Raises:
        GuideGenError: the loss stopped being finite.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(seed)
    rng = np.random.Generator(np.random.PCG64(seed))
    network = build_network(settings, len(table)).to(device)
    weight = weigh_classes(training.labels, len(table)).to(device)
    loss_function = DiceCELoss(to_onehot_y=True, softmax=True, batch=True, weight=weight)
    optimizer = torch.optim.AdamW(network.parameters(), settings.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
    curves: list[tuple[int, str, float]] = []
    interval = max(settings.steps // settings.validations, 1)
    recent: list[float] = []
    with track_progress("segment", settings.steps, "steps") as advance:
        for step in range(1, settings.steps + 1):
            images, targets, known = (part.to(device) for part in training.draw_batch(rng, settings))
            logits = forbid_tumour(network(images), ~known, table.ids.get(TUMOUR))
            loss = loss_function(logits, targets)
            if not torch.isfinite(loss):
                raise GuideGenError(f"segment: the loss is {loss.item()} at step {step}; lower segment.learning_rate")
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            recent.append(loss.item())
            if step % interval == 0 or step == settings.steps:
                curves.append((step, "loss", float(np.mean(recent))))
                curves.append((step, "validation_dice", validate(network, validation, settings, len(table))))
                recent.clear()
            advance(1, f"loss {loss.item():.3f}")
    return network, curves


def forbid_tumour(logits: Tensor, cases: Tensor, tumour: int | None) -> Tensor:
    """Take the tumour class out of the given cases (B,), so that a tumour nobody annotated is no error there."""
    if tumour is None or not cases.any():
        return logits
    logits = logits.clone()
    logits[cases, tumour] = IMPOSSIBLE
    return logits


@torch.no_grad()
def predict_logits(network: nn.Module, ct: np.ndarray, settings: SegmentSettings) -> Tensor:
    """Return logits (1, classes, X, Y, Z) of one scaled CT, in overlapping patches where it is larger than one."""
    device = next(network.parameters()).device
    network.eval()
    image = torch.from_numpy(ct)[None, None].to(device)
    if max(ct.shape) <= settings.patch:
        logits = network(image)
    else:
        logits = sliding_window_inference(image, settings.patch, 1, network, overlap=0.25, mode="gaussian")
    network.train()
    assert isinstance(logits, Tensor)
    return logits


def predict_labels(network: nn.Module, ct: np.ndarray, settings: SegmentSettings) -> np.ndarray:
    """Return the predicted class ids on the label grid, uint8 (n, n, n), of one scaled CT on the network's grid."""
    logits = predict_logits(network, ct, settings)
    if settings.resolution == "ct":
        logits = nn.functional.avg_pool3d(logits.softmax(1), 2)
    return logits.argmax(1)[0].to(torch.uint8).cpu().numpy()


def validate(network: nn.Module, volumes: Volumes, settings: SegmentSettings, classes: int) -> float:
    """Return the mean Dice over validation cases and the organs that they show; NaN without cases."""
    scores = []
    for ct, labels in zip(volumes.ct, volumes.labels, strict=True):
        predicted = predict_logits(network, ct, settings).argmax(1)[0].cpu().numpy()
        joint = np.bincount(labels.ravel().astype(np.int64) * classes + predicted.ravel(), minlength=classes**2)
        table = joint.reshape(classes, classes)
        shown = np.flatnonzero(table.sum(1)[1:]) + 1
        scores += list(2 * table[shown, shown] / (table.sum(1)[shown] + table.sum(0)[shown]))
    return float(np.mean(scores)) if scores else float("nan")


def save_segmenter(
    folder: Path, network: nn.Module, curves: Sequence[tuple[int, str, float]], facts: dict[str, object]
) -> None:
    """Write model.safetensors, model.json and curves.csv."""
    weights = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    save_file(weights, folder / "model.safetensors")
    write_text(folder / "model.json", json.dumps(facts, indent=1, sort_keys=True) + "\n")
    lines = ["step,name,value", *(f"{step},{name},{value:.6g}" for step, name, value in curves)]
    write_text(folder / "curves.csv", "\n".join(lines) + "\n")


def load_segmenter(folder: Path, settings: SegmentSettings, classes: int) -> SegResNet:
    """Load a segmenter that `save_segmenter` wrote."""
    network = build_network(settings, classes)
    network.load_state_dict(load_file(folder / "model.safetensors"), strict=True)
    return network.to("cuda" if torch.cuda.is_available() else "cpu")
