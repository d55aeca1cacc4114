"""A service's own ``@modal.method()``, counted and a part of its traces, where it is written ``@traced``.

Modal has no public way to ask what a class body's methods are, so none is wrapped unasked.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .tracing import Tracing
    from .watch import Watch

__all__ = ["watched_method"]

_Method = Callable[..., Any]
_TakeTrace = Callable[[dict[str, object], "Tracing | None"], AbstractContextManager[None]]


def watched_method(method: _Method, take_trace: _TakeTrace) -> _Method:
    """Return a method, of the same kind, each call of which is counted and a span of its caller's trace.

    Args:
        method: A method of a service: plain, async or a generator.
        take_trace: Takes a caller's trace off the keywords of a call.
    """
    name = method.__name__

    @contextmanager
    def calling(service: object, keywords: dict[str, object]) -> Iterator[None]:
        watch = _watch_of(service)
        with take_trace(keywords, watch.tracing if watch else None):
            if watch is None:
                yield
                return
            with watch.calling(name):
                yield

    return functools.wraps(method)(_of_the_same_kind(method, calling))


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


def _watch_of(service: object) -> Watch | None:
    """What watches the container that an instance lives in; None outside of one."""
    host = getattr(service, "_modalkit_custom", None) or getattr(service, "_modalkit_engine", None)
    watch: Watch | None = host.watch if host is not None else None
    return watch
