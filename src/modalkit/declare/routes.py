"""Typed HTTP routes of a custom service: the ``@endpoint`` decorator and its batching.

A route's request and answer types are its method's annotations. The same method is called by
``.remote(...)`` and by HTTP; with a `Batch` both share the batches of their container.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload

from pydantic import Field

from .._values import Value
from ..errors import DeclarationError

if TYPE_CHECKING:
    import modal

__all__ = ["Batch", "Route", "endpoint"]

P = ParamSpec("P")
R = TypeVar("R")
Req = TypeVar("Req")
Res = TypeVar("Res")

# One or more of "/name", none of them "." or "..": what a URL leaves as it is.
_PATH = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9_.~-]+)+")

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


class Batch(Value):
    """How requests of one container are gathered into one call of the method.

    One batch runs at a time. A container with a batched route takes more requests at once, so that
    there is something to gather; they may be for other routes too (see `endpoint`).

    Args:
        max_size: Most requests in a batch, 1 to 4096.
        max_wait_ms: How long the first request of a batch waits for company while the model is
            busy, in milliseconds; a lone request at an idle model leaves at once. Default 5.

    Raises:
        DeclarationError: A size or a wait out of range.
    """

    max_size: int = Field(ge=1, le=4096)
    max_wait_ms: float = Field(default=5.0, ge=0, le=60_000)

    def __init__(self, max_size: int, *, max_wait_ms: float = 5.0) -> None:
        super().__init__(max_size=max_size, max_wait_ms=max_wait_ms)


class Route(Generic[P, R]):
    """A method with an HTTP path; `endpoint` makes it, `serve` compiles it.

    Attributes:
        path: The HTTP path, below the service's own.
        batch: How requests are gathered; ``None`` calls the method once per request.
        parallel: The method may run in several threads at once.
        function: The undecorated method.
        summary: One line for the API documentation.
    """

    def __init__(
        self,
        function: Callable[..., object],
        path: str,
        batch: Batch | None,
        *,
        parallel: bool = False,
    ) -> None:
        self.function = function
        self.path = path
        self.batch = batch
        self.parallel = parallel
        self.summary = (inspect.getdoc(function) or "").partition("\n")[0]

    if TYPE_CHECKING:

        def __get__(self, instance: object, owner: type | None = None) -> RouteFunction[P, R]: ...

    else:

        def __get__(self, instance: object, owner: type | None = None) -> object:
            # Before `serve` has compiled it a route is the plain method, as in a unit test.
            return self if instance is None else self.function.__get__(instance, owner)


class _Decorator(Protocol):
    @overload
    def __call__(
        self, function: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]], /
    ) -> Route[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Any, P], R], /) -> Route[P, R]: ...


class _BatchDecorator(Protocol):
    @overload
    def __call__(
        self, function: Callable[[Any, list[Req]], Coroutine[Any, Any, list[Res]]], /
    ) -> Route[[Req], Res]: ...
    @overload
    def __call__(self, function: Callable[[Any, list[Req]], list[Res]], /) -> Route[[Req], Res]: ...


@overload
def endpoint(path: str, *, parallel: bool = ...) -> _Decorator: ...
@overload
def endpoint(path: str, *, batch: Batch, parallel: bool = ...) -> _BatchDecorator: ...
def endpoint(path: str = "", *, batch: Batch | None = None, parallel: bool = False) -> object:
    """Serve a method of a custom service over HTTP, beside ``.remote``.

    Without ``batch`` the request body is a JSON object with one field per parameter, or, when
    the only parameter is a pydantic model, that model. With ``batch`` the method takes a list of
    requests and returns a list of as many answers in the same order; a caller sends one request
    and gets one answer.

    The methods of an instance that are not async, ``load`` included, run in one thread, one at a
    time, however many requests the container takes: a model need not be safe for threads. Async
    methods go on beside them.

    Args:
        path: HTTP path of the POST route, such as ``"/embed"``.
        batch: How requests are gathered; default none.
        parallel: Let a method that is not async run in threads of its own, several at once. Default
            false.

    Raises:
        DeclarationError: No path or one that a URL would change, something that is no method, a
            generator method, an async method with ``parallel``.

    Examples:
        >>> endpoint("my path")
        Traceback (most recent call last):
            ...
        modalkit.errors.DeclarationError: endpoint('my path') needs a plain absolute path. Write @endpoint('/my-path').
    """
    _check_options(path, batch)

    def decorate(function: Callable[..., object]) -> Route[Any, Any]:
        _check_method(f"@endpoint({path!r})", function, parallel=parallel)
        return Route(function, path, batch, parallel=parallel)

    return decorate


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


def _check_method(where: str, function: object, *, parallel: bool) -> None:
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
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        msg = (
            f"{where} is above {_name_of(function)}: a generator cannot be a typed route. "
            "Return the whole answer, or decorate it with modal.method() and call remote_gen()."
        )
        raise DeclarationError(msg)
    if parallel and inspect.iscoroutinefunction(function):
        msg = (
            f"{where} is above {_name_of(function)}, whose calls run beside each other because "
            "it is async. Leave out parallel=True."
        )
        raise DeclarationError(msg)


def _name_of(function: object) -> str:
    name: str = getattr(function, "__qualname__", repr(function))
    return name.rpartition("<locals>.")[2]
