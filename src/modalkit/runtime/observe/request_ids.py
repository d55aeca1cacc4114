"""The id of a request: made where the client sends none, and known to whatever runs for it."""

from __future__ import annotations

import secrets
from contextvars import ContextVar
from itertools import count

__all__ = ["new_request_id", "request_id", "set_request_id"]

# Random for each process, then counted: as unique as random ids, at a tenth of their price.
_PROCESS = secrets.token_hex(8).encode()
_NUMBERS = count(secrets.randbits(32))
_CURRENT: ContextVar[bytes] = ContextVar("modalkit_request_id", default=b"")


def new_request_id() -> bytes:
    """Make an id of 32 hexadecimal digits."""
    return b"%b%016x" % (_PROCESS, next(_NUMBERS))


def set_request_id(given: bytes) -> None:
    """Let what runs from here on, for this request, know its id."""
    _CURRENT.set(given)


def request_id() -> str:
    """Return the id of the request that is being answered, for a log line or an error.

    Over HTTP it is the client's ``x-request-id``, or the one that was made in its place and comes
    back with the answer; in a ``.remote`` call Modal's id of the input. A batched method answers
    several requests at once and has the id of the first. ``""`` where nothing is being answered.
    """
    current = _CURRENT.get()
    if current:
        return current.decode("ascii")
    import modal  # noqa: PLC0415 - not every process that asks is Modal's

    return modal.current_input_id() or ""
