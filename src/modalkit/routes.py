"""Typed HTTP routes of a custom service: the ``@endpoint`` decorator and its batching.

A route's request and answer types are its method's annotations. The same method is called by
``.remote(...)`` and by HTTP; with a `Batch` both share the batches of their container.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload

from pydantic import Field

from ._values import Value
from .errors import DeclarationError

if TYPE_CHECKING:
    import modal

__all__ = ["Batch", "Route", "endpoint"]

P = ParamSpec("P")
R = TypeVar("R")
Req = TypeVar("Req")
Res = TypeVar("Res")

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
        function: The undecorated method.
        summary: One line for the API documentation.
    """

    def __init__(self, function: Callable[..., object], path: str, batch: Batch | None) -> None:
        self.function = function
        self.path = path
        self.batch = batch
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
def endpoint(path: str) -> _Decorator: ...
@overload
def endpoint(path: str, *, batch: Batch) -> _BatchDecorator: ...
def endpoint(path: str, *, batch: Batch | None = None) -> object:
    """Serve a method of a custom service over HTTP, beside ``.remote``.

    Without ``batch`` the request body is a JSON object with one field per parameter, or, when
    the only parameter is a pydantic model, that model. With ``batch`` the method takes a list of
    requests and returns a list of as many answers in the same order; a caller sends one request
    and gets one answer.

    Args:
        path: HTTP path of the POST route, such as ``"/embed"``.
        batch: How requests are gathered; default none.

    Raises:
        DeclarationError: A path that is not absolute, or a generator method.
    """
    if not path.startswith("/") or path != path.strip() or "{" in path:
        msg = f"endpoint({path!r}): the path must be a plain absolute one. Write endpoint('/predict')."
        raise DeclarationError(msg)

    def decorate(function: Callable[..., object]) -> Route[Any, Any]:
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            msg = (
                f"endpoint({path!r}) on {function.__qualname__}: a generator cannot be a typed route. "
                "Return the whole answer, or decorate it with modal.method() and call remote_gen()."
            )
            raise DeclarationError(msg)
        return Route(function, path, batch)

    return decorate
