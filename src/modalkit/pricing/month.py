"""A month under a traffic: how long containers are awake, how often they start.

The traffic is Poisson. In every active hour the requests come in the first ``1 / burstiness`` of it, so
that the busiest minute has ``burstiness`` times the average and 1 is perfectly even. A request takes one of
a container's slots for the seconds it takes at full load, so that the number in flight is Poisson too
(an M/G/infinity queue). Requests are packed: container ``k`` is needed while more than ``(k - 1) * slots``
are in flight, and stays for its scaledown window after that. For the first container this is exact; for the
others crossings of their level are taken as independent, which ``tests/test_pricing.py`` holds against a
simulation of the events themselves. Modal's own scheduler may place requests less tightly.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import count, islice, zip_longest
from typing import Annotated, NamedTuple

from pydantic import Field

from .._values import Value, between
from ..declare.scaling import Scaling
from ..errors import DeclarationError

__all__ = ["DAYS_PER_MONTH", "HOURS_PER_MONTH", "Day", "Throughput", "Traffic", "day"]

DAYS_PER_MONTH = 365 / 12
HOURS_PER_MONTH = 24 * DAYS_PER_MONTH
_DAY_S = 86_400.0
_HOUR_S = 3600.0
_NEVER = 1e-12  # a container that is needed less often than this is left out
_RAREST = (
    1e-9  # requests a day; fewer are none, and their rate is no longer a number one can divide by
)
_MOST_CONTAINERS = 10_000
_STEPS = 12  # tried for the shortest stay, then halved so often
_HALVINGS = 8
_MANY = 500  # requests in flight above which a normal curve stands for Poisson's


class Traffic(Value):
    """What a service is asked for, as a user would estimate it.

    Args:
        requests_per_day: Requests in a day.
        tokens_in: Prompt tokens of a request. Default 500.
        tokens_out: Answer tokens of a request. Default 200.
        active_hours: Hours of the day in which they come. Default 24.
        burstiness: Busiest minute over the average one of the active hours; 1 is even. Default 3.

    Raises:
        DeclarationError: A number that cannot be.
    """

    requests_per_day: Annotated[float, between(0, 1e9, "requests")]
    tokens_in: Annotated[int, between(0, 10_000_000, "tokens")] = 500
    tokens_out: Annotated[int, between(0, 10_000_000, "tokens")] = 200
    active_hours: Annotated[float, between(0.1, 24, "hours")] = 24.0
    burstiness: Annotated[float, between(1, 1000)] = 3.0

    @property
    def tokens_per_month(self) -> float:
        """Prompt and answer tokens in a month."""
        return self.requests_per_day * (self.tokens_in + self.tokens_out) * DAYS_PER_MONTH

    def words(self) -> str:
        """Say it: ``"2,000 requests a day, 500 tokens in and 200 out"``."""
        asked = f"{self.requests_per_day:,.0f} requests a day"
        return f"{asked}, {self.tokens_in:,} tokens in and {self.tokens_out:,} out"


class Throughput(Value):
    """How fast one container answers.

    Attributes:
        slots: Requests it works on at once.
        tokens_per_s: Answer tokens over all of them.
        prompt_tokens_per_s: Prompt tokens it reads; 0 leaves reading out of the count.
        request_s: Seconds of one request where tokens do not say it; counts instead of them.
        cold_start_s: From nothing to ready.
        source: What it is from: an estimate, or the file of a measurement.
    """

    slots: Annotated[int, Field(ge=1)] = 1
    tokens_per_s: Annotated[float, Field(ge=0)] = 0.0
    prompt_tokens_per_s: Annotated[float, Field(ge=0)] = 0.0
    request_s: Annotated[float | None, Field(gt=0)] = None
    cold_start_s: Annotated[float, Field(ge=0)] = 60.0
    source: str = "stated"

    def seconds(self, traffic: Traffic) -> float:
        """Return how long one request takes a slot while the container is full."""
        if self.request_s is not None:
            return self.request_s
        reading = traffic.tokens_in / self.prompt_tokens_per_s if self.prompt_tokens_per_s else 0.0
        writing = traffic.tokens_out / self.tokens_per_s if self.tokens_per_s else 0.0
        return (reading + writing) * self.slots


class Day(NamedTuple):
    """An average day, in seconds of containers.

    Attributes:
        busy_s: With at least one request.
        idle_s: Kept waiting: ``min_containers``, buffers, scaledown windows.
        cold_s: Starting.
        cold_starts: How often one starts.
        overloaded: Whether more is asked for than ``max_containers`` can answer.
    """

    busy_s: float
    idle_s: float
    cold_s: float
    cold_starts: float
    overloaded: bool

    @property
    def total_s(self) -> float:
        """Everything that is billed."""
        return self.busy_s + self.idle_s + self.cold_s


class _Cycle(NamedTuple):
    """The traffic's period: requests at ``rate`` for ``on_s``, then silence for ``off_s``."""

    rate: float
    on_s: float
    off_s: float
    per_day: float


