"""Continuous batching: what a generator with ``batch=`` is given, and its requests one by one.

    @endpoint("/write", batch=Batch(max_size=8))
    def write(self, batch: LiveBatch[Prompt, str]) -> Iterator[None]:
        while True:
            for item in batch.joined:
                item.state = self.begin(item.request)
            for item, word in zip(batch, self.next_words([item.state for item in batch])):
                item.send(word)
                if word == "":
                    item.finish()
            yield                       # a step has ended: requests join and leave here

Nothing here knows of a container, so a unit test can step through a method by hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from ..errors import DeclarationError

__all__ = ["LiveBatch", "LiveItem"]

Req = TypeVar("Req")
Piece = TypeVar("Piece")


class LiveItem(Generic[Req, Piece]):
    """One request while it is in the batch.

    Attributes:
        request: What the caller sent.
        state: Whatever the method keeps for it between steps; None at first.
    """

    def __init__(self, request: Req) -> None:
        self.request = request
        self.state: object = None
        self._sent: list[Piece] = []
        self._error: Exception | None = None
        self._is_over = False

    @property
    def is_over(self) -> bool:
        """Whether it has finished, failed, or its caller has left."""
        return self._is_over

    def send(self, piece: Piece) -> None:
        """Give the caller a piece of the answer, when this step ends."""
        self._sent.append(piece)

    def finish(self) -> None:
        """End the answer with this step."""
        self._is_over = True

    def fail(self, error: Exception) -> None:
        """End it with an error, for this caller alone."""
        self._error, self._is_over = error, True

    def take(self) -> tuple[list[Piece], Exception | None]:
        """What was sent since the last step, and the error it ends with; for whoever runs the steps."""
        sent, self._sent = self._sent, []
        return sent, self._error


class LiveBatch(Generic[Req, Piece]):
    """The requests that are in the batch now; iterating gives them in the order they joined.

    Args:
        max_size: Most requests at a time.

    Attributes:
        joined: Those that are new in this step.
        left: Those that ended since the last step, by themselves or because their callers left, so
            that what was kept for them can go.
    """

    def __init__(self, max_size: int) -> None:
        self.max_size = max_size
        self.joined: tuple[LiveItem[Req, Piece], ...] = ()
        self.left: tuple[LiveItem[Req, Piece], ...] = ()
        self._items: list[LiveItem[Req, Piece]] = []

    def __iter__(self) -> Iterator[LiveItem[Req, Piece]]:
        return iter(tuple(self._items))

    def __len__(self) -> int:
        return len(self._items)

    def turn(self, *joining: LiveItem[Req, Piece]) -> None:
        """Begin a step: those that are over leave, these join; for whoever runs the steps.

        Raises:
            DeclarationError: They are more than fit.
        """
        self.left = tuple(item for item in self._items if item.is_over)
        self._items = [*(item for item in self._items if not item.is_over), *joining]
        self.joined = joining
        if len(self._items) > self.max_size:
            msg = f"LiveBatch({self.max_size}) got {len(self._items)} requests."
            raise DeclarationError(msg)
