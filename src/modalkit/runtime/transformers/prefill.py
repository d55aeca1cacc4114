"""Reading prompts: a left-padded batch, a piece of its columns at a time."""

from __future__ import annotations

from torch import Tensor

from .forward import CausalForward, left_padded
from .sequence import Sequence

__all__ = ["Prefill"]


class Prefill:
    """Sequences whose prompts are being read into a cache of their own.

    Decode steps run between two pieces, so a long prompt does not stall the answers under way.

    Args:
        piece_tokens: The most prompt tokens per model call; None reads all at once.
    """

    def __init__(
        self, forward: CausalForward, sequences: list[Sequence], piece_tokens: int | None
    ) -> None:
        self.sequences = sequences
        self.lengths = [sequence.length for sequence in sequences]
        self.cache = forward.new_cache()
        self._forward = forward
        prompts = [sequence.known for sequence in sequences]
        self._ids, self._mask, self._positions = left_padded(prompts, forward.device)
        self._done = 0
        width = self._ids.shape[1]
        self._piece = width if piece_tokens is None else max(1, piece_tokens // len(sequences))

    def advance(self) -> Tensor | None:
        """Read the next piece; the logits after the last column, once all is read."""
        start, end = self._done, min(self._done + self._piece, self._ids.shape[1])
        logits = self._forward(
            self._ids[:, start:end], self._mask[:, :end], self._positions[:, start:end], self.cache
        )
        self._done = end
        return logits if end == self._ids.shape[1] else None
