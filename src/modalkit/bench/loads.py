"""How an endpoint is loaded: so many requests at once, or so many a second whether it keeps up or not."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import model_validator

from .._values import Value, between

__all__ = ["Load", "Stage", "poisson"]


class Load(Value):
    """One load; exactly one of the two is given.

    Args:
        concurrency: Closed loop: so many clients, each sends its next request when it has its answer.
        rate: Open loop: requests a second in a Poisson process, sent when they are due.

    Examples:
        >>> Load(concurrency=8).label, Load(rate=2.5).label
        ('c8', 'r2.5')
    """

    concurrency: Annotated[int | None, between(1, 100_000, "clients")] = None
    rate: Annotated[float | None, between(0.001, 1_000_000, "requests a second")] = None

    @model_validator(mode="after")
    def _one(self) -> Load:
        if (self.concurrency is None) == (self.rate is None):
            msg = "must have a concurrency or a rate"
            raise ValueError(msg)
        return self

    @property
    def label(self) -> str:
        """What tables and ``--fail-if`` call it: ``c8``, ``r2.5``."""
        return f"c{self.concurrency}" if self.rate is None else f"r{self.rate:g}"

    @property
    def kind(self) -> Literal["closed", "open"]:
        """Which loop it is."""
        return "closed" if self.rate is None else "open"


class Stage(Value):
    """A load and how long it is kept up.

    Args:
        load: The load.
        duration_s: Seconds that are measured; requests sent in them count, however late their answer.
        requests: Requests that are measured, instead of a time.
        warm_up_s: Seconds before that, in the same load, that do not count. They go on until every
            client has had an answer.
    """

    load: Load
    duration_s: Annotated[float | None, between(0.1, 86_400, "seconds")] = None
    requests: Annotated[int | None, between(1, 100_000_000, "requests")] = None
    warm_up_s: Annotated[float, between(0, 3600, "seconds")] = 0.0


def poisson(rate: float, chance: random.Random) -> Iterator[float]:
    """Yield the seconds, from the start, at which the requests of a Poisson process are due.

    Args:
        rate: Requests a second, on average.
        chance: Where randomness comes from; the same seed gives the same times.
    """
    at = 0.0
    while True:
        at += chance.expovariate(rate)
        yield at
