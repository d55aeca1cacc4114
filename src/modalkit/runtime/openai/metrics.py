"""What a server of the OpenAI API counts."""

from __future__ import annotations

from ..observe.registry import Registry
from .backend import Load

__all__ = ["Metrics"]

_FIRST_TOKEN_BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_BETWEEN_TOKENS_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_REQUEST_BOUNDS_S = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
    """What this process has done since it started. Used from the event loop only."""

    def __init__(self) -> None:
        ours = self._registry = Registry("modalkit_")
        self._running = ours.gauge("requests_running", "Answers being generated.")()
        self._waiting = ours.gauge("requests_waiting", "Answers waiting for a slot.")()
        self.prompt_tokens = ours.counter("prompt_tokens_total", "Prompt tokens.")()
        self.completion_tokens = ours.counter("completion_tokens_total", "Generated tokens.")()
        self.cancelled = ours.counter("requests_cancelled_total", "Requests whose client left.")()
        self.requests = ours.counter("requests_total", "Answered requests.", ("route", "status"))
        self.first_token = ours.histogram(
            "time_to_first_token_seconds",
            "From the request to its first token.",
            _FIRST_TOKEN_BOUNDS_S,
        )()
        self.between_tokens = ours.histogram(
            "inter_token_latency_seconds",
            "Between two tokens of one request.",
            _BETWEEN_TOKENS_BOUNDS_S,
        )()
        self.duration = ours.histogram(
            "request_duration_seconds",
            "From the request to the end of its answer.",
            _REQUEST_BOUNDS_S,
        )()

    def expose(self, load: Load) -> str:
        """The whole page."""
        self._running.value, self._waiting.value = load.running, load.waiting
        return self._registry.page()
