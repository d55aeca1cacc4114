"""Does this model give the same logits in an aligned batch as alone? Ask it, at start-up.

Nearly all architectures do. The few that do not (their own position schemes, state that padding
disturbs) must never be batched, and a list of names would be out of date; so two short prompts
are run both ways.
"""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from .cache import AlignedCache
from .forward import CausalForward, left_padded
from .rows import AlignedRows, Rows, SoloRows

__all__ = ["batches_correctly"]

_LOG = logging.getLogger(__name__)
_SHORT, _LONG, _STEPS = 5, 11, 3
# Relative to the spread of the logits. Rounding stays far below, a wrong mask far above.
_TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-3, torch.float16: 0.02, torch.bfloat16: 0.1}


def batches_correctly(forward: CausalForward, vocabulary: int, dtype: torch.dtype) -> bool:
    """Whether batched logits equal those of each sequence alone, up to rounding."""
    if not AlignedCache.can_hold(forward.new_cache()):
        return False
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(vocabulary, (2, _LONG + _STEPS), generator=generator).tolist()
    prompts = [tokens[0][:_SHORT], tokens[1][:_LONG]]
    steps = [[row[_LONG + step] for row in tokens] for step in range(_STEPS)]
    try:
        batched = _batched(forward, prompts, steps)
    except Exception as error:  # noqa: BLE001  one by one remains
        _LOG.debug("The model cannot be batched.", exc_info=error)
        return False
    alone = torch.stack([_alone(forward, prompts, steps, row) for row in range(2)], dim=1)
    # The mean: in half precision one expert chosen differently may move a few logits far.
    deviation = (batched - alone).abs().mean() / alone.std()
    return bool(deviation < _TOLERANCE.get(dtype, _TOLERANCE[torch.bfloat16]))


def _batched(forward: CausalForward, prompts: list[list[int]], steps: list[list[int]]) -> Tensor:
    """Logits after each step of both rows, the second having joined a step late."""
    rows = AlignedRows(forward, max_rows=2, max_cells=1024)
    lengths = [len(prompt) for prompt in prompts]
    cache = forward.new_cache()
    first = forward(*left_padded(prompts, forward.device), cache)
    rows.join(cache, [0, 1], lengths)
    return torch.stack([first, *(rows.step(tokens) for tokens in steps)])


def _alone(
    forward: CausalForward, prompts: list[list[int]], steps: list[list[int]], row: int
) -> Tensor:
    rows: Rows = SoloRows(forward, max_cells=1024)
    cache = forward.new_cache()
    first = forward(*left_padded([prompts[row]], forward.device), cache)
    rows.join(cache, [0], [len(prompts[row])])
    return torch.stack([first[0], *(rows.step([tokens[row]])[0] for tokens in steps)])
