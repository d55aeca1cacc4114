"""From a method's annotations to a request type, an answer type and a call.

The request body is a JSON object with a field per parameter; a method whose only parameter is a
pydantic model takes that model. A batched method takes a list and its callers send one element.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, TypeAdapter, create_model

from ..errors import DeclarationError
from ..routes import Route
from .batching import Batcher

__all__ = ["TypedRoute", "typed_route"]


@dataclass(frozen=True, slots=True)
class TypedRoute:
    """A route with its types worked out.

    Attributes:
        name: The method's name.
        path: Its HTTP path.
        summary: One line for the documentation.
        request: Validates a request body.
        answer: Serialises an answer.
        arguments: Turns a validated body into the method's positional and keyword arguments.
    """

    name: str
    path: str
    summary: str
    request: TypeAdapter[Any]
    answer: TypeAdapter[Any]
    arguments: Callable[[Any], tuple[tuple[object, ...], dict[str, object]]]


def typed_route(name: str, route: Route[..., object]) -> TypedRoute:
    """Work out the types of a route.

    Raises:
        DeclarationError: A parameter or the answer has no annotation, or a batched method does
            not take and return one list.
    """
    hints = _hints(route)
    answer = hints.pop("return")
    parameters = _parameters(route)
    if route.batch is not None:
        (request, answer) = _elements(name, parameters, hints, answer)
        arguments: Callable[[Any], Any] = _single
    elif len(parameters) == 1 and _is_model(hints[parameters[0].name]):
        request, arguments = hints[parameters[0].name], _single
    else:
        request, arguments = _body_model(name, parameters, hints), _fields
    return TypedRoute(
        name=name,
        path=route.path,
        summary=route.summary,
        request=TypeAdapter(request),
        answer=TypeAdapter(answer),
        arguments=arguments,
    )


def bind(instance: object, name: str, route: Route[..., object]) -> Callable[..., Awaitable[Any]]:
    """Return the coroutine function that calls a route on an instance, batched where declared.

    A method that is not async runs in a worker thread, so that the others go on.
    """
    method: Callable[..., Any] = partial(route.function, instance)
    is_async = inspect.iscoroutinefunction(route.function)
    call: Callable[..., Awaitable[Any]] = method if is_async else partial(asyncio.to_thread, method)
    if route.batch is None:
        return call
    return Batcher[Any, Any](name, call, route.batch).submit


def _hints(route: Route[..., object]) -> dict[str, Any]:
    function = route.function
    where = f"{function.__qualname__} (endpoint {route.path!r})"
    try:
        hints = get_type_hints(function, include_extras=True)
    except NameError as error:
        msg = f"{where}: {error}. Define the type at module level, before the service."
        raise DeclarationError(msg) from error
    names = [parameter.name for parameter in _parameters(route)]
    missing = [word for word in (*names, "return") if word not in hints]
    if missing:
        msg = f"{where} has no annotation for {', '.join(missing)}. Types make the HTTP route."
        raise DeclarationError(msg)
    return hints


def _parameters(route: Route[..., object]) -> list[inspect.Parameter]:
    return list(inspect.signature(route.function).parameters.values())[1:]


def _elements(
    name: str, parameters: list[inspect.Parameter], hints: Mapping[str, Any], answer: Any
) -> tuple[Any, Any]:
    taken = hints[parameters[0].name] if len(parameters) == 1 else None
    if get_origin(taken) is not list or get_origin(answer) is not list:
        msg = (
            f"{name} has batch=..., so it takes one list and returns one. "
            f"Write def {name}(self, requests: list[Request]) -> list[Answer]."
        )
        raise DeclarationError(msg)
    return get_args(taken)[0], get_args(answer)[0]


def _is_model(hint: object) -> bool:
    return isinstance(hint, type) and issubclass(hint, BaseModel)


def _body_model(
    name: str, parameters: list[inspect.Parameter], hints: Mapping[str, Any]
) -> type[BaseModel]:
    fields: dict[str, Any] = {
        parameter.name: (
            hints[parameter.name],
            ... if parameter.default is inspect.Parameter.empty else parameter.default,
        )
        for parameter in parameters
    }
    title = "".join(part.capitalize() for part in name.split("_")) + "Request"
    return create_model(title, __config__=ConfigDict(extra="forbid"), **fields)


def _single(request: object) -> tuple[tuple[object, ...], dict[str, object]]:
    return (request,), {}


def _fields(request: BaseModel) -> tuple[tuple[object, ...], dict[str, object]]:
    return (), {name: getattr(request, name) for name in type(request).model_fields}
