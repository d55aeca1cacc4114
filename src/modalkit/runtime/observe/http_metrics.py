"""What is counted of every HTTP request."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from http import HTTPStatus
from typing import TYPE_CHECKING

from .registry import UNCOUNTED, Histogram, Number, Registry

if TYPE_CHECKING:
    from ..door.visit import Visit

__all__ = ["HTTPMetrics", "RouteNames"]

# From the small answer of a classifier to minutes of a language model's.
_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_MOST_NAMES = 100
_UNKNOWN = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED})
_CLIENT_LEFT = "499"  # nginx' number for a client that did not wait for an answer


class RouteNames:
    """What a path is called in metrics and traces: a scanner's paths must not fill the memory.

    Args:
        known: The routes of an engine; ``None`` learns those that are answered.
    """

    def __init__(self, known: AbstractSet[str] | None) -> None:
        self._known = set(known or ())
        self._learns = known is None

    def name(self, visit: Visit) -> str:
        """The route of a request that has ended."""
        path = visit.path
        if path in self._known:
            return path
        if path.startswith("/v1/models/"):
            return "/v1/models/{model}"
        unknown = visit.status in _UNKNOWN or (visit.is_socket and not visit.started)
        if unknown or not self._learns or len(self._known) >= _MOST_NAMES:
            return "other"
        self._known.add(path)
        return path


class _Series:
    """What one route's answers with one status are counted in.

    Attributes:
        took: Seconds of requests that have ended and are not counted yet: to append is all that a
            request waits for.
        first: Where first bytes are counted.
    """

    __slots__ = ("_requests", "_seconds", "first", "took")

    def __init__(self, requests: Number, seconds: Histogram, first: Histogram) -> None:
        self.took: list[float] = []
        self._requests, self._seconds, self.first = requests, seconds, first

    def settle(self) -> int:
        """Count those that have ended; return how many they were."""
        count = len(self.took)
        self._requests.value += count
        for seconds in self.took:
            self._seconds.observe(seconds)
        self.took.clear()
        return count


class HTTPMetrics:
    """Counts requests, and how long each took.

    Args:
        registry: Where the figures are shown.
        names: What paths are called.
    """

    def __init__(self, registry: Registry, names: RouteNames) -> None:
        self._names = names
        self._in_flight = registry.gauge("http_in_flight", "Requests being answered.")()
        self._requests = registry.counter(
            "http_requests_total", "Requests that have ended.", ("route", "status")
        )
        self._seconds = registry.histogram(
            "http_request_seconds",
            "From a request's arrival to the end of its answer.",
            _BOUNDS_S,
            ("route",),
        )
        self._first = registry.histogram(
            "http_first_byte_seconds",
            "From a request's arrival to the first byte of an answer that comes in pieces.",
            _BOUNDS_S,
            ("route",),
        )
        # By path and status, so that a request looks up one thing; no more than there are names.
        self._known: dict[tuple[str, int], _Series] = {}
        registry.before_page(self._settle)

    def arrived(self, _: Visit) -> None:
        """Count a request that has come."""
        self._in_flight.value += 1

    def left(self, visit: Visit) -> None:
        """Count a request that has ended."""
        series = self._known.get((visit.path, visit.status)) or self._series(visit)
        series.took.append(visit.took_s)
        if visit.in_pieces:
            series.first.observe(visit.first_s)
        if len(series.took) >= UNCOUNTED:
            self._settle()

    def _settle(self) -> None:
        self._in_flight.value -= sum(series.settle() for series in self._known.values())

    def _series(self, visit: Visit) -> _Series:
        route = self._names.name(visit)
        if (route, visit.status) not in self._known:
            status = str(visit.status) if visit.status else _CLIENT_LEFT
            self._known[route, visit.status] = _Series(
                self._requests(route, status), self._seconds(route), self._first(route)
            )
        return self._known[route, visit.status]
