"""How the methods of a service are called in its container: which thread, and how many at once.

A model is rarely safe to use from two threads, and PyTorch keeps settings and compiled graphs per
thread. So the methods that are not async, `load` included, share one thread and take turns there.
Async methods run on the event loop, and so does the gathering of batches: both go on meanwhile.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager
from functools import partial
from types import MethodType
from typing import Any

from ..declare.routes import Route
from .batching import Batcher, BatchObserver, LiveBatcher, Steps
from .model_thread import ModelThread, ending_in_an_answer
from .observe.calls import MethodWatch

__all__ = ["Call", "bind"]

# Awaitable for an answer, an async iterator for a stream.
Call = Callable[..., Any]


def bind(
    instance: object,
    name: str,
    route: Route[..., object],
    thread: ModelThread,
    watch: MethodWatch | None = None,
) -> Call:
    """Return what calls a route on an instance, batched where declared.

    Args:
        instance: The service.
        name: The method's name, for messages.
        route: The method and how it is called.
        thread: Where it runs if it is neither async nor declared ``parallel``.
        watch: Who is told of each call. Default: nobody.
    """
    method: Callable[..., Any] = MethodType(route.function, instance)
    if route.streams:
        call = _stream(name, method, route, thread, watch)
        if watch is None:
            return call
        # Of a batch its steps are told.
        return _watched_stream(call, watch.calling if route.batch else watch.streaming)
    if route.batch is not None:
        call = _batched(instance, name, route, thread, watch)
    elif watch is None:
        return _placed(method, thread, parallel=route.parallel)
    elif inspect.iscoroutinefunction(method):
        return watch.at_once(method)
    else:
        call = watch.alone(_in_a_thread if route.parallel else thread, method)
    return watch.around(call) if watch else call


def _batched(
    instance: object,
    name: str,
    route: Route[..., object],
    thread: ModelThread,
    watch: MethodWatch | None,
) -> Call:
    assert route.batch is not None  # noqa: S101 - the caller has looked
    method = MethodType(route.function, instance)
    prepare: Callable[..., Awaitable[Any]] | None = None
    if route.prepare is not None:
        prepare = _placed(MethodType(route.prepare, instance), thread, parallel=True)
    batcher = Batcher[Any, Any](
        name,
        _placed(method, thread, parallel=route.parallel),
        route.batch,
        prepare=prepare,
        takes_turns=not route.parallel and not inspect.iscoroutinefunction(method),
        observer=watch,
    )
    return _taking_one(route, batcher.submit)


def _placed(
    method: Callable[..., Any], thread: ModelThread, *, parallel: bool
) -> Callable[..., Awaitable[Any]]:
    if inspect.iscoroutinefunction(method):
        return method
    return partial(_in_a_thread if parallel else thread, method)


async def _in_a_thread(function: Callable[..., Any], *arguments: object, **keywords: object) -> Any:
    return await asyncio.to_thread(ending_in_an_answer, function, *arguments, **keywords)


def _stream(
    name: str,
    method: Callable[..., Any],
    route: Route[..., object],
    thread: ModelThread,
    observer: BatchObserver | None,
) -> Call:
    if route.batch is None:
        if inspect.isasyncgenfunction(method):
            return method
        return partial(thread.iterate, method)
    live = LiveBatcher(name, _steps(method, thread), route.batch, observer)
    return _taking_one(route, live.submit)


def _watched_stream(call: Call, watching: Callable[[], AbstractContextManager[None]]) -> Call:
    async def watched(*arguments: object, **keywords: object) -> AsyncIterator[Any]:
        pieces = call(*arguments, **keywords)
        with watching():
            try:
                async for piece in pieces:
                    yield piece
            finally:
                await pieces.aclose()

    return watched


def _steps(method: Callable[..., Any], thread: ModelThread) -> Steps:
    if inspect.isasyncgenfunction(method):
        return Steps(method, _next_async, _close_async)

    async def step(generator: Any) -> None:
        if await thread(next, generator, _OVER) is _OVER:
            raise StopAsyncIteration

    async def close(generator: Any) -> None:
        await thread(generator.close)

    return Steps(method, step, close)


_OVER = object()


async def _next_async(generator: Any) -> None:
    await anext(generator)


async def _close_async(generator: Any) -> None:
    await generator.aclose()


def _taking_one(route: Route[..., object], submit: Callable[[Any], Any]) -> Call:
    """What callers of a batched route call: with one request, by place or by the list's name."""
    requests = list(inspect.signature(route.function).parameters)[1]
    name = route.function.__qualname__.rpartition("<locals>.")[2]

    def call(*arguments: object, **keywords: object) -> Awaitable[Any] | AsyncIterator[Any]:
        given = [*arguments, *keywords.values()]
        if len(given) == 1 and keywords.keys() <= {requests}:
            answer: Awaitable[Any] | AsyncIterator[Any] = submit(given[0])
            return answer
        shown = ", ".join([*map(repr, arguments), *(f"{key}=..." for key in keywords)])
        msg = f"{name} takes one request of its batches, got ({shown}). Pass one per call."
        raise TypeError(msg)

    return call
