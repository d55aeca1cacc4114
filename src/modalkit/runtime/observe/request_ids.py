"""The id of a request: made where the client sends none, and known to whatever runs for it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextvars import ContextVar
from itertools import count

__all__ = ["new_request_id", "request_id", "set_request_id"]

_CURRENT: ContextVar[bytes] = ContextVar("modalkit_request_id", default=b"")

# Both in C, for they are in the path of every request. Random for each process, then counted: as
# unique as random ids, at a tenth of their price.
new_request_id: Callable[[], bytes] = map(
    b"%x".__mod__, count(secrets.randbits(128) | 1 << 127)
).__next__
set_request_id: Callable[[bytes], object] = _CURRENT.set


def request_id() -> str:
    """Return the id of the request that is being answered, for a log line or an error.

    Over HTTP it is the client's ``x-request-id``, or the one that was made in its place and comes
    back with the answer; in a ``.remote`` call Modal's id of the input. ``""`` where nothing is being
    answered. A batched method answers several requests at once: what it is told there is no one's.
    """
    current = _CURRENT.get()
    if current:
        return current.decode("ascii")
    import modal  # noqa: PLC0415 - not every process that asks is Modal's

    return modal.current_input_id() or ""
