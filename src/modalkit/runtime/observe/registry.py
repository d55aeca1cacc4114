"""Counters, gauges and histograms in Prometheus' text format.

Written by hand, because it stands in the path of every request: a count is an addition to a number
that is already at hand, or less: what ended is appended to a list and counted when someone asks. ``bench/observability_overhead.py`` has it beside ``prometheus_client``.
Everything here is used from one event loop, so nothing locks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, Literal, Protocol, TypeVar

__all__ = ["CONTENT_TYPE", "UNCOUNTED", "Family", "Histogram", "Number", "Registry"]

# So many observations may lie about until they are counted, at the latest before the next page.
UNCOUNTED = 1024
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _Series(Protocol):
    def lines(self, name: str, labels: str) -> list[str]: ...


S = TypeVar("S", bound=_Series)


class Number:
    """A counter or a gauge: add to ``value``."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0

    def lines(self, name: str, labels: str) -> list[str]:
        """Its line of the page."""
        return [f"{name}{_braced(labels)} {_written(self.value)}"]


class Histogram:
    """Counts of observations at or below each bound."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count one observation."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def lines(self, name: str, labels: str) -> list[str]:
        """Its lines of the page."""
        lines, total, before = [], 0, f"{labels}," if labels else ""
        for bound, count in zip((*map(_written, self._bounds), "+Inf"), self._counts, strict=True):
            total += count
            lines.append(f'{name}_bucket{{{before}le="{bound}"}} {total}')
        braced = _braced(labels)
        return [*lines, f"{name}_sum{braced} {self._sum:.9g}", f"{name}_count{braced} {total}"]


class Family(Generic[S]):
    """The series of one metric, one for each combination of its labels' values.

    Args:
        name: The metric's name.
        kind: Prometheus' word for it.
        help_text: What it counts, on one line.
        labels: Names of its labels.
        make: Makes a series.
    """

    def __init__(
        self,
        name: str,
        kind: Literal["counter", "gauge", "histogram"],
        help_text: str,
        labels: tuple[str, ...],
        make: Callable[[], S],
    ) -> None:
        self.name, self.labels = name, labels
        self._head = [f"# HELP {name} {help_text}", f"# TYPE {name} {kind}"]
        self._make = make
        self._series: dict[tuple[str, ...], S] = {}

    def __call__(self, *values: str) -> S:
        """The series with these values of the labels; it is made when it is first asked for."""
        series = self._series.get(values)
        if series is None:
            series = self._series[values] = self._make()
        return series

    def lines(self, common: Mapping[str, str]) -> list[str]:
        """Its part of the page; nothing of a metric that has no series."""
        lines = []
        for values, series in sorted(self._series.items(), key=lambda item: item[0]):
            pairs = [*common.items(), *zip(self.labels, values, strict=True)]
            labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs)
            lines += series.lines(self.name, labels)
        return [*self._head, *lines] if lines else []


class Registry:
    """The metrics of one process.

    Args:
        prefix: Stands before every name.
        common: Labels of every series.
    """

    def __init__(self, prefix: str, common: Mapping[str, str] | None = None) -> None:
        self._prefix = prefix
        self._common = dict(common or {})
        self._families: list[Family[Number] | Family[Histogram]] = []
        self._refreshers: list[Callable[[], None]] = []

    def counter(self, name: str, help_text: str, labels: Iterable[str] = ()) -> Family[Number]:
        """Add a metric that only grows."""
        return self._number(name, "counter", help_text, labels)

    def gauge(self, name: str, help_text: str, labels: Iterable[str] = ()) -> Family[Number]:
        """Add a metric that goes up and down."""
        return self._number(name, "gauge", help_text, labels)

    def histogram(
        self, name: str, help_text: str, bounds: tuple[float, ...], labels: Iterable[str] = ()
    ) -> Family[Histogram]:
        """Add a metric that counts observations at or below each of the bounds."""
        full = self._prefix + name
        family = Family(full, "histogram", help_text, tuple(labels), lambda: Histogram(bounds))
        self._families.append(family)
        return family

    def before_page(self, refresh: Callable[[], None]) -> None:
        """Call a function before each page, which brings its metrics up to date."""
        self._refreshers.append(refresh)

    def page(self) -> str:
        """Every metric, in Prometheus' text format."""
        for refresh in self._refreshers:
            refresh()
        lines = [line for family in self._families for line in family.lines(self._common)]
        return "".join(f"{line}\n" for line in lines)

    def _number(
        self, name: str, kind: Literal["counter", "gauge"], help_text: str, labels: Iterable[str]
    ) -> Family[Number]:
        family = Family(self._prefix + name, kind, help_text, tuple(labels), Number)
        self._families.append(family)
        return family


def _braced(labels: str) -> str:
    return f"{{{labels}}}" if labels else ""


def _written(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
