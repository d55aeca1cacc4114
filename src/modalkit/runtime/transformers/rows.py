"""The sequences being decoded, one step at a time: together when possible, else one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from .cache import AlignedCache, Window
from .forward import CausalForward

__all__ = ["AlignedRows", "Rows", "SoloRows"]

_SLACK_COLUMNS = 64


class Rows(Protocol):
    """Sequences whose prompts have been read. Row numbers are 0 to ``len(rows) - 1``."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def fits(self, lengths: Sequence[int]) -> bool:
        """Whether sequences of these lengths could join and everybody grow by a token."""
        ...

    def join(self, prefilled: DynamicCache, rows: Sequence[int], lengths: Sequence[int]) -> None:
        """Append the given rows of a prefilled, left-padded batch."""
        ...

    def drop(self, row: int) -> None:
        """Forget a row; the last row takes its number."""
        ...

    def step(self, tokens: Sequence[int]) -> Tensor:
        """Feed one token per row and return the logits of the next."""
        ...


class AlignedRows:
    """All rows in one batched call; see `modalkit.runtime.transformers.cache`.

    Args:
        max_cells: The most rows x columns of the buffers. They start small and grow on demand.
    """

    def __init__(self, forward: CausalForward, max_rows: int, max_cells: int) -> None:
        self._forward = forward
        self._max_rows, self._max_cells = max_rows, max_cells
        self._window = Window()
        self._cache = AlignedCache(self._window, forward.new_cache())
        self._mask = torch.zeros(0, 0, dtype=torch.bool, device=forward.device)
        self._starts: list[int] = []

    def __len__(self) -> int:
        """How many sequences there are."""
        return len(self._starts)

    def fits(self, lengths: Sequence[int]) -> bool:
        """Whether rows x columns stays within ``max_cells``."""
        rows = len(self) + len(lengths)
        width = max(self._width(), *lengths, 0) + 1
        return rows * width <= self._max_cells

    def join(self, prefilled: DynamicCache, rows: Sequence[int], lengths: Sequence[int]) -> None:
        """Append sequences, moving the buffers first when they have no room."""
        padded = prefilled.get_seq_length()
        if not self._starts:
            self._begin_at(padded)
        count = len(self) + len(rows)
        if count > self._mask.shape[0] or padded > self._window.end or self._is_full():
            self._resize(prefilled, count, max(self._width(), padded))
        first, end = len(self), self._window.end
        chosen = torch.tensor(rows, device=self._forward.device)
        self._cache.place(first, prefilled, chosen)
        self._mask[first:count] = False
        for row, length in enumerate(lengths, first):
            self._mask[row, end - length : end] = True
            self._starts.append(end - length)
        self._window.rows, self._window.start = count, min(self._starts)

    def drop(self, row: int) -> None:
        """Copy the last row over this one, so that the live rows stay together."""
        last = len(self) - 1
        if row != last:
            self._starts[row] = self._starts[last]
            self._mask[row] = self._mask[last]
            self._cache.copy_row(last, row, self._starts[row])
        self._starts.pop()
        self._window.rows = last
        self._window.start = min(self._starts, default=self._window.end)

    def step(self, tokens: Sequence[int]) -> Tensor:
        """One model call for all rows."""
        if self._is_full():
            self._resize(self._cache, len(self), self._width())
        window, device = self._window, self._forward.device
        self._mask[: window.rows, window.end] = True
        ids = torch.tensor(tokens, device=device).unsqueeze(1)
        starts = torch.tensor(self._starts, device=device).unsqueeze(1)
        mask = self._mask[: window.rows, window.start : window.end + 1]
        logits = self._forward(ids, mask, window.end - starts, self._cache)
        window.end += 1
        return logits

    def _begin_at(self, column: int) -> None:
        """Place the window of no rows, in the buffers there are if they are wide enough."""
        place = column if column < self._mask.shape[1] else 0
        self._window.start = self._window.end = place

    def _width(self) -> int:
        return self._window.end - self._window.start

    def _is_full(self) -> bool:
        return self._window.end >= self._mask.shape[1]

    def _resize(self, like: DynamicCache | AlignedCache, count: int, width: int) -> None:
        """New buffers for ``count`` rows that end at column ``width``, with room to grow."""
        rows = min(self._max_rows, 1 << (count - 1).bit_length())
        columns = width + max(_SLACK_COLUMNS, width // 2)
        if rows * columns > self._max_cells:
            rows, columns = count, min(columns, max(self._max_cells // count, width + 1))
        live, shift = self._window, width - self._window.end
        self._cache.resize(like, rows, columns, width)
        mask = self._mask.new_zeros(rows, columns)
        kept = self._mask[: live.rows, live.start : live.end]
        mask[: live.rows, live.start + shift : width] = kept
        self._mask = mask
        self._starts = [start + shift for start in self._starts]
        live.start, live.end = live.start + shift, width


class SoloRows:
    """A call per row, for architectures whose state cannot be aligned in a batch.

    Slower, but right for every model that `generate` can run: each sequence keeps the cache
    transformers made for it.
    """

    def __init__(self, forward: CausalForward, max_cells: int) -> None:
        self._forward = forward
        self._max_cells = max_cells
        self._caches: list[DynamicCache] = []
        self._lengths: list[int] = []

    def __len__(self) -> int:
        """How many sequences there are."""
        return len(self._caches)

    def fits(self, lengths: Sequence[int]) -> bool:
        """Whether the tokens of all sequences stay within ``max_cells``."""
        total = sum(self._lengths) + sum(lengths)
        return total + len(self) + len(lengths) <= self._max_cells

    def join(self, prefilled: DynamicCache, rows: Sequence[int], lengths: Sequence[int]) -> None:
        """Keep the cache of the one sequence that was prefilled."""
        (length,), _ = lengths, rows
        self._caches.append(prefilled)
        self._lengths.append(length)

    def drop(self, row: int) -> None:
        """Free the cache."""
        self._caches[row] = self._caches[-1]
        self._lengths[row] = self._lengths[-1]
        self._caches.pop()
        self._lengths.pop()

    def step(self, tokens: Sequence[int]) -> Tensor:
        """One model call per row."""
        logits = [self._step(row, token) for row, token in enumerate(tokens)]
        return torch.cat(logits)

    def _step(self, row: int, token: int) -> Tensor:
        device, length = self._forward.device, self._lengths[row]
        ids = torch.tensor([[token]], device=device)
        positions = torch.tensor([[length]], device=device)
        mask = torch.ones(1, length + 1, dtype=torch.bool, device=device)
        self._lengths[row] = length + 1
        return self._forward(ids, mask, positions, self._caches[row])
