"""What a service asks of every GPU choice it names, as one value: all that sizes a service goes through it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ..declare.gpu import GPU
from .facts import ModelFacts
from .fit import Pick, Wishes, examine, largest_concurrency, largest_context, picks
from .memory import Load
from .serving import Serving
from .splits import Parallelism

__all__ = ["Demand"]


_UNLIMITED = 1 << 16


@dataclass(frozen=True, slots=True)
class Demand:
    """A model as it is loaded, what it must bear, and how its engine was told to use the GPUs.

    Attributes:
        model: In the number format and the quantisation that it is loaded in.
        load: Context, concurrency, the cache's number format, adapters, what guesses ahead.
        serving: The engine, and its shares of a card's memory.
        parallelism: How the model is spread over GPUs.
        uncounted: What is declared and has no place in the arithmetic, a sentence each.
    """

    model: ModelFacts
    load: Load
    serving: Serving
    parallelism: Parallelism = field(default_factory=Parallelism)
    uncounted: tuple[str, ...] = ()

    @property
    def most_at_once(self) -> int:
        """Requests that the engine decodes together at most, over all copies."""
        most = self.serving.max_requests
        return most * self.parallelism.data if most else _UNLIMITED

    def bearing(self, context: int, concurrency: int) -> Demand:
        """Return the same for another context and concurrency."""
        return replace(self, load=replace(self.load, context=context, concurrency=concurrency))

    def on(self, gpu: GPU, count: int) -> Pick:
        """Return how it sits on a GPU type and count."""
        return examine(self.model, self.load, self.serving, (gpu, count), split=self.parallelism)

    def picks(self, wishes: Wishes) -> list[Pick]:
        """Return how it sits on everything that is allowed, cheapest first."""
        return picks(self.model, self.load, self.serving, wishes, split=self.parallelism)

    def largest_context(self, pick: Pick) -> int:
        """Return the longest context that a choice holds at this concurrency."""
        return largest_context(self.model, self.load, pick.split, pick.gpu.total_gib, self.serving)

    def largest_concurrency(self, pick: Pick) -> int:
        """Return how many requests of this context a choice holds at once."""
        return largest_concurrency(
            self.model, self.load, pick.split, pick.gpu.total_gib, self.serving
        )
