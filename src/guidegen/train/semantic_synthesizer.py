"""Training of stage I."""

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from guidegen.models.categorical_diffusion import compute_posterior_kl, draw_times, q_sample
from guidegen.models.knowledge_injection import Conditions
from guidegen.models.layout import measure_layout
from guidegen.models.prompt_reader import PromptReader
from guidegen.models.semantic_synthesizer import SemanticSynthesizer
from guidegen.seeds import derive_rng, derive_seed
from guidegen.train.augmentation import turn_and_shift
from guidegen.train.cohort import HELD_OUT, Cohort, CohortCase, measure_frequencies
from guidegen.train.order import pick_cases, pick_prompt, spread_cases
from guidegen.train.prompt_facts import fit_reader
from guidegen.train.settings import SemanticSynthesizerTraining

STAGE = "semantic_synthesizer"
HELD_OUT_TIMES = (0.2, 0.4, 0.6, 0.8, 1.0)
"""Shares of T at which the held-out loss is measured."""


class LabelBatch(NamedTuple):
    cases: list[str]
    labels: Tensor
    """Class ids (B, n, n, n), int64."""
    conditions: Conditions


def load_labels(case: CohortCase, binding_grid: int, classes: int) -> Tensor:
    """Return class ids (n, n, n), int64. Raises GuideGenError where shape or ids are wrong."""
    labels = case.load_labels()
    case.check_array("label map", labels, (binding_grid,) * 3, 0, classes - 1)
    return torch.from_numpy(np.asarray(labels, np.int64))


