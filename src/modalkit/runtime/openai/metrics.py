"""Counters and histograms in Prometheus' text format.

Written by hand: four kinds of numbers need no client library in the container.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

from .backend import Load

__all__ = ["Histogram", "Metrics"]

_FIRST_TOKEN_BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_BETWEEN_TOKENS_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_REQUEST_BOUNDS_S = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600)


class Histogram:
    """Counts of observations at or below each bound, in seconds."""

    def __init__(self, name: str, help_text: str, bounds_s: tuple[float, ...]) -> None:
        self._name, self._help, self._bounds = name, help_text, bounds_s
        self._counts = [0] * (len(bounds_s) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one observation."""
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    def lines(self) -> list[str]:
        """The exposition of this histogram."""
        lines = [f"# HELP {self._name} {self._help}", f"# TYPE {self._name} histogram"]
        total = 0
        for bound, count in zip((*self._bounds, "+Inf"), self._counts, strict=True):
            total += count
            lines.append(f'{self._name}_bucket{{le="{bound}"}} {total}')
        return [*lines, f"{self._name}_sum {self._sum:.6f}", f"{self._name}_count {total}"]


class Metrics:
    """What this process has done since it started. Used from the event loop only."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self.cancelled = 0
        self.first_token = Histogram(
            "modalkit_time_to_first_token_seconds",
            "From the request to its first token.",
            _FIRST_TOKEN_BOUNDS_S,
        )
        self.between_tokens = Histogram(
            "modalkit_inter_token_latency_seconds",
            "Between two tokens of one request.",
            _BETWEEN_TOKENS_BOUNDS_S,
        )
        self.duration = Histogram(
            "modalkit_request_duration_seconds",
            "From the request to the end of its answer.",
            _REQUEST_BOUNDS_S,
        )

    def expose(self, load: Load) -> str:
        """The whole page."""
        lines = _simple("requests_running", "gauge", "Answers being generated.", load.running)
        lines += _simple("requests_waiting", "gauge", "Answers waiting for a slot.", load.waiting)
        lines += _simple("prompt_tokens_total", "counter", "Prompt tokens.", self.prompt_tokens)
        lines += _simple(
            "completion_tokens_total", "counter", "Generated tokens.", self.completion_tokens
        )
        lines += _simple(
            "requests_cancelled_total", "counter", "Requests whose client left.", self.cancelled
        )
        lines += [
            "# HELP modalkit_requests_total Answered requests.",
            "# TYPE modalkit_requests_total counter",
        ]
        for (route, status), count in sorted(self.requests.items()):
            labels = f'route="{route}",status="{status}"'
            lines.append(f"modalkit_requests_total{{{labels}}} {count}")
        for histogram in (self.first_token, self.between_tokens, self.duration):
            lines += histogram.lines()
        return "\n".join(lines) + "\n"


def _simple(name: str, kind: str, help_text: str, value: int) -> list[str]:
    full = f"modalkit_{name}"
    return [f"# HELP {full} {help_text}", f"# TYPE {full} {kind}", f"{full} {value}"]
