"""Stage III: prompt + label map → CT latent, by rectified flow or diffusion."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np
import torch
from monai.networks.schedulers.ddim import DDIMScheduler
from monai.networks.schedulers.ddpm import DDPMScheduler
from monai.networks.schedulers.rectified_flow import RFlowScheduler
from torch import Tensor, autocast, nn
from torch.nn import functional

from guidegen.models.class_means import find_class_means
from guidegen.models.knowledge_injection import Conditioning, Conditions, Coverage, Spacing
from guidegen.models.model_files import Binding, load_weights, read_description, save_model
from guidegen.models.prompt_reader import PromptReader, summarise_text
from guidegen.models.prompted_unet import PromptedUNet
from guidegen.models.settings import LatentGeneratorSettings

KIND = "latent_generator"


class LatentGenerator(nn.Module):
    """Predicts the velocity of normalised latents (B, L, n/2, n/2, n/2), given label map, prompt and numbers.

    Args:
        settings: network, scheduler and switches.
        binding: grid, classes and text encoder.
        latent_channels: L.
        empty: token states of the empty prompt (L, E); zeros before weights are loaded.
    """

    latent_mean: Tensor
    latent_std: Tensor

    def __init__(
        self,
        settings: LatentGeneratorSettings,
        binding: Binding,
        latent_channels: int,
        empty: np.ndarray | None = None,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.binding = binding
        self.latent_channels = latent_channels
        classes = len(binding.classes)
        self.unet = PromptedUNet(
            settings.unet,
            binding.grid // 2,
            latent_channels * (2 if settings.enhancement else 1) + classes + 1,
            latent_channels,
            settings.conditioning.injection_width,
        )
        self.conditioning = Conditioning(
            settings.conditioning,
            np.zeros((1, binding.text_width), np.float32) if empty is None else empty,
            binding.max_tokens,
            len(settings.unet.channels),
            self.unet.embedding_width,
        )
        self.enhancement = PromptReader(binding.text_width, classes, latent_channels) if settings.enhancement else None
        self.register_buffer("latent_mean", torch.zeros(latent_channels))
        self.register_buffer("latent_std", torch.ones(latent_channels))

    @property
    def scheduler(self) -> RFlowScheduler | DDPMScheduler | DDIMScheduler:
        """A new scheduler; none is kept, because MONAI's are half-made modules that break `Module.to`."""
        if self.settings.scheduler == "rectified_flow":
            return RFlowScheduler(num_train_timesteps=self.settings.timesteps, use_discrete_timesteps=True)
        kind = DDPMScheduler if self.settings.scheduler == "ddpm" else DDIMScheduler
        return kind(
            num_train_timesteps=self.settings.timesteps,
            schedule="scaled_linear_beta",
            prediction_type="v_prediction",
            clip_sample=False,
        )

    def pool_labels(self, labels: Tensor) -> Tensor:
        """Return class shares per latent voxel (B, C + 1, n/2, …) of class ids (B, n, n, n); id C is "unknown"."""
        shares = functional.one_hot(labels.long(), len(self.binding.classes) + 1).movedim(-1, 1).float()
        return functional.avg_pool3d(shares, 2)

    def measure_enhancement(self, latents: Tensor, labels: Tensor) -> Tensor:
        """Return the mean of each class (B, C, L) of normalised latents (B, L, n/2, …) under class ids (B, n, n, n)."""
        classes = len(self.binding.classes)
        return find_class_means(latents, labels, classes + 1)[..., :classes].mT

    def draw_times(self, count: int) -> Tensor:
        """Draw training times (count,), uniform over the scheduler's steps."""
        return torch.randint(0, self.settings.timesteps, (count,))

    def add_noise(self, latents: Tensor, noise: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        """Return (noisy latents, velocity to predict)."""
        noisy = self.scheduler.add_noise(original_samples=latents, noise=noise, timesteps=times)
        if isinstance(self.scheduler, RFlowScheduler):
            return noisy, latents - noise
        return noisy, self.scheduler.get_velocity(latents, noise, times)

    def forward(
        self,
        noisy: Tensor,
        times: Tensor,
        labels: Tensor,
        conditions: Conditions,
        enhancement: Tensor | None = None,
    ) -> Tensor:
        """Return the velocity (B, L, n/2, …), float32, for noisy latents, times (B,) and class ids (B, n, n, n).

        `enhancement` (B, C, L) is shown to the network; by default, where it sees one, what the prompts say.
        """
        conditions = self.conditioning.heed_switch(conditions)
        responses, embedding = self.conditioning(conditions)
        shares = self.pool_labels(labels)
        volume = torch.cat([noisy, shares], 1)
        if self.enhancement is not None:
            read = (
                self.enhancement(summarise_text(conditions.text, conditions.tokens))
                if enhancement is None
                else enhancement
            )
            means = read * self.conditioning.show_facts(conditions).view(-1, 1, 1)
            # not of the background, which is air, fat and muscle
            volume = torch.cat([volume, torch.einsum("bcxyz,bcl->blxyz", shares[:, 1:-1], means[:, 1:])], 1)
        return self.unet(volume, times.float(), responses, embedding).float()

    @torch.inference_mode()
    def sample(
        self,
        labels: np.ndarray,
        text: Sequence[np.ndarray],
        spacing: Sequence[Spacing | None],
        coverage: Sequence[Coverage | None],
        seeds: Sequence[int],
        steps: int | None = None,
        guidance: float | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> np.ndarray:
        """Return latents for the decoder of stage II, float32 (B, L, n/2, n/2, n/2).

        On the CPU cases are drawn one by one, so that the bytes of a case do not depend on its batch.

        Args:
            labels: label maps, uint8 (B, n, n, n).
            text: token states (L, E) of each prompt.
            spacing: voxel size of the label grid (mm), None where unknown.
            coverage: top and bottom of the covered range, None where unknown.
            seeds: one per case; all noise of a case comes from its own.
            steps: sampling steps, by default those of the settings.
            guidance: classifier-free guidance on the text, by default that of the settings.
            progress: called with 1 after each step of each batch.
        """
        device = self.latent_mean.device
        size = len(seeds) if device.type == "cuda" else 1
        parts = [
            self._sample_batch(
                torch.from_numpy(np.array(labels[i : i + size], np.int64)).to(device),
                self.conditioning.pack(text[i : i + size], spacing[i : i + size], coverage[i : i + size]),
                seeds[i : i + size],
                steps or self.settings.sampling_steps,
                self.settings.guidance if guidance is None else guidance,
                progress,
            )
            for i in range(0, len(seeds), size)
        ]
        return self.unscale(torch.cat(parts)).cpu().numpy()

    def unscale(self, latents: Tensor) -> Tensor:
        """Return latents in the autoencoder's own scale."""
        return latents * self.latent_std.view(-1, 1, 1, 1) + self.latent_mean.view(-1, 1, 1, 1)

    def _sample_batch(
        self,
        labels: Tensor,
        conditions: Conditions,
        seeds: Sequence[int],
        steps: int,
        guidance: float,
        progress: Callable[[int], None] | None,
    ) -> Tensor:
        device, scheduler = labels.device, self.scheduler
        generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]
        side = self.binding.grid // 2
        shape = (1, self.latent_channels, side, side, side)
        latents = torch.cat([torch.randn(shape, generator=generator, device=device) for generator in generators])
        full = self.settings.timesteps
        scheduler.set_timesteps(full if isinstance(scheduler, DDPMScheduler) else min(steps, full))
        times = [*scheduler.timesteps.tolist(), 0]
        for now, following in pairwise(times):
            with autocast(device.type, torch.bfloat16, enabled=self.settings.sampling_precision == "bfloat16"):
                velocity = self._predict_guided(latents, now, labels, conditions, guidance)
            if isinstance(scheduler, RFlowScheduler):
                latents, _ = scheduler.step(velocity, now, latents, following)
            else:
                moves = zip(velocity.split(1), latents.split(1), generators, strict=True)
                latents = torch.cat([scheduler.step(v, now, x, generator=g)[0] for v, x, g in moves])
            if progress:
                progress(1)
        return latents

    def _predict_guided(
        self, latents: Tensor, time: int, labels: Tensor, conditions: Conditions, guidance: float
    ) -> Tensor:
        times = torch.full((len(latents),), time, device=latents.device)
        if guidance == 1:
            return self(latents, times, labels, conditions)
        both = conditions.join(self.conditioning.drop_text(conditions))
        doubled = (torch.cat([part, part]) for part in (latents, times, labels))
        with_text, without = self(*doubled, both).chunk(2)
        return without + guidance * (with_text - without)

    def save(self, folder: Path, **facts: object) -> None:
        """Write model.safetensors and model.json."""
        scale = {"latent_mean": self.latent_mean.tolist(), "latent_std": self.latent_std.tolist()}
        description = {"settings": self.settings.model_dump(mode="json"), "latent_channels": self.latent_channels}
        save_model(folder, KIND, self, self.binding, {**description, **scale, **facts})

    @classmethod
    def load(cls, folder: Path, *, labels_hash: str | None = None, encoder_hash: str | None = None) -> Self:
        """Load a trained model.

        Raises:
            GuideGenError: it was trained with another label table or text encoder than the given hashes name.
        """
        binding, facts = read_description(folder, KIND, labels_hash=labels_hash, encoder_hash=encoder_hash)
        settings = LatentGeneratorSettings.model_validate(facts["settings"])
        model = cls(settings, binding, facts["latent_channels"])
        load_weights(folder, model)
        return model