class SemanticSynthesizerStage(nn.Module):
    """Losses, batches and the held-out measure of the semantic synthesizer.

    Args:
        model: the network.
        cohort: the prepared cohort; every training case with a label map is used.
        settings: of the stage.
        seed: study seed.
    """

    class_weights: Tensor
    measure = "cross-entropy of x_0 (nats per voxel) at five noise levels"
    baseline = "class frequencies, combined with x_t by Bayes' rule"

    def __init__(
        self, model: SemanticSynthesizer, cohort: Cohort, settings: SemanticSynthesizerTraining, seed: int
    ) -> None:
        super().__init__()
        self.model = model
        self.settings, self.seed, self.cohort = settings, seed, cohort
        self.cases = cohort.select(STAGE)
        self.held_out = spread_cases(cohort.select(STAGE, HELD_OUT), settings.optimization.held_out_cases)
        self.register_buffer("class_weights", self._weigh_classes(), persistent=False)
        if model.layout is not None:
            with torch.device("cpu"):  # also where only the cost of a step is counted, on the device `meta`
                self._fit_layout(model.layout)

    def make_batch(self, cases: list[CohortCase], prompts: list[int]) -> LabelBatch:
        """Return a batch of some cases, each with one of its prompts."""
        binding = self.model.binding
        labels = torch.stack([load_labels(case, binding.grid, len(binding.classes)) for case in cases])
        text = [self.cohort.states(case.prompts[i][1]) for case, i in zip(cases, prompts, strict=True)]
        conditions = self.model.conditioning.pack(text, [c.spacing for c in cases], [c.coverage for c in cases])
        return LabelBatch([case.case for case in cases], labels, conditions)

    def draw_batch(self, index: int) -> LabelBatch:
        """Return training batch number `index`."""
        cases = pick_cases(self.cases, self.settings.optimization.batch, index, self.seed, STAGE, self.cohort.shares)
        batch = self.make_batch(cases, [pick_prompt(case, index, self.seed) for case in cases])
        settings = self.settings.augmentation
        if not settings.rotation and not settings.shift:
            return batch
        changed = []
        for case, labels in zip(cases, batch.labels, strict=True):
            rng = derive_rng(self.seed, "augmentation", STAGE, case.case, index)
            changed.append(turn_and_shift(labels, case.spacing, settings, rng))
        return batch._replace(labels=torch.stack(changed))

    def _fit_layout(self, reader: PromptReader) -> None:
        """Fit the regression that reads the layout to all training prompts."""
        binding = self.model.binding
        maps = (load_labels(case, binding.grid, len(binding.classes)).unsqueeze(0) for case in self.cases)
        measured = [measure_layout(labels, len(binding.classes)) for labels in maps]
        fit_reader(reader, self.cohort, self.cases, measured, self.settings.model.layout_ridge)

    @cached_property
    def frequencies(self) -> Tensor:
        """Share of each class among the voxels of the training cases, float64 (C,)."""
        return measure_frequencies(self.cases, len(self.model.binding.classes))

    def _weigh_classes(self) -> Tensor:
        """Return the weight of each class, float32 (C,), with mean 1 over the classes."""
        settings = self.settings.model
        weights = torch.ones(len(self.model.binding.classes), dtype=torch.float64)
        if settings.class_balance:
            weights = self.frequencies**-settings.class_balance
        weights[1:] *= settings.foreground_weight
        return (weights / weights.mean()).float()

    def forward(self, batch: LabelBatch, share: float) -> dict[str, Tensor]:
        """Return the losses at random times; `share` of the training is done."""
        settings, model = self.settings.model, self.model
        labels = batch.labels
        times = draw_times(len(labels), settings.timesteps, settings.time_exponent).to(labels.device)
        alpha_bar = model.alpha_bar[times]
        uniform, replacement = torch.rand(2, *labels.shape, device=labels.device)
        noisy = q_sample(labels, alpha_bar, len(model.binding.classes), uniform, replacement)
        conditions = model.conditioning.drop_at_random(batch.conditions)
        layout = measure_layout(labels, len(model.binding.classes))[0] if model.layout is not None else None
        logits = model(noisy, times, conditions, layout=layout)
        # Weighted losses make p(x_0) proportional to weight times frequency; with the adjustment softmax(logits) itself
        # stays unweighted (Menon et al. 2021, logit adjustment).
        logits = logits + self.class_weights.log().view(1, -1, 1, 1, 1)
        weights = self.class_weights[labels]
        weights = weights / weights.mean()
        losses = {}
        if settings.kl_weight:
            kl = compute_posterior_kl(logits, labels, noisy, alpha_bar, model.alpha_bar[times - 1])
            losses["kl"] = (kl * weights).mean()
        if settings.cross_entropy_weight:
            losses["cross_entropy"] = (functional.cross_entropy(logits, labels, reduction="none") * weights).mean()
        total = sum(getattr(settings, f"{name}_weight") * value for name, value in losses.items())
        return {"loss": torch.as_tensor(total), **losses}

    def measure_held_out(self, model: nn.Module) -> list[float]:
        """Return the cross-entropy (nats per voxel) of x_0 of each held-out case on fixed times and noise."""
        return self._measure(lambda noisy, times, batch: model(noisy, times, batch.conditions))

    def measure_baseline(self) -> list[float]:
        """Return the same loss for a predictor that knows only x_t and how frequent each class is (Bayes' rule)."""
        prior = self.frequencies.log().float().view(1, -1, 1, 1, 1)

        def predict(noisy: Tensor, times: Tensor, batch: LabelBatch) -> Tensor:
            seen = functional.one_hot(noisy, prior.shape[1]).movedim(-1, 1)
            alpha_bar = self.model.alpha_bar[times].view(-1, 1, 1, 1, 1)
            return prior.to(noisy.device) + (alpha_bar * seen + (1 - alpha_bar) / prior.shape[1]).log().float()

        return self._measure(predict)

    @torch.inference_mode()
    def _measure(self, predict: Callable[[Tensor, Tensor, LabelBatch], Tensor]) -> list[float]:
        means = []
        device = self.model.alpha_bar.device
        for case in self.held_out:
            losses = []
            batch = self.make_batch([case], [0])
            labels = batch.labels.to(device)
            for share in HELD_OUT_TIMES:
                rng = derive_rng(self.seed, "held out", STAGE, case.case, str(share))
                uniform, replacement = torch.from_numpy(rng.random((2, *labels.shape), np.float32)).to(device)
                times = torch.tensor([round(share * self.settings.model.timesteps)], device=device)
                noisy = q_sample(
                    labels, self.model.alpha_bar[times], len(self.model.binding.classes), uniform, replacement
                )
                losses.append(float(functional.cross_entropy(predict(noisy, times, batch), labels)))
            means.append(sum(losses) / len(losses))
        return means

    def draw_examples(self, model: SemanticSynthesizer, count: int) -> list[tuple[CohortCase, np.ndarray]]:
        """Return some held-out cases with a label map sampled for the prompt of each."""
        cases = spread_cases(self.held_out, count)
        maps = model.sample(
            [self.cohort.states(case.prompts[0][1]) for case in cases],
            [None] * len(cases),
            [None] * len(cases),
            [derive_seed(self.seed, "example", STAGE, case.case) for case in cases],
        )
        return list(zip(cases, maps, strict=True))
