"""What is counted of every HTTP request."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from http import HTTPStatus
from typing import TYPE_CHECKING

from .registry import Registry

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
        if not self._learns or visit.status in _UNKNOWN or len(self._known) >= _MOST_NAMES:
            return "other"
        self._known.add(path)
        return path


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
            "From a request's arrival to the first byte of its answer.",
            _BOUNDS_S,
            ("route",),
        )

    def arrived(self, visit: Visit) -> None:
        """Count a request that has come."""
        if not visit.is_probe:
            self._in_flight.value += 1

    def left(self, visit: Visit) -> None:
        """Count a request that has ended."""
        if visit.is_probe:
            return
        self._in_flight.value -= 1
        route = self._names.name(visit)
        self._requests(route, str(visit.status) if visit.status else _CLIENT_LEFT).value += 1
        self._seconds(route).observe(visit.took_s)
        self._first(route).observe(visit.first_s)
