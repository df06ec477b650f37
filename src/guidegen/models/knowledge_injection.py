"""Conditioning: what the prompt and the numbers say to each level of a U-Net."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from guidegen.models.settings import ConditioningSettings

Spacing = tuple[float, float, float]
Coverage = tuple[float, float]


class Conditions(NamedTuple):
    """What one batch is conditioned on."""

    text: Tensor
    """Token states (B, T, E), zero where padded."""
    tokens: Tensor
    """True where there is a token (B, T)."""
    numbers: Tensor
    """log(spacing / 5 mm) for x, y, z, then top and bottom of the covered range (B, 5), zero where unknown."""
    told: Tensor
    """1 where there is a prompt, 0 where it was dropped (B,)."""
    known: Tensor
    """1 where the spacing and where the covered range is known (B, 2)."""

    def join(self, other: "Conditions") -> "Conditions":
        """Concatenate two batches."""
        return Conditions(*(torch.cat(pair) for pair in zip(self, other, strict=True)))


def pack_text(states: Sequence[np.ndarray], length: int) -> tuple[Tensor, Tensor]:
    """Pad token states (L, E) to a fixed length, so that a case never depends on its batch; return (text, tokens)."""
    text = torch.zeros(len(states), length, states[0].shape[1])
    tokens = torch.zeros(len(states), length, dtype=torch.bool)
    for row, state in enumerate(states):
        count = min(len(state), length)
        text[row, :count] = torch.from_numpy(np.asarray(state[:count], np.float32))
        tokens[row, :count] = True
    return text, tokens


def pack_numbers(spacing: Sequence[Spacing | None], coverage: Sequence[Coverage | None]) -> tuple[Tensor, Tensor]:
    """Return (numbers, known) of `Conditions`; None is unknown."""
    numbers = torch.zeros(len(spacing), 5)
    known = torch.zeros(len(spacing), 2)
    for row, (size, extent) in enumerate(zip(spacing, coverage, strict=True)):
        if size is not None:
            numbers[row, :3] = torch.log(torch.tensor(size) / 5.0)
            known[row, 0] = 1
        if extent is not None:
            numbers[row, 3:] = torch.tensor(extent)
            known[row, 1] = 1
    return numbers, known


class KnowledgeInjection(nn.Module):
    """Learnable queries read the token states and give every level of a U-Net its own responses.

    Args:
        settings: widths and layers.
        text_width: E of the token states.
        levels: levels of the U-Net.
    """

    def __init__(self, settings: ConditioningSettings, text_width: int, levels: int) -> None:
        super().__init__()
        width = settings.injection_width
        self.enabled = settings.knowledge_injection
        self.read = nn.Sequential(nn.LayerNorm(text_width), nn.Linear(text_width, width))
        self.queries = nn.Parameter(torch.randn(settings.queries, width))
        layer = nn.TransformerDecoderLayer(
            width, max(1, width // 32), 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.decoder = nn.TransformerDecoder(layer, settings.injection_layers)
        self.answer = nn.ModuleList(nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width)) for _ in range(levels))

    def forward(self, text: Tensor, tokens: Tensor) -> list[Tensor]:
        """Return one tensor of responses (B, Q, D) per level; without queries the tokens stand for them."""
        memory = self.read(text) * tokens.unsqueeze(-1)
        if self.enabled:
            queries = self.queries.expand(len(text), -1, -1)
            memory = self.decoder(queries, memory, memory_key_padding_mask=~tokens)
        return [answer(memory) for answer in self.answer]


class Conditioning(nn.Module):
    """Turns `Conditions` into per-level responses and one embedding that is added to the time embedding.

    Args:
        settings: the switches.
        empty: token states of the empty prompt (L, E).
        max_tokens: length that texts are padded to.
        levels: levels of the U-Net.
        embedding_width: width of its time embedding.
    """

    empty_text: Tensor
    empty_tokens: Tensor

    def __init__(
        self, settings: ConditioningSettings, empty: np.ndarray, max_tokens: int, levels: int, embedding_width: int
    ) -> None:
        super().__init__()
        self.settings = settings
        self.max_tokens = max_tokens
        text, tokens = pack_text([empty], max_tokens)
        self.register_buffer("empty_text", text)
        self.register_buffer("empty_tokens", tokens)
        self.injection = KnowledgeInjection(settings, empty.shape[1], levels)
        self.measure = nn.Sequential(
            nn.Linear(7, embedding_width), nn.SiLU(), nn.Linear(embedding_width, embedding_width)
        )
        # the mean of the token states says much of what a prompt says, and is learned long before the attention
        norm, widths = nn.LayerNorm(empty.shape[1]), (settings.injection_width, embedding_width)
        self.summary = nn.ModuleList([norm, *(nn.Linear(empty.shape[1], width) for width in widths)])

    def pack(
        self, text: Sequence[np.ndarray], spacing: Sequence[Spacing | None], coverage: Sequence[Coverage | None]
    ) -> Conditions:
        """Return the conditions of a batch on this module's device."""
        numbers, known = pack_numbers(spacing, coverage)
        conditions = Conditions(*pack_text(text, self.max_tokens), numbers, torch.ones(len(text)), known)
        return Conditions(*(part.to(self.empty_text.device) for part in conditions))

    def drop_text(self, conditions: Conditions, dropped: Tensor | None = None) -> Conditions:
        """Put the empty prompt where `dropped` (B,) is true; everywhere by default."""
        if dropped is None:
            dropped = torch.ones(len(conditions.text), dtype=torch.bool, device=conditions.text.device)
        text = torch.where(dropped[:, None, None], self.empty_text, conditions.text)
        tokens = torch.where(dropped[:, None], self.empty_tokens, conditions.tokens)
        return conditions._replace(text=text, tokens=tokens, told=conditions.told * ~dropped)

    def heed_switch(self, conditions: Conditions) -> Conditions:
        """Return the conditions, without their prompts where text is switched off."""
        return conditions if self.settings.text else self.drop_text(conditions)

    def show_facts(self, conditions: Conditions) -> Tensor:
        """Return 1 where facts that are read from the prompt may be shown to the network, else 0 (B,)."""
        return conditions.told * self.settings.knowledge_injection

    def drop_at_random(self, conditions: Conditions) -> Conditions:
        """Drop text and each numeric condition by their shares, as in training."""
        count, device = len(conditions.text), conditions.text.device
        dropped = torch.rand(count, device=device) < self.settings.text_dropped
        kept = torch.rand(count, 2, device=device) >= self.settings.numeric_dropped
        return self.drop_text(conditions, dropped)._replace(known=conditions.known * kept)

    def forward(self, conditions: Conditions) -> tuple[list[Tensor], Tensor]:
        """Return (responses per level, embedding (B, W)); switched-off conditions count as unknown."""
        conditions = self.heed_switch(conditions)
        known = conditions.known * self.settings.numeric_conditions
        numbers = conditions.numbers * known[:, [0, 0, 0, 1, 1]]
        embedding = self.measure(torch.cat([numbers, known], 1))
        responses = self.injection(conditions.text, conditions.tokens)
        if not self.settings.text_summary:
            return responses, embedding
        norm, answer, announce = self.summary
        count = conditions.tokens.sum(1, keepdim=True).clamp(min=1)
        mean = norm(conditions.text.sum(1) / count)
        return [response + answer(mean).unsqueeze(1) for response in responses], embedding + announce(mean)
