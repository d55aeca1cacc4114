"""How the methods of a service are called in its container: which thread, and how many at once.

A model is rarely safe to use from two threads, and PyTorch keeps settings and compiled graphs per
thread. So the methods that are not async, `load` included, share one thread and take turns there.
Async methods run on the event loop, and so does the gathering of batches: both go on meanwhile.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import MethodType
from typing import Any

from ..declare.routes import Route
from .batching import Batcher
from .observe.calls import MethodWatch

__all__ = ["ModelThread", "bind"]


class ModelThread:
    """The one thread in which the plain methods of an instance run, in the order they were called.

    A call that waits for its turn and whose caller leaves does not run; one that runs, ends.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")

    async def __call__(
        self, function: Callable[..., Any], *arguments: object, **keywords: object
    ) -> Any:
        """Call a function in the thread, with the caller's context variables."""
        context = contextvars.copy_context()
        call = partial(context.run, _ending_in_an_answer, function, *arguments, **keywords)
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    def close(self) -> None:
        """Take no more calls."""
        self._pool.shutdown(wait=False)


def bind(
    instance: object,
    name: str,
    route: Route[..., object],
    thread: ModelThread,
    watch: MethodWatch | None = None,
) -> Callable[..., Awaitable[Any]]:
    """Return the coroutine function that calls a route on an instance, batched where declared.

    Args:
        instance: The service.
        name: The method's name, for messages.
        route: The method and how it is called.
        thread: Where it runs if it is neither async nor declared ``parallel``.
        watch: Who is told of each call. Default: nobody.
    """
    method: Callable[..., Any] = MethodType(route.function, instance)
    is_async = inspect.iscoroutinefunction(route.function)
    run = _in_a_thread if route.parallel else thread
    if route.batch is not None:
        call = method if is_async else partial(run, method)
        call = _taking_one(route, Batcher[Any, Any](name, call, route.batch))
    elif watch is None:
        return method if is_async else partial(run, method)
    else:
        call = watch.at_once(method) if is_async else watch.alone(run, method)
    return watch.around(call) if watch else call


async def _in_a_thread(function: Callable[..., Any], *arguments: object, **keywords: object) -> Any:
    return await asyncio.to_thread(_ending_in_an_answer, function, *arguments, **keywords)


def _ending_in_an_answer(
    function: Callable[..., Any], *arguments: object, **keywords: object
) -> Any:
    """Call, and make an error of what would end the event loop, or be lost in it, instead."""
    try:
        return function(*arguments, **keywords)
    except (StopIteration, SystemExit) as error:
        msg = f"{_name_of(function)} raised {error!r}, which cannot leave its thread."
        raise RuntimeError(msg) from error


def _name_of(function: Callable[..., Any]) -> str:
    return function.__qualname__.rpartition("<locals>.")[2]


def _taking_one(
    route: Route[..., object], batcher: Batcher[Any, Any]
) -> Callable[..., Awaitable[Any]]:
    """What callers of a batched route call: with one request, by place or by the list's name."""
    requests = list(inspect.signature(route.function).parameters)[1]

    async def call(*arguments: object, **keywords: object) -> Any:
        given = [*arguments, *keywords.values()]
        if len(given) == 1 and keywords.keys() <= {requests}:
            return await batcher.submit(given[0])
        shown = ", ".join([*map(repr, arguments), *(f"{key}=..." for key in keywords)])
        msg = f"{_name_of(route.function)} takes one request of its batches, got ({shown}). Pass one per call."
        raise TypeError(msg)

    return call
