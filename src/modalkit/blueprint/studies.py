"""Price and context worked out over ranges, for the curves of a report. Pure."""

from __future__ import annotations

import itertools

from ..errors import DeclarationError
from ..pricing.month import Traffic
from ..pricing.rates import Rates
from .drawings import Curve
from .known import Assumptions, Known
from .memory import examined
from .services import priced

__all__ = ["contexts", "prices"]

_LEAST_CONTEXT = 512
_USUAL_CONTEXT = 32_768
_REQUESTS = tuple(round(10 ** (power / 4)) for power in range(4, 25))  # 10 to a million a day


def contexts(known: Known) -> tuple[Curve, ...]:
    """Return how many requests of which context each GPU choice holds."""
    demand, gpu = known.demand, known.plan.gpu
    if demand is None or gpu is None or not demand.model.cache:
        return ()
    most = demand.model.max_context or max(_USUAL_CONTEXT, demand.load.context)
    lengths = [_LEAST_CONTEXT * 2**power for power in range(32)]
    shown = [*itertools.takewhile(lambda length: length < most, lengths), most]
    curves = []
    for choice in gpu.choices:
        pick = examined(choice, demand)
        if pick is None:
            continue
        points = [(length, demand.bearing(length, 1).largest_concurrency(pick)) for length in shown]
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
