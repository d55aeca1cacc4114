"""Traces across ``.remote``: handed on by the caller, taken in by the service that is called.

Modal carries no headers with a call, so the context travels as one more keyword argument, which
only modalkit's own methods know how to take off again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from types import FunctionType
from typing import Any, TypeVar, cast

from .own_methods import watched_method
from .tracing import Tracing

__all__ = ["take_trace", "traced"]

F = TypeVar("F")

_KEYWORD = "modalkit_trace"
_CALLED = frozenset({"remote", "remote_gen", "spawn"})
_MAPPED = frozenset({"map", "starmap", "for_each", "spawn_map"})  # their ``kwargs`` go to each call


def traced(function: F) -> F:
    """Return a service's remote method whose calls belong to the current trace.

    ``traced(Embedder().embed).remote(...)``, and ``.remote.aio``, ``.remote_gen``, ``.spawn``, ``.map``,
    ``.starmap`` and ``.for_each`` likewise. Where nothing is traced it is the method itself.

    A service's own method takes part where it is written ``@traced`` below ``@modal.method()``: a call
    of it is counted, is a span, and belongs to its caller's trace.

    Args:
        function: A method that modalkit serves, an ``@endpoint``, an engine's or a ``@traced`` one;
            whatever else is called would not know the argument that the trace travels in.
    """
    if isinstance(function, FunctionType):
        return cast("F", watched_method(function, take_trace))
    if "opentelemetry" not in sys.modules:  # nobody here can have begun a span
        return function
    from opentelemetry import propagate  # noqa: PLC0415 - only where it is used already

    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return cast("F", _Handing(function, carrier)) if carrier else function


def take_trace(
    keywords: dict[str, object], tracing: Tracing | None
) -> AbstractContextManager[None]:
    """Take a caller's trace off the arguments of a call; what runs in the block belongs to it."""
    carrier = keywords.pop(_KEYWORD, None)
    if tracing is None or not isinstance(carrier, Mapping):
        return nullcontext()
    return tracing.belonging_to(carrier)


class _Handing:
    """A Modal function whose calls carry a trace."""

    def __init__(self, function: object, carrier: Mapping[str, str]) -> None:
        self._function = function
        self._carrier = dict(carrier)

    def __getattr__(self, name: str) -> object:
        member = getattr(self._function, name)
        if name in _CALLED:
            return _Verb(member, self._as_keyword)
        if name in _MAPPED:
            return _Verb(member, self._as_shared_keyword)
        return member

    def _as_keyword(self, keywords: Mapping[str, object]) -> dict[str, object]:
        return {**keywords, _KEYWORD: self._carrier}

    def _as_shared_keyword(self, keywords: Mapping[str, Any]) -> dict[str, object]:
        return {**keywords, "kwargs": self._as_keyword(keywords.get("kwargs") or {})}


class _Verb:
    """A way to call a function, and its ``.aio``, with more keywords than it is given."""

    def __init__(self, call: Any, more: Callable[[Mapping[str, Any]], dict[str, object]]) -> None:
        self._call = call
        self._more = more

    def __call__(self, *arguments: object, **keywords: object) -> object:
        return self._call(*arguments, **self._more(keywords))

    def aio(self, *arguments: object, **keywords: object) -> object:
        """Call it from a coroutine."""
        return self._call.aio(*arguments, **self._more(keywords))
