"""One call of a causal language model, whatever its family."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache

from .cpus import Workers

__all__ = ["CausalForward", "left_padded"]


class CausalForward:
    """The logits that follow the last column of a left-padded batch."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self.device: torch.device = model.device
        self._workers = Workers() if self.device.type == "cpu" else None
        accepted = inspect.signature(model.forward).parameters
        # Models with relative positions (BLOOM, MPT) derive them from the mask.
        self._takes_positions = "position_ids" in accepted
        self._last_only = {"logits_to_keep": 1} if "logits_to_keep" in accepted else {}

    def new_cache(self) -> DynamicCache:
        """An empty cache with the layers this model needs."""
        return DynamicCache(config=self._model.config)

    def __call__(self, ids: Tensor, mask: Tensor, positions: Tensor, cache: Cache) -> Tensor:
        """Logits as float32, a row per sequence.

        Args:
            ids: New token ids, rows x columns.
            mask: Which columns, cached ones included, hold a token of the row.
            positions: Each new token's place in its own sequence.
            cache: What came before; the new columns are added to it.
        """
        with self._workers.fitted(ids.numel()) if self._workers else nullcontext():
            return self._call(ids, mask, positions, cache)

    def _call(self, ids: Tensor, mask: Tensor, positions: Tensor, cache: Cache) -> Tensor:
        extra = {"position_ids": positions} if self._takes_positions else {}
        output = self._model(
            input_ids=ids,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
            **extra,
            **self._last_only,
        )
        logits: Tensor = output.logits
        return logits[:, -1].float()


def left_padded(
    prompts: Sequence[Sequence[int]], device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Prompts as one batch that ends in the same column: ids, mask and positions."""
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in prompts])
    lengths = torch.tensor([[len(prompt)] for prompt in prompts])
    positions = torch.arange(width) - (width - lengths)
    mask = positions >= 0
    return ids.to(device), mask.to(device), positions.clamp_(min=0).to(device)
