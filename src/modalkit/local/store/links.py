"""Links that nobody can guess, good for a while."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Links"]

Target = TypeVar("Target")

_LASTING_S = 3600.0


class Links(Generic[Target]):
    """What each link stands for, for an hour after it was made.

    Args:
        clock: Tells the time in seconds; it never goes back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # Oldest first, so the expired ones are found without a look at the others.
        self._targets: OrderedDict[str, tuple[float, Target]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._targets)

    def make(self, target: Target) -> str:
        """Return a new link's token."""
        self._drop_expired()
        token = secrets.token_urlsafe(16)
        self._targets[token] = (self._clock() + _LASTING_S, target)
        return token

    def get(self, token: str) -> Target | None:
        """Return what a link stands for; None if it has expired or never was."""
        self._drop_expired()
        known = self._targets.get(token)
        return None if known is None else known[1]

    def take(self, token: str) -> Target | None:
        """Return what a link stands for, as `get`, and let nobody use it again."""
        target = self.get(token)
        self._targets.pop(token, None)
        return target

    def _drop_expired(self) -> None:
        now = self._clock()
        while self._targets and next(iter(self._targets.values()))[0] <= now:
            self._targets.popitem(last=False)
