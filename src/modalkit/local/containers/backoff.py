"""How long to leave a function alone whose containers do not start."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LONGEST_PAUSE_S", "Backoff"]

LONGEST_PAUSE_S = 60.0


@dataclass
class Backoff:
    """Pauses after starts that failed in a row: 2 s, 4 s, 8 s and so on, up to a minute.

    Times are those of one clock that only goes forward.

    Attributes:
        failures: How many there were in a row.
    """

    failures: int = 0
    _until: float = 0.0

    def failed(self, now: float) -> float:
        """A start failed; return the seconds until the next one may be made."""
        self.failures += 1
        pause = min(2.0 ** min(self.failures, 16), LONGEST_PAUSE_S)
        self._until = now + pause
        return pause

    def forget(self) -> None:
        """A start worked, or the next one is of something new."""
        self.failures, self._until = 0, 0.0

    def holds(self, now: float) -> bool:
        """Return whether it is too early for another start."""
        return now < self._until
