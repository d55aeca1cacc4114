"""The remote methods of a service with an engine, watched as a custom service's are."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

from .remote import take_trace

if TYPE_CHECKING:
    from .watch import Watch

__all__ = ["watched"]


def watched(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return an engine's remote method that takes a caller's trace, and is counted."""
    return _stream(method) if inspect.isasyncgenfunction(method) else _call(method)


def _call(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(method)
    async def call(self: Any, *arguments: object, **keywords: object) -> Any:
        watch: Watch = self._modalkit_engine.watch
        with take_trace(keywords, watch.tracing), watch.calling(method.__name__):
            return await method(self, *arguments, **keywords)

    return call


def _stream(
    method: Callable[..., AsyncGenerator[Any, None]],
) -> Callable[..., AsyncGenerator[Any, None]]:
    @functools.wraps(method)
    async def stream(
        self: Any, *arguments: object, **keywords: object
    ) -> AsyncGenerator[Any, None]:
        watch: Watch = self._modalkit_engine.watch
        with take_trace(keywords, watch.tracing), watch.calling(method.__name__):
            async for piece in method(self, *arguments, **keywords):
                yield piece

    return stream
