"""From a method's annotations to a request type, an answer type and a way to call it.

The request body is a JSON object with a field per parameter; a method whose only parameter is a
pydantic model takes that model. A batched method takes a list and its callers send one element.
JSON has no bytes: where the types are the method's own they travel as base64.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, PydanticUserError, TypeAdapter, create_model
from pydantic.fields import FieldInfo

from ..declare.routes import Route
from ..errors import DeclarationError

__all__ = ["TypedRoute", "typed_route"]

_CONFIG = ConfigDict(extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")
_Arguments = Callable[[Any], tuple[tuple[object, ...], dict[str, object]]]
_Mode = Literal["validation", "serialization"]
_PLACED = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True, slots=True)
class TypedRoute:
    """A route with its types worked out.

    Attributes:
        name: The method's name.
        path: Its HTTP path.
        summary: One line for the documentation.
        request: Validates a request body.
        answer: Validates and serialises an answer.
        arguments: Turns a validated body into the method's positional and keyword arguments.
        needs_body: Some parameter has no default; otherwise a request may come without a body.
    """

    name: str
    path: str
    summary: str
    request: TypeAdapter[Any]
    answer: TypeAdapter[Any]
    arguments: _Arguments
    needs_body: bool


def typed_route(name: str, route: Route[..., object]) -> TypedRoute:
    """Work out the types of a route.

    Raises:
        DeclarationError: A parameter that a body cannot name, a parameter or an answer without an
            annotation, a type that pydantic cannot handle, or a batched method that does not take
            and return one list.
    """
    where = f"{route.function.__qualname__.rpartition('<locals>.')[2]} (endpoint {route.path!r})"
    parameters = _parameters(where, name, route)
    hints = _hints(where, name, route, parameters)
    answer = hints.pop("return")
    arguments: _Arguments = _single
    if route.batch is not None:
        request, answer = _elements(where, name, parameters, hints, answer)
        requests = _adapter(where, "its request", request)
    else:
        adapters = [
            _adapter(where, f"parameter {word!r}", hints[word]) for word in _names(parameters)
        ]
        if len(parameters) == 1 and _is_model(hints[parameters[0].name]):
            requests = adapters[0]
        else:
            requests = TypeAdapter(_body_model(name, parameters, hints))
            arguments = _by_name(_names(parameters))
    return TypedRoute(
        name=name,
        path=route.path,
        summary=route.summary,
        request=requests,
        answer=_adapter(where, "its answer", answer, "serialization"),
        arguments=arguments,
        needs_body=route.batch is not None or any(map(_is_required, parameters)),
    )


# ── what the method says ────────────────────────────────────────────────────────────────────────


def _parameters(where: str, name: str, route: Route[..., object]) -> list[inspect.Parameter]:
    """The parameters after ``self``."""
    every = list(inspect.signature(route.function).parameters.values())
    if not every or every[0].kind not in _PLACED:
        msg = f"{where} takes no self. Write def {name}(self, ...)."
        raise DeclarationError(msg)
    for parameter in every[1:]:
        if parameter.kind not in _NAMED:
            shown = str(parameter.replace(annotation=inspect.Parameter.empty))
            msg = (
                f"{where} has the parameter {shown!r}, which a request cannot name. Write each "
                f"parameter out, without '/', as in def {name}(self, text: str, times: int = 1)."
            )
            raise DeclarationError(msg)
        if isinstance(parameter.default, FieldInfo):
            msg = (
                f"{where} has Field(...) as the default of {parameter.name!r}, which .remote() "
                f"would pass on. Write {parameter.name}: Annotated[..., Field(...)]."
            )
            raise DeclarationError(msg)
    return every[1:]


def _is_required(parameter: inspect.Parameter) -> bool:
    return parameter.default is inspect.Parameter.empty


def _hints(
    where: str, name: str, route: Route[..., object], parameters: Sequence[inspect.Parameter]
) -> dict[str, Any]:
    try:
        hints = get_type_hints(route.function, include_extras=True)
    except (NameError, AttributeError, SyntaxError, TypeError) as error:
        msg = (
            f"{where} has an annotation that cannot be read: {error}. Define or import the type at "
            "module level, before the service and not only under TYPE_CHECKING."
        )
        raise DeclarationError(msg) from error
    missing = [word for word in (*_names(parameters), "return") if word not in hints]
    if missing:
        given = "".join(f", {word}: ..." for word in _names(parameters))
        msg = (
            f"{where} has no annotation for {', '.join(missing)}. Types make the HTTP route: write "
            f"def {name}(self{given}) -> ..."
        )
        raise DeclarationError(msg)
    return hints


def _names(parameters: Sequence[inspect.Parameter]) -> list[str]:
    return [parameter.name for parameter in parameters]


def _elements(
    where: str,
    name: str,
    parameters: Sequence[inspect.Parameter],
    hints: Mapping[str, Any],
    answer: Any,
) -> tuple[Any, Any]:
    taken = hints[parameters[0].name] if len(parameters) == 1 else None
    if get_origin(taken) is not list or get_origin(answer) is not list:
        msg = (
            f"{where} has batch=..., so it takes one list and returns one. "
            f"Write def {name}(self, requests: list[Request]) -> list[Answer]."
        )
        raise DeclarationError(msg)
    return get_args(taken)[0], get_args(answer)[0]


# ── what pydantic makes of it ───────────────────────────────────────────────────────────────────


def _adapter(where: str, what: str, hint: Any, mode: _Mode = "validation") -> TypeAdapter[Any]:
    try:
        adapter = _configured(hint)
        adapter.json_schema(mode=mode)
    except Exception as error:  # pydantic has many kinds for a type that it cannot handle
        reason = getattr(error, "message", str(error)).strip().partition("\n")[0]
        msg = (
            f"{where}: the type of {what}, {inspect.formatannotation(hint)}, cannot come or go as "
            f"JSON. {reason} Write a pydantic model, a dataclass, a typing_extensions.TypedDict "
            "or plain types of Python."
        )
        raise DeclarationError(msg) from error
    return adapter


def _configured(hint: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(hint, config=_CONFIG)
    except PydanticUserError as error:
        if error.code != "type-adapter-config-unused":
            raise
        return TypeAdapter(
            hint
        )  # a model, a dataclass or a TypedDict has a configuration of its own


def _is_model(hint: object) -> bool:
    return isinstance(hint, type) and issubclass(hint, BaseModel)


def _body_model(
    name: str, parameters: Sequence[inspect.Parameter], hints: Mapping[str, Any]
) -> type[BaseModel]:
    """A model with a field per parameter, known by aliases: a parameter may be called ``json``."""
    fields: dict[str, Any] = {
        _field(place): (
            hints[parameter.name],
            Field(... if _is_required(parameter) else parameter.default, alias=parameter.name),
        )
        for place, parameter in enumerate(parameters)
    }
    title = "".join(part.capitalize() for part in name.split("_")) + "Request"
    return create_model(title, __config__=_CONFIG, **fields)


def _field(place: int) -> str:
    return f"parameter_{place}"


def _single(request: object) -> tuple[tuple[object, ...], dict[str, object]]:
    return (request,), {}


def _by_name(names: Sequence[str]) -> _Arguments:
    def arguments(request: BaseModel) -> tuple[tuple[object, ...], dict[str, object]]:
        return (), {name: getattr(request, _field(place)) for place, name in enumerate(names)}

    return arguments
