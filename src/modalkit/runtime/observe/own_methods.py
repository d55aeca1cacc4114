"""A service's own ``@modal.method()`` as a part of its traces, where it is written ``@traced``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .tracing import Tracing

__all__ = ["with_span"]

_Method = Callable[..., Any]
_TakeTrace = Callable[[dict[str, object], "Tracing | None"], AbstractContextManager[None]]


def with_span(method: _Method, take_trace: _TakeTrace) -> _Method:
    """Return a method, of the same kind, each call of which is a span of its caller's trace.

    Args:
        method: A method of a service: plain, async or a generator.
        take_trace: Takes a caller's trace off the keywords of a call.
    """
    name = method.__qualname__.rpartition("<locals>.")[2]

    @contextmanager
    def calling(service: object, keywords: dict[str, object]) -> Iterator[None]:
        tracing = _tracing_of(service)
        with take_trace(keywords, tracing):
            if tracing is None:
                yield
                return
            with tracing.span(name):
                yield

    wrapped = _of_the_same_kind(method, calling)
    return functools.wraps(method)(wrapped)


def _of_the_same_kind(method: _Method, calling: Callable[..., Any]) -> _Method:
    def plain(self: object, *arguments: object, **keywords: object) -> object:
        with calling(self, keywords):
            return method(self, *arguments, **keywords)

    async def later(self: object, *arguments: object, **keywords: object) -> object:
        with calling(self, keywords):
            return await method(self, *arguments, **keywords)

    def stream(
        self: object, *arguments: object, **keywords: object
    ) -> Generator[object, None, None]:
        with calling(self, keywords):
            yield from method(self, *arguments, **keywords)

    async def stream_later(
        self: object, *arguments: object, **keywords: object
    ) -> AsyncGenerator[object, None]:
        with calling(self, keywords):
            async for piece in method(self, *arguments, **keywords):
                yield piece

    if inspect.isasyncgenfunction(method):
        return stream_later
    if inspect.isgeneratorfunction(method):
        return stream
    return later if inspect.iscoroutinefunction(method) else plain


def _tracing_of(service: object) -> Tracing | None:
    """What makes the spans of the container that an instance lives in; None outside of one."""
    host = getattr(service, "_modalkit_custom", None) or getattr(service, "_modalkit_engine", None)
    tracing: Tracing | None = host.watch.tracing if host is not None else None
    return tracing
