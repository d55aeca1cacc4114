"""Stop strings in a stream of text."""

from __future__ import annotations

__all__ = ["StopStrings"]


class StopStrings:
    """Passes text on until a stop string appears, however it was cut into pieces.

    Text that could be the beginning of a stop string is held back until it is decided, so no
    part of one ever leaves.
    """

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._stops = stops
        self._held = ""
        self.found = False

    def feed(self, text: str) -> str:
        """The text that may leave now; after `found` turns true, nothing more leaves."""
        if not self._stops:
            return text
        if self.found:
            return ""
        pending = self._held + text
        hits = [place for stop in self._stops if (place := pending.find(stop)) >= 0]
        if hits:
            self.found, self._held = True, ""
            return pending[: min(hits)]
        keep = max(_overlap(pending, stop) for stop in self._stops)
        self._held = pending[len(pending) - keep :]
        return pending[: len(pending) - keep]

    def flush(self) -> str:
        """What was held back, when the text has ended without a stop string."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """The length of the longest end of ``text`` that begins ``stop``."""
    for length in range(min(len(stop) - 1, len(text)), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
