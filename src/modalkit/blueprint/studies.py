"""Price and context worked out over ranges, for the curves of a report. Pure."""

from __future__ import annotations

import itertools

from ..declare.gpu import gpu_catalogue
from ..errors import DeclarationError
from ..fitting import load_of
from ..pricing.month import Traffic
from ..pricing.rates import Rates
from ..sizing.fit import largest_concurrency
from ..sizing.memory import Load
from .drawings import Curve
from .services import Assumptions, Known, examined, priced

__all__ = ["contexts", "prices"]

_LEAST_CONTEXT = 512
_USUAL_CONTEXT = 32_768
_REQUESTS = tuple(round(10 ** (power / 4)) for power in range(4, 25))  # 10 to a million a day


def contexts(known: Known) -> tuple[Curve, ...]:
    """Return how many requests of which context each GPU choice holds."""
    facts, gpu, engine = known.facts, known.plan.gpu, known.engine
    if facts is None or gpu is None or engine is None or not facts.cache:
        return ()
    cache_bytes = load_of(known.service, facts).cache_bytes
    most = facts.max_context or _USUAL_CONTEXT
    lengths = [_LEAST_CONTEXT * 2**power for power in range(32)]
    shown = [*itertools.takewhile(lambda length: length < most, lengths), most]
    curves = []
    for choice in gpu.choices:
        if choice.gpu not in gpu_catalogue():
            continue
        total = gpu_catalogue()[choice.gpu].total_gib
        split = examined(choice, facts, Load(most, 1, cache_bytes), engine).split
        points = [
            (length, largest_concurrency(facts, Load(length, 1, cache_bytes), split, total, engine))
            for length in shown
        ]
        curves.append(Curve(name=str(choice), points=tuple((x, y) for x, y in points if y)))
    return tuple(curve for curve in curves if curve.points)


def prices(known: Known, rates: Rates, assumed: Assumptions) -> Curve | None:
    """Return what a month costs by the requests of a day, from the fast to the slow end."""
    usual = assumed.traffic or Traffic(requests_per_day=0)
    fast: list[tuple[float, float]] = []
    slow: list[tuple[float, float]] = []
    for requests in _REQUESTS:
        traffic = usual.model_copy(update={"requests_per_day": float(requests)})
        try:
            price, _ = priced(known, rates, assumed.model_copy(update={"traffic": traffic}))
        except DeclarationError:
            break  # more containers than any account has
        if price.month is None or price.month_fast is None:
            return None
        if price.month.overloaded:
            break
        fast.append((requests, price.month_fast.total))
        slow.append((requests, price.month.total))
    return Curve(name="a month", points=tuple(fast), upper=tuple(slow)) if fast else None
