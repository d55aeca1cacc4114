"""What a service asks of every GPU choice it names, as one value: all that sizes a service goes through it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ..declare.gpu import GPU
from .facts import GIB, ModelFacts
from .fit import Pick, Wishes, examine, largest_concurrency, largest_context, picks
from .memory import Load, weights_per_gpu
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
        read_as: The model as the GPUs hold it before it is quantised, where the engine reads all of it
            first; None where no more than a layer is ever held so.
        unsped: What the speed leaves out, a sentence each.
    """

    model: ModelFacts
    load: Load
    serving: Serving
    parallelism: Parallelism = field(default_factory=Parallelism)
    uncounted: tuple[str, ...] = ()
    read_as: ModelFacts | None = None
    unsped: tuple[str, ...] = ()

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
        found = examine(self.model, self.load, self.serving, (gpu, count), split=self.parallelism)
        return self._while_loading(found)

    def picks(self, wishes: Wishes) -> list[Pick]:
        """Return how it sits on everything that is allowed, cheapest first."""
        found = picks(self.model, self.load, self.serving, wishes, split=self.parallelism)
        return [self._while_loading(one) for one in found]

    def _while_loading(self, pick: Pick) -> Pick:
        """Say where the weights do not fit before they are quantised, though they do after."""
        short = pick.problem and pick.memory_fraction is None
        if self.read_as is None or short:
            return pick
        engine = self.serving.engine
        missing = weights_per_gpu(self.read_as, pick.split, engine) - pick.breakdown.total_bytes
        if missing <= 0:
            return pick
        problem = (
            f"short of {missing / GIB:.1f} GiB per GPU while it loads: SGLang reads all weights as they are "
            f"before it makes {self.model.quantization} of them; files that are quantised need no such room"
        )
        return replace(pick, problem=problem, memory_fraction=None)

    def largest_context(self, pick: Pick) -> int:
        """Return the longest context that a choice holds at this concurrency."""
        return largest_context(self.model, self.load, pick.split, pick.gpu.total_gib, self.serving)

    def largest_concurrency(self, pick: Pick) -> int:
        """Return how many requests of this context a choice holds at once."""
        return largest_concurrency(
            self.model, self.load, pick.split, pick.gpu.total_gib, self.serving
        )
