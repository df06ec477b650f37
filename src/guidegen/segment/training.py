"""Trains one segmenter."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from monai.inferers.utils import sliding_window_inference
from monai.losses.dice import DiceCELoss
from monai.networks.nets.dynunet import DynUNet
from monai.networks.nets.segresnet import SegResNet
from monai.networks.nets.swin_unetr import SwinUNETR
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from guidegen.errors import GuideGenError
from guidegen.labels import TUMOUR, LabelTable
from guidegen.progress import track_progress
from guidegen.segment.cases import SegmentCase, TrainingSet
from guidegen.segment.settings import SegmentSettings

IMPOSSIBLE = -1e4
"""Logit of a class that cannot be."""
LEVELS = 4
FINETUNE_RATE = 0.3
"""Learning rate of fine-tuning, as a share of that of the training before it."""


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


def build_network(settings: SegmentSettings, classes: int) -> nn.Module:
    """Return the untrained network: CT (B, 1, X, Y, Z) to logits (B, classes, X, Y, Z)."""
    if settings.backend == "swinunetr":
        return SwinUNETR(in_channels=1, out_channels=classes, feature_size=settings.filters)
    if settings.backend == "dynunet":
        return DynUNet(
            spatial_dims=3,
            in_channels=1,
            out_channels=classes,
            kernel_size=[3] * LEVELS,
            strides=[1] + [2] * (LEVELS - 1),
            upsample_kernel_size=[2] * (LEVELS - 1),
            filters=[settings.filters * 2**level for level in range(LEVELS)],
        )
    return SegResNet(spatial_dims=3, init_filters=settings.filters, in_channels=1, out_channels=classes)


def weigh_classes(labels: Sequence[np.ndarray], classes: int) -> Tensor:
    """Return loss weights (classes,), inverse to the square root of the class frequency, with mean 1."""
    counts = np.sum([np.bincount(array.ravel(), minlength=classes) for array in labels], axis=0)
    weights = 1 / np.sqrt(np.maximum(counts / counts.sum(), 1e-5))
    weights[counts == 0] = 0
    return torch.tensor(weights / weights.mean(), dtype=torch.float32)


@dataclass(frozen=True)
class Course:
    """A part of a training: what it learns from, for how long, from which learning rate down."""

    volumes: Volumes
    steps: int
    learning_rate: float


def plan_courses(training: TrainingSet, settings: SegmentSettings, finetune: bool) -> list[Course]:
    """Read the cases and lay out the training: all mixed, or first the synthetic and then the real ones."""
    if not finetune:
        return [Course(Volumes.load(training.cases, settings.resolution), settings.steps, settings.learning_rate)]
    first = settings.steps // 2
    parts = (training.synthetic, first, 1.0), (training.real, settings.steps - first, FINETUNE_RATE)
    return [
        Course(Volumes.load(cases, settings.resolution), steps, settings.learning_rate * rate)
        for cases, steps, rate in parts
        if cases and steps
    ]


def train_segmenter(
    courses: Sequence[Course], validation: Volumes, settings: SegmentSettings, table: LabelTable, seed: int
) -> tuple[nn.Module, list[tuple[int, str, float]]]:
    """Train from random weights, one course after another.

    Equal arguments and thread counts give equal weights on one CPU model.

    Returns:
        The network, and its curves as (step, name, value).

    Raises:
        GuideGenError: the loss stopped being finite.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(seed)
    rng = np.random.Generator(np.random.PCG64(seed))
    network = build_network(settings, len(table)).to(device)
    curves: list[tuple[int, str, float]] = []
    total = sum(course.steps for course in courses)
    done, interval = 0, max(total // settings.validations, 1)
    recent: list[float] = []
    with track_progress("segment", total, "steps") as advance:
        for course in courses:
            for loss in _walk_course(network, course, settings, table, rng):
                done += 1
                if not np.isfinite(loss):
                    raise GuideGenError(
                        f"segment: the loss is {loss} at step {done}; lower segment.learning_rate, or set "
                        f"segment.precision to 32-true (it is {settings.precision})"
                    )
                recent.append(loss)
                if done % interval == 0 or done == total:
                    curves.append((done, "loss", float(np.mean(recent))))
                    curves.append((done, "validation_dice", validate(network, validation, settings, len(table))))
                    recent.clear()
                advance(1, f"loss {loss:.3f}")
    return network, curves


def _walk_course(
    network: nn.Module, course: Course, settings: SegmentSettings, table: LabelTable, rng: np.random.Generator
) -> Iterator[float]:
    """Take the steps of one course; yields the loss of each, and goes on only where it is finite."""
    device = next(network.parameters()).device
    weight = weigh_classes(course.volumes.labels, len(table)).to(device)
    loss_function = DiceCELoss(to_onehot_y=True, softmax=True, batch=True, weight=weight)
    optimizer = torch.optim.AdamW(network.parameters(), course.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, course.steps)
    for _ in range(course.steps):
        images, targets, known = (part.to(device) for part in course.volumes.draw_batch(rng, settings))
        logits = forbid_tumour(_run_network(network, images, settings), ~known, table.ids.get(TUMOUR))
        loss = loss_function(logits, targets)
        value = loss.item()
        if np.isfinite(value):
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimizer.step()
            schedule.step()
        yield value


def _run_network(network: nn.Module, images: Tensor, settings: SegmentSettings) -> Tensor:
    """Return logits (B, classes, X, Y, Z), float32, of CT (B, 1, X, Y, Z)."""
    with torch.autocast(images.device.type, torch.bfloat16, enabled=settings.precision == "bf16-mixed"):
        return network(images).float()


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

    def run(part: Tensor) -> Tensor:
        return _run_network(network, part, settings)

    if max(ct.shape) <= settings.patch:
        logits = run(image)
    else:
        logits = sliding_window_inference(image, settings.patch, 1, run, overlap=0.25, mode="gaussian")
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


def save_weights(folder: Path, network: nn.Module) -> None:
    """Write model.safetensors, with the same bytes in every process.

    Weights that a network holds twice, as DynUNet does, are written twice: `safetensors.torch.save_model` would write
    them once, but name them in an order that changes with the process.
    """
    weights = {name: value.detach().cpu().clone().contiguous() for name, value in network.state_dict().items()}
    save_file(weights, folder / "model.safetensors")


def load_segmenter(folder: Path, settings: SegmentSettings, classes: int) -> nn.Module:
    """Load a segmenter that `save_weights` wrote."""
    network = build_network(settings, classes)
    network.load_state_dict(load_file(folder / "model.safetensors"), strict=True)
    return network.to("cuda" if torch.cuda.is_available() else "cpu")
