"""Typed HTTP routes of a custom service: the ``@endpoint`` decorator.

A route's request and answer types are its method's annotations. The same method is called by
``.remote(...)`` and by HTTP; with a `Batch` both share the batches of their container. A generator is
a stream: ``.remote_gen(...)``, server-sent events and a WebSocket.

The methods of an instance that are not async, ``load`` included, run in one thread, one at a time,
however many requests the container takes: a model need not be safe for threads. Async methods go on
beside them.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Iterator
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload

from ..errors import DeclarationError
from .batches import Batch
from .live_batches import LiveBatch

if TYPE_CHECKING:
    import modal

__all__ = ["Route", "endpoint"]

P = ParamSpec("P")
R = TypeVar("R")
Req = TypeVar("Req")
Res = TypeVar("Res")
Prep = TypeVar("Prep")
Prep_co = TypeVar("Prep_co", covariant=True)

# One or more of "/name", none of them "." or "..": what a URL leaves as it is.
_PATH = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9_.~-]+)+")
_MEDIA_TYPE = re.compile(r"[a-z]+/[a-z0-9][a-z0-9.+-]*(; ?[a-z]+=[\w-]+)*")

if TYPE_CHECKING:
    R_co = TypeVar("R_co", covariant=True)

    class _Remote(Protocol[P, R_co]):
        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
        async def aio(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...

    # A route may take any name, ``generate`` and ``embed`` included, which `ModelService` declares
    # for services with an engine. A base of Any, and Any alone, makes overriding those fine for
    # type checkers; what is not named here (``map``, ``with_options`` ...) is Modal's own, untyped.
    class RouteFunction(Any, Generic[P, R]):  # type: ignore[misc]  # the base is meant
        """The Modal function that `modalkit.serve` makes of a route."""

        remote: _Remote[P, R]
        spawn: _Remote[P, modal.FunctionCall[R]]
        local: Callable[P, Coroutine[Any, Any, R]]

    class _RemoteGen(Protocol[P, R_co]):
        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Generator[R_co, None, None]: ...
        def aio(self, *args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[R_co, None]: ...

    class StreamFunction(Any, Generic[P, R]):  # type: ignore[misc]  # the base is meant
        """The Modal function that `modalkit.serve` makes of a route that yields."""

        remote_gen: _RemoteGen[P, R]
        local: Callable[P, AsyncGenerator[R, None]]


class Route(Generic[P, R]):
    """A method with an HTTP path; `endpoint` makes it, `serve` compiles it.

    Attributes:
        path: The HTTP path, below the service's own.
        batch: How requests are gathered; ``None`` calls the method once per request.
        parallel: The method may run in several threads at once.
        prepare: Makes the second argument of a batched method, while the batch before it runs.
        media_type: What an answer of bytes is; ``None`` sends JSON.
        function: The undecorated method.
        summary: One line for the API documentation.
        streams: Whether it answers piece by piece.
    """

    def __init__(
        self,
        function: Callable[..., object],
        path: str,
        batch: Batch | None = None,
        *,
        parallel: bool = False,
        prepare: Callable[..., object] | None = None,
        media_type: str | None = None,
    ) -> None:
        self.function = function
        self.path = path
        self.batch = batch
        self.parallel = parallel
        self.prepare = prepare
        self.media_type = media_type
        self.summary = (inspect.getdoc(function) or "").partition("\n")[0]
        self.streams = _yields(function)

    if TYPE_CHECKING:

        def __get__(self, instance: object, owner: type | None = None) -> RouteFunction[P, R]: ...

    else:

        def __get__(self, instance: object, owner: type | None = None) -> object:
            # Before `serve` has compiled it a route is the plain method, as in a unit test.
            return self if instance is None else self.function.__get__(instance, owner)


class StreamRoute(Route[P, R]):
    """A route whose method is a generator; for type checkers alone."""

    if TYPE_CHECKING:

        def __get__(self, instance: object, owner: type | None = None) -> StreamFunction[P, R]: ...


class _Decorator(Protocol):
    @overload
    def __call__(
        self, function: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]], /
    ) -> Route[P, R]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[Any, P], AsyncIterator[R] | Iterator[R]], /
    ) -> StreamRoute[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Any, P], R], /) -> Route[P, R]: ...


class _BatchDecorator(Protocol):
    @overload
    def __call__(
        self,
        function: Callable[[Any, LiveBatch[Req, Res]], AsyncIterator[None] | Iterator[None]],
        /,
    ) -> StreamRoute[[Req], Res]: ...
    @overload
    def __call__(
        self, function: Callable[[Any, list[Req]], Coroutine[Any, Any, list[Res | Exception]]], /
    ) -> Route[[Req], Res]: ...
    @overload
    def __call__(
        self, function: Callable[[Any, list[Req]], list[Res | Exception]], /
    ) -> Route[[Req], Res]: ...
    @overload
    def __call__(
        self, function: Callable[[Any, list[Req]], Coroutine[Any, Any, list[Res]]], /
    ) -> Route[[Req], Res]: ...
    @overload
    def __call__(self, function: Callable[[Any, list[Req]], list[Res]], /) -> Route[[Req], Res]: ...


_Preparing = Callable[[Any, list[Req]], Prep]
_PreparingLater = Callable[[Any, list[Req]], Coroutine[Any, Any, Prep]]


class _PreparedDecorator(Protocol[Req, Prep_co]):
    @overload
    def __call__(
        self, function: Callable[[Any, list[Req], Prep_co], Coroutine[Any, Any, list[Res]]], /
    ) -> Route[[Req], Res]: ...
    @overload
    def __call__(
        self, function: Callable[[Any, list[Req], Prep_co], list[Res]], /
    ) -> Route[[Req], Res]: ...


@overload
def endpoint(path: str, *, parallel: bool = ..., media_type: str | None = ...) -> _Decorator: ...
@overload
def endpoint(
    path: str,
    *,
    batch: Batch,
    prepare: _PreparingLater[Req, Prep],
    parallel: bool = ...,
    media_type: str | None = ...,
) -> _PreparedDecorator[Req, Prep]: ...
@overload
def endpoint(
    path: str,
    *,
    batch: Batch,
    prepare: _Preparing[Req, Prep],
    parallel: bool = ...,
    media_type: str | None = ...,
) -> _PreparedDecorator[Req, Prep]: ...
@overload
def endpoint(
    path: str, *, batch: Batch, parallel: bool = ..., media_type: str | None = ...
) -> _BatchDecorator: ...
def endpoint(
    path: str = "",
    *,
    batch: Batch | None = None,
    prepare: Callable[..., object] | None = None,
    parallel: bool = False,
    media_type: str | None = None,
) -> object:
    """Serve a method of a custom service over HTTP, beside ``.remote``.

    Without ``batch`` the request body is a JSON object with a field per parameter, or the value of
    the only parameter where that is a type with fields of its own. With ``batch`` a method takes a
    list of requests and returns as many answers in the same order, while a caller sends one and gets
    one; an exception in the place of an answer fails that request alone. A generator is a stream;
    with ``batch`` it takes a `LiveBatch` and yields after each step.

    Args:
        path: HTTP path of the POST route, such as ``"/v1/embed"``.
        batch: How requests are gathered; default none.
        prepare: A method from the list of requests to the second argument of a batched method:
            tokenizing, stacking. It runs while the batch before runs. Default none.
        parallel: Let a method that is not async run in several threads at once. Default false.
        media_type: What an answer of ``bytes`` is, such as ``"audio/wav"``, to be sent as it is.
            Default JSON, with bytes as base64.

    Raises:
        DeclarationError: No path or one that a URL would change, something that is no method, an
            async method or a generator with ``parallel``, ``prepare`` without ``batch``.
    """
    _check_options(path, batch)
    _check_extras(path, batch, prepare, media_type)

    def decorate(function: Callable[..., object]) -> Route[Any, Any]:
        _check_method(f"@endpoint({path!r})", function, prepare, parallel=parallel)
        return Route(
            function, path, batch, parallel=parallel, prepare=prepare, media_type=media_type
        )

    return decorate


def _yields(function: object) -> bool:
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def _check_extras(path: str, batch: Batch | None, prepare: object, media_type: object) -> None:
    if prepare is not None and not callable(prepare):
        msg = (
            f"endpoint({path!r}, prepare={prepare!r}) needs a method. Write def tokenize(self, requests) "
            "above, and prepare=tokenize."
        )
        raise DeclarationError(msg)
    if prepare is not None and batch is None:
        msg = f"endpoint({path!r}, prepare=...) prepares batches. Write batch=Batch(32) too."
        raise DeclarationError(msg)
    if media_type is None or (isinstance(media_type, str) and _MEDIA_TYPE.fullmatch(media_type)):
        return
    msg = f"endpoint({path!r}, media_type={media_type!r}) needs one such as 'audio/wav'."
    raise DeclarationError(msg)


def _check_options(path: object, batch: object) -> None:
    if callable(path):
        name = getattr(path, "__name__", "predict")
        msg = f"@endpoint above {name} has no path. Write @endpoint('/{name}')."
        raise DeclarationError(msg)
    if not isinstance(path, str) or (path != "/" and not _PATH.fullmatch(path)):
        msg = (
            f"endpoint({path!r}) needs a plain absolute path. Write @endpoint({_nearest(path)!r})."
        )
        raise DeclarationError(msg)
    if batch is not None and not isinstance(batch, Batch):
        size = batch if isinstance(batch, int) else 16
        msg = f"endpoint({path!r}, batch={batch!r}) needs a Batch. Write batch=Batch({size})."
        raise DeclarationError(msg)


def _nearest(path: object) -> str:
    plain = re.sub(r"[?#].*", "", path) if isinstance(path, str) else ""
    parts = (re.sub(r"[^A-Za-z0-9_.~-]+", "-", part).strip("-") for part in plain.split("/"))
    return "/" + ("/".join(part for part in parts if part not in {"", ".", ".."}) or "predict")


def _check_method(where: str, function: object, prepare: object, *, parallel: bool) -> None:
    if type(function).__module__.partition(".")[0] == "modal":
        msg = (
            f"{where} is above a member of Modal's. An @endpoint is a remote method already: "
            "leave out @modal.method()."
        )
        raise DeclarationError(msg)
    if not callable(function) or isinstance(function, (type, staticmethod, classmethod)):
        msg = (
            f"{where} is above a {type(function).__name__}. Write it above a method, "
            "as in def predict(self, text: str) -> str."
        )
        raise DeclarationError(msg)
    if parallel and _yields(function):
        msg = (
            f"{where} is above {_name_of(function)}, a generator, which runs by turns with the other "
            "methods. Leave out parallel=True."
        )
        raise DeclarationError(msg)
    if parallel and inspect.iscoroutinefunction(function):
        msg = (
            f"{where} is above {_name_of(function)}, whose calls run beside each other because "
            "it is async. Leave out parallel=True."
        )
        raise DeclarationError(msg)
    if _yields(function) and prepare is not None:
        msg = f"{where} has prepare=..., and {_name_of(function)} yields. Leave prepare out."
        raise DeclarationError(msg)


def _name_of(function: object) -> str:
    name: str = getattr(function, "__qualname__", repr(function))
    return name.rpartition("<locals>.")[2]
