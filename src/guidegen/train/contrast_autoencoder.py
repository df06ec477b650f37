"""Training of stage II."""

from typing import NamedTuple

import numpy as np
import torch
from monai.losses.adversarial_loss import PatchAdversarialLoss
from monai.networks.nets.patchgan_discriminator import PatchDiscriminator
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from guidegen.models.contrast_autoencoder import ContrastAutoencoder
from guidegen.models.contrast_window import apply_window, draw_windows
from guidegen.models.settings import ContrastAutoencoderSettings
from guidegen.seeds import derive_rng
from guidegen.torchscript import load_script
from guidegen.train.cohort import HELD_OUT, Cohort, CohortCase
from guidegen.train.order import pick_cases, spread_cases
from guidegen.train.settings import ContrastAutoencoderTraining

STAGE = "contrast_autoencoder"
HU_LIMITS = (-32768, 32767)


class CtBatch(NamedTuple):
    cases: list[str]
    ct: Tensor
    """HU (B, 1, X, Y, Z), float32."""
    labels: Tensor
    """Class ids (B, X/2, Y/2, Z/2), int64; the number of classes stands for "unknown"."""


class Discriminators(nn.Module):
    """One discriminator for slices of random orientation and one for volumes."""

    def __init__(self, settings: ContrastAutoencoderSettings) -> None:
        super().__init__()
        common = {
            "channels": settings.discriminator_channels,
            "in_channels": 1,
            "num_layers_d": settings.discriminator_layers,
            "norm": "INSTANCE",
        }
        self.slices = PatchDiscriminator(spatial_dims=2, **common)  # type: ignore[arg-type]
        self.volumes = PatchDiscriminator(spatial_dims=3, **common)  # type: ignore[arg-type]

    def forward(self, volume: Tensor, axis: int, places: Tensor) -> list[list[Tensor]]:
        """Return features and verdicts of both for `volume` (B, 1, X, Y, Z) and its slices at `places` of `axis`."""
        slices = volume.index_select(axis + 2, places).movedim(axis + 2, 1).flatten(0, 1)
        return [self.slices(slices), self.volumes(volume)]


