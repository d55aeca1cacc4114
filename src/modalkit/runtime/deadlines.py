"""The deadline that a request brings: its answer is waited for so long, and what works on it is then cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextvars import ContextVar
from typing import Any

from ..errors import DeadlineError

__all__ = ["cause", "close_pieces", "pieces_within", "within"]

_END = object()
_limit: ContextVar[asyncio.Timeout | None] = ContextVar("_limit", default=None)


async def within(name: str, answer: Awaitable[Any], deadline_ms: float) -> Any:
    """Wait for an answer as long as there is time.

    Args:
        name: The method's name, for the message.
        answer: What is waited for.
        deadline_ms: How long.

    Raises:
        DeadlineError: It did not come in time, and is cancelled.
    """
    try:
        async with asyncio.timeout(deadline_ms / 1000) as limit:
            token = _limit.set(limit)
            try:
                return await answer
            finally:
                _limit.reset(token)
    except TimeoutError:
        if limit.expired():
            raise DeadlineError(name, deadline_ms) from None
        raise


async def pieces_within(
    name: str, pieces: AsyncIterator[Any], deadline_ms: float
) -> AsyncIterator[Any]:
    """Yield the same pieces, as long as there is time for them.

    Raises:
        DeadlineError: The last did not come in time.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + deadline_ms / 1000
    try:
        while True:
            left_ms = 1000 * (until - loop.time())
            piece = await within(name, anext(pieces, _END), left_ms)
            if piece is _END:
                return
            yield piece
    except DeadlineError:
        raise DeadlineError(name, deadline_ms) from None
    finally:
        await close_pieces(pieces)


async def close_pieces(pieces: AsyncIterator[Any]) -> None:
    """End a generator early, so that what it holds is let go now."""
    close = getattr(pieces, "aclose", None)
    if close is not None:
        await close()


def cause(error: BaseException) -> type[BaseException]:
    """Return what ended a call, for those that only see it cancelled: its caller, or its deadline."""
    limit = _limit.get()
    is_late = isinstance(error, asyncio.CancelledError) and limit is not None and limit.expired()
    return DeadlineError if is_late else type(error)
