"""A key-value cache for sequences of different lengths that end in the same column.

Rows are sequences and columns are steps. Every decode step writes one column for all rows, so a
sequence that joined late simply starts further to the right:

    row 0   . . p p p p g g g
    row 1   . . . . . p p p g        p prompt, g generated, . never read
    row 2   . . . . . . . p p

This is what left-padded batches look like to transformers, so its own masks (causal, sliding
window, chunked) and position ids hold for every architecture that can be batched at all, and a
step costs one slice assignment per layer instead of a concatenation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor
from transformers.cache_utils import (
    Cache,
    CacheLayerMixin,
    DummyLayer,
    DynamicCache,
    DynamicLayer,
    DynamicSlidingWindowLayer,
    LinearAttentionCacheLayerMixin,
)

__all__ = ["AlignedCache", "Window", "bytes_per_token"]


_Layer = CacheLayerMixin | LinearAttentionCacheLayerMixin | DummyLayer


@dataclass(slots=True)
class Window:
    """The part of the buffers that is in use: ``rows`` x columns ``start`` to ``end``."""

    rows: int = 0
    start: int = 0
    end: int = 0


class _AlignedLayer(CacheLayerMixin):  # type: ignore[no-untyped-call]  # transformers' own
    """One attention layer's keys and values: rows x heads x columns x width."""

    keys: Tensor
    values: Tensor

    def __init__(self, window: Window, sliding_window: int | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # transformers' own
        self._window = window
        self._sliding = sliding_window
        self.is_sliding = sliding_window is not None

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Never needed: buffers are made when the first sequences join."""
        raise NotImplementedError

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Write the new column and return all columns that this step reads."""
        del args, kwargs
        rows, end = self._window.rows, self._window.end
        self.keys[:rows, :, end] = key_states[:, :, 0]
        self.values[:rows, :, end] = value_states[:, :, 0]
        first = self._first()
        return self.keys[:rows, :, first : end + 1], self.values[:rows, :, first : end + 1]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """How many columns `update` returns, and how many before them it leaves out."""
        first = self._first()
        return self._window.end + query_length - first, first - self._window.start

    def get_seq_length(self) -> int:
        """Columns already written."""
        return self._window.end - self._window.start

    def get_max_length(self) -> int:
        """No limit of its own."""
        return -1

    def _first(self) -> int:
        if self._sliding is None:
            return self._window.start
        return max(self._window.start, self._window.end + 1 - self._sliding)

    def resize(self, like: _KeysValues, rows: int, columns: int, end: int) -> None:
        """Move the live part so that it ends at column ``end`` of new buffers."""
        fresh = _KeysValues(_empty(like.keys, rows, columns), _empty(like.values, rows, columns))
        live = self._window
        if live.rows:
            old = slice(live.start, live.end)
            new = slice(end - (live.end - live.start), end)
            fresh.keys[: live.rows, :, new] = self.keys[: live.rows, :, old]
            fresh.values[: live.rows, :, new] = self.values[: live.rows, :, old]
        self.keys, self.values = fresh

    def place(self, row: int, prefilled: _KeysValues, chosen: Tensor) -> None:
        """Write whole sequences at rows from ``row`` on, ending at the window's end."""
        keys, values = prefilled.keys[chosen], prefilled.values[chosen]
        last, end, width = row + keys.shape[0], self._window.end, keys.shape[2]
        self.keys[row:last, :, end - width : end] = keys
        self.values[row:last, :, end - width : end] = values

    def copy_row(self, source: int, target: int, start: int) -> None:
        """Copy one row's columns from ``start`` to the window's end."""
        end = self._window.end
        self.keys[target, :, start:end] = self.keys[source, :, start:end]
        self.values[target, :, start:end] = self.values[source, :, start:end]


class AlignedCache(Cache):
    """The layers of one model, all sharing a `Window`."""

    def __init__(self, window: Window, template: DynamicCache) -> None:
        layers: list[_Layer] = [_counterpart(layer, window) for layer in template.layers]
        super().__init__(layers=layers)
        numbered = enumerate(layers)
        self._aligned = {n: layer for n, layer in numbered if isinstance(layer, _AlignedLayer)}

    @staticmethod
    def can_hold(template: DynamicCache) -> bool:
        """Whether all layers are plain attention; recurrent and indexed ones are not."""
        plain = {DynamicLayer, DynamicSlidingWindowLayer, DummyLayer}
        return all(type(layer) in plain for layer in template.layers)

    def resize(self, like: Cache, rows: int, columns: int, end: int) -> None:
        """Give every layer buffers of this size; ``like`` has their heads, widths and dtype."""
        for number, tensors in _stored(like).items():
            self._aligned[number].resize(tensors, rows, columns, end)

    def place(self, row: int, prefilled: DynamicCache, chosen: Tensor) -> None:
        """Write the chosen rows of a prefilled batch at rows from ``row`` on."""
        for number, tensors in _stored(prefilled).items():
            self._aligned[number].place(row, tensors, chosen)

    def copy_row(self, source: int, target: int, start: int) -> None:
        """Copy one sequence over another."""
        for number in _stored(self):
            self._aligned[number].copy_row(source, target, start)


class _KeysValues(NamedTuple):
    """What one layer stores: rows x heads x columns x width, twice."""

    keys: Tensor
    values: Tensor


def _stored(cache: Cache) -> dict[int, _KeysValues]:
    """What each layer stores, by its number; layers that share another's store nothing."""
    stored: dict[int, _KeysValues] = {}
    for number, layer in enumerate(cache.layers):
        keys, values = getattr(layer, "keys", None), getattr(layer, "values", None)
        if isinstance(keys, Tensor) and isinstance(values, Tensor):
            stored[number] = _KeysValues(keys, values)
    return stored


def bytes_per_token(cache: Cache) -> int:
    """What one column of one row takes in this cache, in bytes."""
    tensors = [tensor for pair in _stored(cache).values() for tensor in pair]
    return sum(tensor.shape[1] * tensor.shape[3] * tensor.element_size() for tensor in tensors)


def _empty(like: Tensor, rows: int, columns: int) -> Tensor:
    """Zeros, not garbage: a masked column is still multiplied, and 0 x NaN is NaN."""
    return like.new_zeros(rows, like.shape[1], columns, like.shape[3])


def _counterpart(layer: _Layer, window: Window) -> _Layer:
    if isinstance(layer, DummyLayer):
        return layer
    sliding = layer.sliding_window if isinstance(layer, DynamicSlidingWindowLayer) else None
    return _AlignedLayer(window, sliding)
