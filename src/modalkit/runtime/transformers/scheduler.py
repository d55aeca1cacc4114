"""Which sequences run: continuous batching, one iteration at a time.

An iteration reads a piece of the waiting prompts and then takes one decode step for all rows.
Sequences join and leave between iterations, so nobody waits for anybody else's answer to end.
The scheduler has no thread and no clock; `DecodeThread` drives it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from torch import Tensor

from .forward import CausalForward
from .prefill import Prefill
from .rows import AlignedRows, Rows, SoloRows
from .sampler import choose
from .sequence import Sequence, TokenEvent

__all__ = ["Limits", "Scheduler"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be in memory at a time.

    Attributes:
        max_rows: Answers generated at a time.
        max_cells: Tokens in the key-value cache, padding included.
        prefill_tokens: Prompt tokens per model call.
        batched: False runs every sequence in model calls of its own.
    """

    max_rows: int
    max_cells: int
    prefill_tokens: int
    batched: bool = True


class Scheduler:
    """The waiting, the reading and the decoding sequences. Used by one thread only."""

    def __init__(self, forward: CausalForward, limits: Limits) -> None:
        self._forward = forward
        self._limits = limits
        self._waiting: deque[Sequence] = deque()
        self._cohort: deque[Sequence] = deque()
        self._prefill: Prefill | None = None
        self._decoding: list[Sequence] = []
        self._rows = self._no_rows()

    @property
    def running(self) -> int:
        """Sequences that hold memory of the model."""
        return len(self._decoding) + (len(self._prefill.sequences) if self._prefill else 0)

    @property
    def waiting(self) -> int:
        """Sequences that do not yet."""
        return len(self._waiting) + len(self._cohort)

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to do."""
        return not (self._waiting or self._cohort or self._prefill or self._decoding)

    def submit(self, sequence: Sequence) -> None:
        """Put a sequence at the end of the queue."""
        self._waiting.append(sequence)

    def read_prompts(self) -> list[TokenEvent]:
        """Read a piece of the next prompts; first tokens come with the last piece."""
        self._drop_cancelled()
        if self._prefill is None:
            self._admit()
        if self._prefill is None:
            return []
        logits = self._prefill.advance()
        if logits is None:
            return []
        prefill, self._prefill = self._prefill, None
        return self._join(prefill, logits)

    def decode(self) -> list[TokenEvent]:
        """One token for every row."""
        self._drop_cancelled()
        while len(self._decoding) > 1 and not self._rows.fits(()):
            self._send_back(len(self._decoding) - 1)
        if not self._decoding:
            return []
        last = [sequence.tokens[-1] for sequence in self._decoding]
        events = _accept(self._rows.step(last), self._decoding)
        self._drop([place for place, event in enumerate(events) if event.finish is not None])
        return events

    def abandon(self) -> list[Sequence]:
        """Forget everything that holds memory, after a failure; the sequences that are lost."""
        lost = self._decoding + (self._prefill.sequences if self._prefill else [])
        self._prefill, self._decoding, self._rows = None, [], self._no_rows()
        return lost

    def _no_rows(self) -> Rows:
        if self._limits.batched:
            return AlignedRows(self._forward, self._limits.max_rows, self._limits.max_cells)
        return SoloRows(self._forward, self._limits.max_cells)

    def _admit(self) -> None:
        """Start to read the next prompts, as many as there is room for.

        Whoever can be admitted together is read in the order of length, because a batch is
        padded to its longest prompt. Later arrivals wait for the whole cohort, so that a long
        prompt is not overtaken forever.
        """
        if not self._cohort:
            self._cohort = self._next_cohort()
        group: list[Sequence] = []
        while self._cohort and self._has_room([*group, self._cohort[0]]):
            group.append(self._cohort.popleft())
        if group:
            piece = self._limits.prefill_tokens if self._limits.batched else None
            self._prefill = Prefill(self._forward, group, piece)

    def _next_cohort(self) -> deque[Sequence]:
        free = self._limits.max_rows - len(self._decoding)
        oldest = [self._waiting.popleft() for _ in range(min(free, len(self._waiting)))]
        return deque(sorted(oldest, key=lambda sequence: sequence.length))

    def _has_room(self, group: list[Sequence]) -> bool:
        if len(group) > 1 and not self._limits.batched:
            return False
        if len(self._decoding) + len(group) > self._limits.max_rows:
            return False
        lengths = [sequence.length for sequence in group]
        short = len(group) == 1 or max(lengths) * len(group) <= self._limits.prefill_tokens
        alone = not self._decoding and len(group) == 1
        return short and (alone or self._rows.fits(lengths))

    def _join(self, prefill: Prefill, logits: Tensor) -> list[TokenEvent]:
        """Take the first tokens and let those who want more decode on."""
        events = _accept(logits, prefill.sequences)
        stay = [
            place
            for place, event in enumerate(events)
            if event.finish is None and not event.sequence.cancelled
        ]
        if stay:
            self._rows.join(prefill.cache, stay, [prefill.lengths[place] for place in stay])
            self._decoding += [prefill.sequences[place] for place in stay]
        return events

    def _send_back(self, place: int) -> None:
        """Make room: this sequence goes back to the queue's head and is read again later."""
        self._waiting.appendleft(self._decoding[place])
        self._drop([place])

    def _drop_cancelled(self) -> None:
        self._drop([place for place, one in enumerate(self._decoding) if one.cancelled])
        self._waiting = _wanted(self._waiting)
        self._cohort = _wanted(self._cohort)
        if self._prefill and all(one.cancelled for one in self._prefill.sequences):
            self._prefill = None

    def _drop(self, places: list[int]) -> None:
        for place in reversed(places):
            self._rows.drop(place)
            # The rows move their last one into the gap, and so do we.
            self._decoding[place] = self._decoding[-1]
            self._decoding.pop()


def _wanted(queue: deque[Sequence]) -> deque[Sequence]:
    if any(sequence.cancelled for sequence in queue):
        return deque(sequence for sequence in queue if not sequence.cancelled)
    return queue


def _accept(logits: Tensor, sequences: list[Sequence]) -> list[TokenEvent]:
    tokens, chances = choose(logits, sequences)
    return [
        sequence.accept(token, chance)
        for sequence, token, chance in zip(sequences, tokens, chances, strict=True)
    ]
