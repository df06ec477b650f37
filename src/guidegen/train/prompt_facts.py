"""Fits what reads facts from prompts to the training cases."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from guidegen.models.knowledge_injection import pack_text
from guidegen.models.prompt_reader import PromptReader, summarise_text
from guidegen.train.cohort import Cohort, CohortCase


def fit_reader(
    reader: PromptReader,
    cohort: Cohort,
    cases: Sequence[CohortCase],
    measured: Iterable[tuple[Tensor, Tensor]],
    strength: float,
) -> None:
    """Fit a regression to all wordings of the prompts of some cases.

    Args:
        reader: the regression.
        cohort: holds the token states.
        cases: training cases.
        measured: per case its facts (1, C, F) and which of them count (1, C, F).
        strength: of the ridge penalty.
    """
    length = cohort.study.config.prepare.encoder.max_tokens
    words = [cohort.states(key) for case in cases for _, key in case.prompts]
    summaries = torch.cat([summarise_text(*pack_text([states], length)) for states in words])
    repeats = torch.tensor([len(case.prompts) for case in cases])
    facts, known = (torch.cat(part).repeat_interleave(repeats, 0) for part in zip(*measured, strict=True))
    reader.fit(summaries, facts, known, strength)