class _Level(NamedTuple):
    """One container of the pack.

    Attributes:
        unneeded: Share of a burst in which it is not needed.
        crossings: How often a second it becomes needed, while it is not.
        drain_s: How long after the burst it is still needed.
        at_first: Chance that a burst which finds nothing awake needs it before anything is ready.
        at_first_s: How long it then stays at least.
    """

    unneeded: float
    crossings: float
    drain_s: float
    at_first: float = 0.0
    at_first_s: float = 0.0


def day(scaling: Scaling, traffic: Traffic, throughput: Throughput) -> Day:
    """Work out an average day of one service.

    Args:
        scaling: Its containers and scaledown window.
        traffic: What it is asked for.
        throughput: What one container can do.

    Raises:
        DeclarationError: Traffic for more than 10,000 containers at once.
    """
    seconds = throughput.seconds(traffic)
    kept = scaling.min_containers
    if traffic.requests_per_day < _RAREST or not seconds:
        return Day(0.0, kept * _DAY_S, 0.0, 0.0, overloaded=False)
    slots = 1 if scaling.single_use else throughput.slots
    cycle, overloaded = _cycle(scaling, traffic, seconds / slots)
    if scaling.single_use:
        return _one_each(scaling, traffic, seconds, throughput.cold_start_s, overloaded)
    levels = _pack(cycle, seconds, slots, throughput.cold_start_s, scaling.scaledown_window)
    buffer = scaling.buffer_containers or 0
    most = scaling.max_containers or max(kept, len(levels) + buffer)
    work_s = traffic.requests_per_day * seconds / slots
    billed = starts = 0.0
    for number in range(1, most + 1):
        if number <= kept:
            billed += _DAY_S
        elif number <= len(levels) + buffer:
            level = levels[max(1, number - buffer) - 1]
            billed_s, often = _billed(level, cycle, scaling.scaledown_window)
            billed += billed_s * cycle.per_day
            starts += often * cycle.per_day
    busy = min(work_s, billed)
    cold = min(starts * throughput.cold_start_s, billed - busy)
    return Day(busy, billed - busy - cold, cold, starts, overloaded)


def _one_each(
    scaling: Scaling, traffic: Traffic, seconds: float, cold_start_s: float, overloaded: bool
) -> Day:
    """A fresh container for every request: nothing waits but what ``min_containers`` keeps."""
    requests = traffic.requests_per_day
    return Day(
        requests * seconds,
        scaling.min_containers * _DAY_S,
        requests * cold_start_s,
        requests,
        overloaded,
    )


def _cycle(scaling: Scaling, traffic: Traffic, container_s: float) -> tuple[_Cycle, bool]:
    """Return the traffic's period, stretched where ``max_containers`` cannot keep up with a burst."""
    active_s = traffic.active_hours * _HOUR_S
    rate = traffic.requests_per_day * traffic.burstiness / active_s
    if scaling.max_containers is not None:
        rate = min(rate, scaling.max_containers / container_s)
    on_s = traffic.requests_per_day / rate
    if on_s < active_s * (1 - 1e-9):
        hourly_s = on_s / traffic.active_hours
        return _Cycle(rate, hourly_s, _HOUR_S - hourly_s, traffic.active_hours), False
    within = min(on_s, _DAY_S)
    return _Cycle(rate, within, _DAY_S - within, 1.0), on_s > _DAY_S * (1 + 1e-9)


def _pack(
    cycle: _Cycle, seconds: float, slots: int, cold_start_s: float, window_s: float
) -> list[_Level]:
    """Return the containers of the pack in order, as far as they are ever needed.

    A request that finds its container starting waits for it and keeps its slot meanwhile, so that starts
    need further containers; how long a request stays on average is the fixed point of that.
    """
    stay_s = _stay(cycle.rate, seconds, slots, cold_start_s, window_s)
    levels = list(_levels(cycle.rate, stay_s, slots))
    if cycle.off_s <= window_s + 1e-6:  # something is still awake when the next burst comes
        return levels
    first_s = min(cycle.on_s, cold_start_s + seconds)
    first = list(_levels(cycle.rate, first_s, slots))
    none = _Level(1.0, 0.0, 0.0)
    return [
        usual._replace(at_first=1 - rush.unneeded, at_first_s=cold_start_s + seconds + window_s)
        for usual, rush in zip_longest(levels, first, fillvalue=none)
    ]