class ContrastAutoencoderStage(nn.Module):
    """Losses, batches and the held-out measure of the contrast-aware autoencoder.

    Args:
        model: the network.
        cohort: the prepared cohort; every training case with a CT is used, those without labels with the null label.
        settings: of the stage.
        seed: study seed.
    """

    measure = "mean absolute error (HU) of reconstructed volumes"
    baseline = "voxelwise mean of the training CTs"

    def __init__(
        self, model: ContrastAutoencoder, cohort: Cohort, settings: ContrastAutoencoderTraining, seed: int
    ) -> None:
        super().__init__()
        self.model = model
        self.settings, self.seed, self.cohort = settings, seed, cohort
        self.discriminators = Discriminators(settings.model)
        self.adversarial = PatchAdversarialLoss(criterion="least_squares", no_activation_leastsq=True)
        # in a list, so that its weights are in no checkpoint
        self.perceptual: list[nn.Module] = []
        if settings.model.perceptual != "none":
            path = cohort.study.root / settings.model.perceptual
            self.perceptual.append(load_script(path, f"train.{STAGE}.model.perceptual"))
        self.cases = cohort.select(STAGE)
        self.held_out = spread_cases(cohort.select(STAGE, HELD_OUT), settings.optimization.held_out_cases)

    def load_case(self, case: CohortCase) -> tuple[Tensor, Tensor]:
        """Return HU (1, 2n, 2n, 2n) and class ids (n, n, n) of a case; the null label where it has none."""
        grid, classes = self.model.binding.grid, len(self.model.binding.classes)
        ct = case.load_ct()
        case.check_array("CT", ct, (2 * grid,) * 3, *HU_LIMITS)
        if case.labels is None:
            return torch.from_numpy(np.asarray(ct, np.float32))[None], torch.full((grid,) * 3, classes)
        labels = case.load_labels()
        case.check_array("label map", labels, (grid,) * 3, 0, classes - 1)
        return torch.from_numpy(np.asarray(ct, np.float32))[None], torch.from_numpy(np.asarray(labels, np.int64))

    def draw_batch(self, index: int) -> CtBatch:
        """Return training batch number `index`: crops first, whole volumes at the end of the training."""
        optimization, crop = self.settings.optimization, self.settings.model.crop
        share = index / (optimization.steps * optimization.accumulate)
        side = 2 * self.model.binding.grid
        if crop is None or crop >= side or share >= 1 - self.settings.model.whole_share:
            crop = side
        cases = pick_cases(self.cases, optimization.batch, index, self.seed, STAGE, self.cohort.shares)
        cts, maps = [], []
        for case in cases:
            ct, labels = self.load_case(case)
            corner = derive_rng(self.seed, "crop", STAGE, case.case, index).integers(0, (side - crop) // 2 + 1, 3)
            x, y, z = (slice(int(start), int(start) + crop // 2) for start in corner)
            maps.append(labels[x, y, z])
            cts.append(ct[:, *(slice(2 * part.start, 2 * part.stop) for part in (x, y, z))])
        return CtBatch([case.case for case in cases], torch.stack(cts), torch.stack(maps))

    def forward(self, batch: CtBatch, share: float) -> dict[str, Tensor]:
        """Return the losses; `loss` trains the autoencoder and, once they started, the discriminators."""
        settings, model = self.settings.model, self.model
        truth = model.scale_hu(batch.ct)
        hidden = torch.rand(len(truth), 1, 1, 1, device=truth.device) < settings.labels_dropped
        labels = torch.where(hidden, len(model.binding.classes), batch.labels)
        mean, log_variance = model.encode_moments(truth, labels)
        latents = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        guess = model.decode_scaled(latents, labels)
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        losses = {"l1": functional.l1_loss(guess, truth), "kl": kl}
        total = settings.whole_weight * losses["l1"] + settings.kl_weight * kl
        real, fake = self._apply_windows(truth, guess)
        if settings.contrast_window:
            losses["window"] = functional.l1_loss(fake, real)
            total = total + settings.window_weight * losses["window"]
        for network in self.perceptual:
            losses["perceptual"] = compare_features(network.to(fake.device), fake, real)
            total = total + settings.perceptual_weight * losses["perceptual"]
        if settings.adversarial_weight and share >= settings.adversarial_start:
            losses |= self._compute_adversarial(real, fake)
            total = total + settings.adversarial_weight * losses["generator"]
            total = total + settings.feature_weight * losses["features"] + losses["discriminator"]
        return {"loss": total, **losses}

    def _apply_windows(self, truth: Tensor, guess: Tensor) -> tuple[Tensor, Tensor]:
        if not self.settings.model.contrast_window:
            return (truth + 1) / 2, (guess + 1) / 2
        windows = draw_windows(len(truth), self.settings.model)
        return tuple(apply_window(self.model.unscale_hu(part), *windows) for part in (truth, guess))  # type: ignore[return-value]

    def _compute_adversarial(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Return generator, feature matching and discriminator losses on the same windowed volumes and slices."""
        axis = int(torch.randint(3, ()))
        places = torch.randint(real.shape[axis + 2], (4,)).to(real.device)
        frozen = {name: value.detach() for name, value in self.discriminators.named_parameters()}
        judged = functional_call(self.discriminators, frozen, (fake, axis, places))
        seen = self.discriminators(real, axis, places)
        rejected = self.discriminators(fake.detach(), axis, places)
        generator = [self.adversarial(part[-1], target_is_real=True, for_discriminator=False) for part in judged]
        features = [
            functional.l1_loss(a, b.detach())
            for part, truth in zip(judged, seen, strict=True)
            for a, b in zip(part[:-1], truth[:-1], strict=True)
        ]
        discriminator = [
            0.5 * self.adversarial(part[-1], target_is_real=is_real, for_discriminator=True)
            for is_real, parts in ((True, seen), (False, rejected))
            for part in parts
        ]
        return {
            "generator": torch.stack(generator).sum(),
            "features": torch.stack(features).mean(),
            "discriminator": torch.stack(discriminator).sum(),
        }

    def measure_held_out(self, model: nn.Module) -> list[float]:
        """Return the mean absolute error (HU) of each whole held-out volume, latents without noise."""
        errors = []
        for case in self.held_out:
            ct, guess = self.reconstruct(model, case)
            errors.append(float(np.abs(guess - ct).mean()))
        return errors

    def measure_baseline(self) -> list[float]:
        """Return the same error for the voxelwise mean of the training CTs."""
        low, high = self.settings.model.hu_range
        total = np.zeros((2 * self.model.binding.grid,) * 3)
        for case in self.cases:
            total += np.clip(case.load_ct(), low, high)
        mean = total / len(self.cases)
        return [float(np.abs(mean - np.clip(case.load_ct(), low, high)).mean()) for case in self.held_out]

    def reconstruct(self, model: nn.Module, case: CohortCase) -> tuple[np.ndarray, np.ndarray]:
        """Return clipped HU and their reconstruction (2n, 2n, 2n)."""
        assert isinstance(model, ContrastAutoencoder)
        ct, labels = (part.numpy() for part in self.load_case(case))
        latents = model.encode(ct, labels[None])
        return np.clip(ct[0], *self.settings.model.hu_range), model.decode(latents, labels[None])[0]

    def measure_latents(self, model: ContrastAutoencoder, count: int = 64) -> None:
        """Measure mean and standard deviation of each latent channel on training cases and store them in the model."""
        latents = []
        for case in spread_cases(self.cases, count):
            ct, labels = (part.numpy() for part in self.load_case(case))
            latents.append(model.encode(ct, labels[None]).astype(np.float64))
        found = np.concatenate(latents)
        model.latent_mean.copy_(torch.from_numpy(found.mean((0, 2, 3, 4))))
        model.latent_std.copy_(torch.from_numpy(found.std((0, 2, 3, 4)).clip(min=1e-6)))


def compare_features(network: nn.Module, fake: Tensor, real: Tensor) -> Tensor:
    """Return the L1 between features of the middle slices of three orientations of windowed volumes."""
    losses = []
    for axis in range(3):
        place = real.shape[axis + 2] // 2
        ours, theirs = network(fake.select(axis + 2, place)), network(real.select(axis + 2, place))
        losses += [functional.l1_loss(a, b) for a, b in zip(ours, theirs, strict=True)]
    return torch.stack(losses).mean()
