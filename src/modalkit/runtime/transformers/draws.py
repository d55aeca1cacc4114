"""The random choices and penalties of one sequence."""

from __future__ import annotations

import random
from collections.abc import Iterable

import torch
from torch import Tensor

from ..openai import Sampling

__all__ = ["Draws"]

_LARGEST_UNIFORM = 1 - 2**-24  # the largest float32 below one


class Draws:
    """What one sequence needs to draw its next token, whatever else is in the batch.

    Each draw takes one number of the sequence's own generator, so the same seed gives the same
    choices in any company.
    """

    def __init__(self, sampling: Sampling, seed: int | None) -> None:
        self.sampling = sampling
        self.is_greedy = sampling.temperature == 0
        self.is_filtered = sampling.top_p < 1 or sampling.top_k > 0 or sampling.min_p > 0
        self.adjusts = bool(
            sampling.frequency_penalty
            or sampling.presence_penalty
            or sampling.logit_bias
            or sampling.repetition_penalty != 1
        )
        self._random = random.Random(seed)  # noqa: S311  sampling text, not making a secret
        self._generated: Tensor | None = None
        self._seen: Tensor | None = None
        self._counted = 0

    def uniform(self) -> float:
        """The next number in [0, 1), such that float32 does not round it to 1."""
        return min(self._random.random(), _LARGEST_UNIFORM)

    def adjust(self, logits: Tensor, prompt: list[int], tokens: list[int]) -> None:
        """Apply bias and penalties to this sequence's row of logits, in place."""
        sampling = self.sampling
        generated, seen = self._count(logits, prompt, tokens)
        if sampling.repetition_penalty != 1:
            penalty = sampling.repetition_penalty
            penalised = torch.where(logits > 0, logits / penalty, logits * penalty)
            logits.copy_(torch.where(seen, penalised, logits))
        if sampling.frequency_penalty or sampling.presence_penalty:
            logits -= sampling.frequency_penalty * generated
            logits -= sampling.presence_penalty * (generated > 0)
        for token, bias in sampling.logit_bias.items():
            logits[token] += bias

    def _count(self, like: Tensor, prompt: list[int], tokens: list[int]) -> tuple[Tensor, Tensor]:
        """How often each token was generated, and which occurred at all."""
        if self._generated is None or self._seen is None:
            self._generated = torch.zeros_like(like)
            self._seen = torch.zeros_like(like, dtype=torch.bool)
            self._mark(self._seen, prompt)
        for token in tokens[self._counted :]:
            self._generated[token] += 1
        self._mark(self._seen, tokens[self._counted :])
        self._counted = len(tokens)
        return self._generated, self._seen

    @staticmethod
    def _mark(seen: Tensor, tokens: Iterable[int]) -> None:
        seen[list(tokens)] = True
