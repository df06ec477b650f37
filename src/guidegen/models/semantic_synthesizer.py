"""Stage I: prompt → label map, by categorical diffusion with knowledge injection."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor, autocast, nn
from torch.nn import functional

from guidegen.models.categorical_diffusion import (
    compute_posterior,
    list_sampling_times,
    make_cosine_schedule,
    sample_categories,
)
from guidegen.models.knowledge_injection import Conditioning, Conditions, Coverage, Spacing
from guidegen.models.layout import FACTS, draw_balls
from guidegen.models.model_files import Binding, load_weights, read_description, save_model
from guidegen.models.prompt_reader import PromptReader, summarise_text
from guidegen.models.prompted_unet import PromptedUNet
from guidegen.models.settings import SemanticSynthesizerSettings

KIND = "semantic_synthesizer"


class SemanticSynthesizer(nn.Module):
    """Predicts p(x_0 | x_t, prompt, spacing, covered range) for label maps of `binding.grid`³.

    Args:
        settings: network, diffusion and switches.
        binding: grid, classes and text encoder.
        empty: token states of the empty prompt (L, E); zeros before weights are loaded.
    """

    alpha_bar: Tensor

    def __init__(
        self, settings: SemanticSynthesizerSettings, binding: Binding, empty: np.ndarray | None = None
    ) -> None:
        super().__init__()
        self.settings = settings
        self.binding = binding
        classes = len(binding.classes)
        inputs = 2 * classes if settings.layout else classes
        self.unet = PromptedUNet(settings.unet, binding.grid, inputs, classes, settings.conditioning.injection_width)
        self.conditioning = Conditioning(
            settings.conditioning,
            np.zeros((1, binding.text_width), np.float32) if empty is None else empty,
            binding.max_tokens,
            len(settings.unet.channels),
            self.unet.embedding_width,
        )
        self.layout = PromptReader(binding.text_width, classes, FACTS) if settings.layout else None
        self.register_buffer("alpha_bar", make_cosine_schedule(settings.timesteps), persistent=False)

    def forward(
        self,
        noisy: Tensor,
        times: Tensor,
        conditions: Conditions,
        trust: float = 1.0,
        layout: Tensor | None = None,
    ) -> Tensor:
        """Return logits of x_0 (B, C, X, Y, Z), float32, for class ids `noisy` (B, X, Y, Z) at `times` (B,).

        `trust` scales the term log q(x_t | x_0); below 1 a voxel's own class counts less than its surroundings.
        `layout` (B, C, 4) is shown to the network; by default, where it sees one, what the prompts say.
        """
        conditions = self.conditioning.heed_switch(conditions)
        responses, embedding = self.conditioning(conditions)
        volume = functional.one_hot(noisy, len(self.binding.classes)).movedim(-1, 1).float()
        if self.layout is not None:
            read = self.layout(summarise_text(conditions.text, conditions.tokens)) if layout is None else layout
            balls = draw_balls(read, self.binding.grid)
            volume = torch.cat([volume, balls * self.conditioning.show_facts(conditions).view(-1, 1, 1, 1, 1)], 1)
        logits = self.unet(volume, times.float(), responses, embedding).float()
        if not self.settings.likelihood:
            return logits
        # log q(x_t | x_0) up to a constant: 0 for all classes but the one that is seen
        alpha_bar = self.alpha_bar[times].float()
        gain = trust * torch.log1p(len(self.binding.classes) * alpha_bar / (1 - alpha_bar).clamp(min=1e-6))
        gains = gain.view(-1, 1, 1, 1, 1).expand(-1, 1, *noisy.shape[1:])
        return logits.scatter_add(1, noisy.unsqueeze(1), gains)

    @torch.inference_mode()
    def sample(
        self,
        text: Sequence[np.ndarray],
        spacing: Sequence[Spacing | None],
        coverage: Sequence[Coverage | None],
        seeds: Sequence[int],
        steps: int | None = None,
        guidance: float | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> np.ndarray:
        """Return label maps, uint8 (B, X, Y, Z).

        On the CPU cases are drawn one by one, so that the bytes of a case do not depend on its batch.

        Args:
            text: token states (L, E) of each prompt.
            spacing: voxel size of the label grid (mm), None where unknown.
            coverage: top and bottom of the covered range, None where unknown.
            seeds: one per case; all noise of a case comes from its own.
            steps: sampling steps, by default those of the settings.
            guidance: classifier-free guidance on the text, by default that of the settings.
            progress: called with 1 after each step of each batch.
        """
        size = len(seeds) if self.alpha_bar.is_cuda else 1
        parts = [
            self._sample_batch(
                self.conditioning.pack(text[i : i + size], spacing[i : i + size], coverage[i : i + size]),
                seeds[i : i + size],
                steps or self.settings.sampling_steps,
                self.settings.guidance if guidance is None else guidance,
                progress,
            )
            for i in range(0, len(seeds), size)
        ]
        return torch.cat(parts).to(torch.uint8).cpu().numpy()

    def _sample_batch(
        self,
        conditions: Conditions,
        seeds: Sequence[int],
        steps: int,
        guidance: float,
        progress: Callable[[int], None] | None,
    ) -> Tensor:
        device = self.alpha_bar.device
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        side, classes = self.binding.grid, len(self.binding.classes)

        def draw_uniform() -> Tensor:
            return torch.stack([torch.rand(side, side, side, generator=g) for g in generators]).to(device)

        noisy = (draw_uniform() * classes).long().clamp_(max=classes - 1)
        times = list_sampling_times(self.settings.timesteps, steps, self.settings.sampling_spacing)
        for now, following in pairwise(times):
            with autocast(device.type, torch.bfloat16, enabled=self.settings.sampling_precision == "bfloat16"):
                trust = self.settings.final_trust if following == 0 else 1.0
                logits = self._predict_guided(noisy, now, conditions, guidance, trust)
            prediction = logits.softmax(1)
            if following == 0:
                noisy = prediction.argmax(1)
            else:
                alphas = self.alpha_bar[now].expand(len(noisy)), self.alpha_bar[following].expand(len(noisy))
                noisy = sample_categories(compute_posterior(prediction, noisy, *alphas), draw_uniform())
            if progress:
                progress(1)
        return noisy

    def _predict_guided(
        self, noisy: Tensor, time: int, conditions: Conditions, guidance: float, trust: float
    ) -> Tensor:
        times = torch.full((len(noisy),), time, device=noisy.device)
        if guidance == 1:
            return self(noisy, times, conditions, trust)
        both = conditions.join(self.conditioning.drop_text(conditions))
        with_text, without = self(torch.cat([noisy, noisy]), torch.cat([times, times]), both, trust).chunk(2)
        return without + guidance * (with_text - without)

    def save(self, folder: Path, **facts: object) -> None:
        """Write model.safetensors and model.json."""
        save_model(folder, KIND, self, self.binding, {"settings": self.settings.model_dump(mode="json"), **facts})

    @classmethod
    def load(cls, folder: Path, *, labels_hash: str | None = None, encoder_hash: str | None = None) -> Self:
        """Load a trained model.

        Raises:
            GuideGenError: it was trained with another label table or text encoder than the given hashes name.
        """
        binding, facts = read_description(folder, KIND, labels_hash=labels_hash, encoder_hash=encoder_hash)
        model = cls(SemanticSynthesizerSettings.model_validate(facts["settings"]), binding)
        load_weights(folder, model)
        return model