def _stay(rate: float, seconds: float, slots: int, cold_start_s: float, window_s: float) -> float:
    """Return the shortest stay of a request that agrees with the cold starts it leads to."""
    waiters = 1 + min(slots - 1, rate * cold_start_s) / 2

    def is_too_short(stay_s: float) -> bool:
        starts = sum(
            level.crossings * level.unneeded * math.exp(-level.crossings * window_s)
            for level in _levels(rate, stay_s, slots)
        )
        return seconds + cold_start_s * min(1.0, starts * waiters / rate) > stay_s

    tried = (seconds + cold_start_s * (step / _STEPS) ** 2 for step in range(1, _STEPS + 1))
    low = seconds
    for high in tried:
        if not is_too_short(high):
            break
        low = high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if is_too_short(middle) else (low, middle)
    return high


def _levels(rate: float, seconds: float, slots: int) -> Iterator[_Level]:
    flying = rate * seconds
    if flying / slots > _MOST_CONTAINERS:
        msg = (
            f"Traffic keeps about {flying / slots:,.0f} containers busy at once, more than "
            f"{_MOST_CONTAINERS:,}. Check its requests and tokens, or set Scaling(max_containers=...)."
        )
        raise DeclarationError(msg)
    if flying <= _MANY:
        chances: Iterator[tuple[float, float]] = islice(_counted(flying), 0, None, slots)
    else:
        chances = (_curved(flying, filled) for filled in count(0, slots))
    for filled, (exactly, at_most) in zip(count(0, slots), chances, strict=False):
        if 1 - at_most < _NEVER and filled > flying:
            return
        share = exactly / at_most if at_most > 0 else 1.0
        yield _Level(at_most, rate * share, seconds * max(0.0, 1 - filled / flying))


def _counted(mean: float) -> Iterator[tuple[float, float]]:
    """Yield Poisson's chances of exactly and of at most 0, 1, 2 and so on."""
    exactly = at_most = math.exp(-mean)
    for number in count(1):
        yield exactly, min(1.0, at_most)
        exactly *= mean / number
        at_most += exactly


def _curved(mean: float, number: int) -> tuple[float, float]:
    """Return the same by a normal curve, which stands for Poisson's where many are in flight."""
    spread = math.sqrt(mean)
    distance = (number - mean) / spread
    exactly = math.exp(-(distance**2) / 2) / (spread * math.sqrt(2 * math.pi))
    return exactly, 0.5 * math.erfc(-(distance + 0.5 / spread) / math.sqrt(2))


def _billed(level: _Level, cycle: _Cycle, window_s: float) -> tuple[float, float]:
    """Return for how long a container is there in a cycle, and how often it starts.

    It is asleep if nothing needed it in the window before: with chance ``unneeded * exp(-crossings * x)``,
    where ``x`` is the part of the window that reaches into a burst.
    """
    carried = max(0.0, window_s - cycle.off_s)
    asleep_s = level.unneeded * _decay(level.crossings, carried, window_s, cycle.on_s)
    awake_s = cycle.on_s - asleep_s + _tail(level, cycle, window_s)
    at_first_s = level.at_first * min(level.at_first_s, cycle.on_s + cycle.off_s)
    at_first = max(level.at_first, 1 - level.unneeded) if level.at_first_s else 0.0
    later = 1 - level.at_first * min(1.0, level.at_first_s / cycle.on_s)
    return max(awake_s, at_first_s), at_first + later * level.crossings * asleep_s


def _decay(crossings: float, begin: float, window_s: float, length_s: float) -> float:
    """Integrate ``exp(-crossings * x)`` over a burst: ``x`` is ``begin``, then the time, then the window."""
    flat = min(begin, length_s)
    risen = min(window_s, length_s)
    rising = _between(crossings, flat, risen)
    rest = max(0.0, length_s - risen)
    return flat * math.exp(-crossings * begin) + rising + rest * math.exp(-crossings * window_s)


def _tail(level: _Level, cycle: _Cycle, window_s: float) -> float:
    """Return how long a container stays after a burst, as an expectation."""
    reach = window_s + level.drain_s
    silence = min(reach, cycle.off_s)
    # How much of the burst the window still sees: all of it at first, then less and less.
    whole = min(max(0.0, reach - cycle.on_s), silence)
    asleep = whole * math.exp(-level.crossings * cycle.on_s)
    asleep += _between(level.crossings, reach - silence, reach - whole)
    return silence - asleep


def _between(crossings: float, low: float, high: float) -> float:
    """Integrate ``exp(-crossings * x)`` from low to high."""
    if high <= low:
        return 0.0
    if crossings * (high - low) < 1e-9:  # noqa: PLR2004 - where the quotient loses its digits
        return (high - low) * math.exp(-crossings * low)
    return (math.exp(-crossings * low) - math.exp(-crossings * high)) / crossings
