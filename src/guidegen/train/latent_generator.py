"""Training of stage III."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from monai.networks.schedulers.rectified_flow import RFlowScheduler
from torch import Tensor, nn
from torch.nn import functional

from guidegen.models.contrast_autoencoder import ContrastAutoencoder
from guidegen.models.knowledge_injection import Conditions
from guidegen.models.latent_generator import LatentGenerator
from guidegen.models.prompt_reader import PromptReader
from guidegen.seeds import derive_rng, derive_seed
from guidegen.train.cohort import HELD_OUT, Cohort, CohortCase, measure_frequencies
from guidegen.train.order import pick_cases, pick_prompt, spread_cases
from guidegen.train.prompt_facts import fit_reader
from guidegen.train.settings import LatentGeneratorTraining

STAGE = "latent_generator"
HELD_OUT_TIMES = (0.2, 0.4, 0.6, 0.8, 1.0)
"""Shares of the schedule at which the held-out loss is measured."""


class LatentBatch(NamedTuple):
    cases: list[str]
    latents: Tensor
    """Normalised (B, L, n/2, n/2, n/2), float32."""
    labels: Tensor
    """Class ids (B, n, n, n), int64; the number of classes stands for "unknown"."""
    conditions: Conditions


class LatentGeneratorStage(nn.Module):
    """Losses, batches and the held-out measure of the latent generator.

    Args:
        model: the network.
        cohort: the prepared cohort.
        latents: files of the stored latents by case.
        settings: of the stage.
        seed: study seed.
    """

    class_weights: Tensor
    measure = "mean squared error of the velocity of normalised latents at five noise levels"
    baseline = "mean and variance of each latent voxel, combined with x_t linearly"

    def __init__(
        self,
        model: LatentGenerator,
        cohort: Cohort,
        latents: dict[str, Path],
        settings: LatentGeneratorTraining,
        seed: int,
    ) -> None:
        super().__init__()
        self.model = model
        self.settings, self.seed, self.cohort, self.latents = settings, seed, cohort, latents
        self.cases = [case for case in cohort.select(STAGE) if case.case in latents]
        held_out = [case for case in cohort.select(STAGE, HELD_OUT) if case.case in latents]
        self.held_out = spread_cases(held_out, settings.optimization.held_out_cases)
        self.register_buffer("class_weights", self._weigh_classes(), persistent=False)
        if model.enhancement is not None:
            with torch.device("cpu"):  # also where only the cost of a step is counted, on the device `meta`
                self._fit_enhancement(model.enhancement)

    def _weigh_classes(self) -> Tensor:
        """Return the weight of each class and of "unknown", float32 (C + 1,); 1 as a mean over voxels."""
        classes, power = len(self.model.binding.classes), self.settings.model.class_balance
        labelled = [case for case in self.cases if case.labels is not None]
        weights = torch.ones(classes + 1)
        if power and labelled:
            shares = measure_frequencies(labelled, classes)
            weights[:-1] = (shares**-power / (shares ** (1 - power)).sum()).float()
        return weights

    def _fit_enhancement(self, reader: PromptReader) -> None:
        """Fit the regression that reads the enhancement to all training prompts."""
        cases = [case for case in self.cases if case.labels is not None]
        measured = []
        for case in cases:
            latents, labels = (torch.from_numpy(load(case))[None] for load in (self.load_latents, self.load_labels))
            means = self.model.measure_enhancement(latents, labels)
            there = torch.bincount(labels.flatten(), minlength=means.shape[1]) > 0
            measured.append((means, there.view(1, -1, 1).expand_as(means)))
        fit_reader(reader, self.cohort, cases, measured, self.settings.model.enhancement_ridge)

    def load_latents(self, case: CohortCase) -> np.ndarray:
        """Return normalised latents (L, n/2, n/2, n/2). Raises GuideGenError where the shape is wrong."""
        latents = np.load(self.latents[case.case])
        side = self.model.binding.grid // 2
        case.check_array("latent", latents, (self.model.latent_channels, side, side, side), -np.inf, np.inf)
        return np.asarray(latents, np.float32)

    def load_labels(self, case: CohortCase) -> np.ndarray:
        """Return class ids (n, n, n), int64; the null label where the case has none."""
        grid, classes = self.model.binding.grid, len(self.model.binding.classes)
        if case.labels is None:
            return np.full((grid,) * 3, classes, np.int64)
        labels = case.load_labels()
        case.check_array("label map", labels, (grid,) * 3, 0, classes - 1)
        return np.asarray(labels, np.int64)

    def make_batch(self, cases: list[CohortCase], prompts: list[int]) -> LatentBatch:
        """Return a batch of some cases, each with one of its prompts."""
        text = [self.cohort.states(case.prompts[i][1]) for case, i in zip(cases, prompts, strict=True)]
        return LatentBatch(
            [case.case for case in cases],
            torch.from_numpy(np.stack([self.load_latents(case) for case in cases])),
            torch.from_numpy(np.stack([self.load_labels(case) for case in cases])),
            self.model.conditioning.pack(text, [c.spacing for c in cases], [c.coverage for c in cases]),
        )

    def draw_batch(self, index: int) -> LatentBatch:
        """Return training batch number `index`."""
        cases = pick_cases(self.cases, self.settings.optimization.batch, index, self.seed, STAGE, self.cohort.shares)
        return self.make_batch(cases, [pick_prompt(case, index, self.seed) for case in cases])

    def forward(self, batch: LatentBatch, share: float) -> dict[str, Tensor]:
        """Return the squared error of the velocity at random times; `share` of the training is done."""
        model = self.model
        times = model.draw_times(len(batch.latents)).to(batch.latents.device)
        noisy, velocity = model.add_noise(batch.latents, torch.randn_like(batch.latents), times)
        true = model.measure_enhancement(batch.latents, batch.labels) if model.enhancement is not None else None
        conditions = model.conditioning.drop_at_random(batch.conditions)
        guess = model(noisy, times, batch.labels, conditions, enhancement=true)
        if not self.settings.model.class_balance:
            return {"loss": functional.mse_loss(guess, velocity)}
        weights = torch.einsum("bcxyz,c->bxyz", model.pool_labels(batch.labels), self.class_weights).unsqueeze(1)
        return {"loss": ((guess - velocity).square() * weights).mean()}

    def measure_held_out(self, model: nn.Module) -> list[float]:
        """Return the mean squared error of the velocity of each held-out case on fixed times and noise."""
        return self._measure(lambda noisy, times, batch: model(noisy, times, batch.labels, batch.conditions))

    def measure_baseline(self) -> list[float]:
        """Return the same error for the best predictor that knows only x_t and each voxel's mean and variance.

        For jointly normal x and noise it is linear: E[x | x_t] and E[noise | x_t] from mean and variance of the
        training latents, voxel by voxel. It is stronger than predicting the mean alone.
        """
        stack = np.stack([self.load_latents(case) for case in self.cases])
        device = self.model.latent_mean.device
        mean, variance = (torch.from_numpy(part).to(device) for part in (stack.mean(0), stack.var(0)))

        def predict(noisy: Tensor, times: Tensor, batch: LatentBatch) -> Tensor:
            signal, noise = self._coefficients(times, noisy)
            residual = (noisy - signal * mean) / (signal**2 * variance + noise**2)
            data, random = mean + signal * variance * residual, noise * residual
            if isinstance(self.model.scheduler, RFlowScheduler):
                return data - random
            return signal * random - noise * data

        return self._measure(predict)

    def _coefficients(self, times: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return the factors of data and noise in x_t."""
        ones = torch.ones_like(like)
        zeros = torch.zeros_like(like)
        scheduler = self.model.scheduler
        signal = scheduler.add_noise(original_samples=ones, noise=zeros, timesteps=times)
        return signal, scheduler.add_noise(original_samples=zeros, noise=ones, timesteps=times)

    @torch.inference_mode()
    def _measure(self, predict: Callable[[Tensor, Tensor, LatentBatch], Tensor]) -> list[float]:
        means = []
        device = self.model.latent_mean.device
        for case in self.held_out:
            losses = []
            batch = self.make_batch([case], [0])
            batch = batch._replace(latents=batch.latents.to(device), labels=batch.labels.to(device))
            for share in HELD_OUT_TIMES:
                rng = derive_rng(self.seed, "held out", STAGE, case.case, str(share))
                noise = torch.from_numpy(rng.standard_normal(batch.latents.shape, np.float32)).to(device)
                last = self.settings.model.timesteps - 1
                times = torch.tensor([round(share * last)], device=device)
                noisy, velocity = self.model.add_noise(batch.latents, noise, times)
                losses.append(float(functional.mse_loss(predict(noisy, times, batch), velocity)))
            means.append(sum(losses) / len(losses))
        return means

    def draw_examples(
        self, model: LatentGenerator, autoencoder: ContrastAutoencoder, count: int
    ) -> list[tuple[CohortCase, np.ndarray, np.ndarray]]:
        """Return some held-out cases, their label maps, and the CT sampled for prompt and label map."""
        cases = spread_cases([case for case in self.held_out if case.labels], count)
        found = []
        for case in cases:
            labels = np.array(case.load_labels())[None]
            seeds = [derive_seed(self.seed, "example", STAGE, case.case)]
            text = [self.cohort.states(case.prompts[0][1])]
            latents = model.sample(labels, text, [case.spacing], [case.coverage], seeds)
            found.append((case, labels[0], autoencoder.decode(latents, labels)[0]))
        return found
