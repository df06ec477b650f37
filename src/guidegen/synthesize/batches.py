"""First attempts at cases, drawn in batches as large as the free memory of the GPU allows."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch

from guidegen.models.memory import measure_free_memory
from guidegen.synthesize.plan import CaseRequest
from guidegen.synthesize.sampler import PairSampler

LARGEST_BATCH = 32
USED_SHARE = 0.8
"""Share of the free memory that a batch may take."""


@dataclass
class BatchSampler:
    """Draws ahead what will be asked for next.

    On the CPU a batch is no faster than its cases one by one, so each is a batch of its own. On a GPU the first case is
    drawn alone, and the memory that it took decides how many fit; where that was too many, the batch is halved.
    """

    sampler: PairSampler
    waiting: dict[str, CaseRequest] = field(default_factory=dict)
    """Cases that were not asked for yet, in order."""
    size: int = 1
    drawn: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    @classmethod
    def load(cls, sampler: PairSampler, requests: Iterable[CaseRequest]) -> Self:
        """Wait for the given cases, sorted as a shard works through them."""
        return cls(sampler, {request.case: request for request in sorted(requests, key=lambda r: r.case)})

    def draw(self, request: CaseRequest, attempt: int) -> tuple[np.ndarray, np.ndarray]:
        """Return (labels, ct) of one attempt at a case; see `PairSampler.draw`."""
        if attempt:
            return self.sampler.draw([request], attempt)[0]
        if request.case not in self.drawn:
            self._draw_ahead(request)
        return self.drawn.pop(request.case)

    def _draw_ahead(self, request: CaseRequest) -> None:
        later = [other for case, other in self.waiting.items() if case > request.case and case not in self.drawn]
        batch = [request, *later[: self.size - 1]]
        device = self.sampler.synthesizer.alpha_bar.device
        on_gpu = device.type == "cuda"
        before = torch.cuda.memory_allocated() if on_gpu else 0
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
        try:
            pairs = self.sampler.draw(batch, 0)
        except torch.cuda.OutOfMemoryError:
            if len(batch) == 1:
                raise
            self.size = len(batch) // 2
            torch.cuda.empty_cache()
            self._draw_ahead(request)
            return
        self.drawn |= {each.case: pair for each, pair in zip(batch, pairs, strict=True)}
        if on_gpu and self.size == 1 and len(batch) == 1:
            self.size = fit_batch(measure_free_memory(device), torch.cuda.max_memory_allocated() - before)


def fit_batch(free: int, per_case: int) -> int:
    """Return how many cases fit into `free` bytes when one takes `per_case`; at least one."""
    return max(min(int(USED_SHARE * free / max(per_case, 1)), LARGEST_BATCH), 1)
