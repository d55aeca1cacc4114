"""From a method's annotations to a request type, an answer type and a way to call it.

The request body is a JSON object with a field per parameter; a method whose only parameter is a
pydantic model, a dataclass, a msgspec struct or a TypedDict takes that. A batched method takes a list
and its callers send one element; a generator answers with pieces of one type. JSON has no bytes: where
the types are the method's own they travel as base64.
"""

from __future__ import annotations

import collections.abc
import inspect
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, is_dataclass
from types import MappingProxyType, UnionType
from typing import (
    Any,
    Literal,
    NamedTuple,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from pydantic import BaseModel, ConfigDict, Field, PydanticUserError, TypeAdapter, create_model
from pydantic.fields import FieldInfo
from typing_extensions import is_typeddict

from ..declare.live_batches import LiveBatch
from ..declare.routes import Route
from ..errors import DeclarationError
from .foreign_types import Foreign
from .wire_types import as_known, foreign

__all__ = ["OWN_TYPES", "TypedRoute", "typed_route"]

OWN_TYPES = ConfigDict(extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")
"""How pydantic takes types that are the method's own, and no model's with a configuration of its own."""

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
        request_type: What the method takes, where the body is one value; None where each parameter
            is a field.
        fields: The parameters' types by name, where the body has a field for each.
        answer: Validates and serialises an answer, or a piece of one.
        answer_type: What it is.
        arguments: Turns a validated body into the method's positional and keyword arguments.
        needs_body: Some parameter has no default; otherwise a request may come without a body.
        required: Parameters without a default.
        streams: Whether the answer comes in pieces.
        media_type: What an answer that is not JSON is.
    """

    name: str
    path: str
    summary: str
    request: TypeAdapter[Any]
    request_type: Any
    fields: Mapping[str, Any]
    answer: TypeAdapter[Any]
    answer_type: Any
    arguments: _Arguments
    needs_body: bool
    required: tuple[str, ...] = ()
    streams: bool = False
    media_type: str | None = None


def typed_route(name: str, route: Route[..., object]) -> TypedRoute:
    """Work out the types of a route.

    Raises:
        DeclarationError: A parameter that a body cannot name, a parameter or an answer without an
            annotation, a type that pydantic cannot handle, a batched method that does not take
            and return one list, a generator whose annotation is none.
    """
    where = f"{route.function.__qualname__.rpartition('<locals>.')[2]} (endpoint {route.path!r})"
    parameters = _parameters(where, name, route)
    hints = _hints(where, name, route, parameters)
    answer = hints.pop("return")
    if route.batch is not None:
        taken = hints[parameters[0].name] if len(parameters) == 1 else None
        request, answer = _of_batch(where, name, taken, answer, _SHAPES[route.streams])
        body = _Body(_adapter(where, "its request", request), _single, request)
    else:
        answer = _pieces(where, name, answer) if route.streams else answer
        body = _body(where, name, parameters, hints)
    return TypedRoute(
        name=name,
        path=route.path,
        summary=route.summary,
        request=body.adapter,
        request_type=body.whole,
        fields=body.fields,
        answer=_adapter(where, "its answer", answer, "serialization"),
        answer_type=answer,
        arguments=body.arguments,
        needs_body=route.batch is not None or any(map(_is_required, parameters)),
        required=tuple(one.name for one in parameters if _is_required(one)),
        streams=route.streams,
        media_type=_media_type(where, route, answer),
    )


class _Body(NamedTuple):
    """What a body is: one value, or a field for each parameter."""

    adapter: TypeAdapter[Any]
    arguments: _Arguments
    whole: Any = None
    fields: Mapping[str, Any] = MappingProxyType({})


def _body(
    where: str,
    name: str,
    parameters: Sequence[inspect.Parameter],
    hints: Mapping[str, Any],
) -> _Body:
    fields = {word: hints[word] for word in _names(parameters)}
    adapters = [_adapter(where, f"parameter {word!r}", hint) for word, hint in fields.items()]
    if len(parameters) == 1 and _is_whole(hint := hints[parameters[0].name]):
        return _Body(adapters[0], _single, hint)
    model = TypeAdapter(_body_model(name, parameters, hints))
    return _Body(model, _by_name(list(fields)), fields=fields)


def _media_type(where: str, route: Route[..., object], answer: Any) -> str | None:
    marked = foreign(answer)
    if route.media_type is not None and answer is not bytes and marked is None:
        msg = (
            f"{where} has media_type={route.media_type!r}, but answers {inspect.formatannotation(answer)}. "
            "Return bytes, an array or an image, or leave media_type out."
        )
        raise DeclarationError(msg)
    is_image = isinstance(marked, Foreign) and marked.media_type.startswith("image/")
    return route.media_type or (marked.media_type if marked and is_image else None)


# ── what the method says ────────────────────────────────────────────────────────────────────────


def _parameters(where: str, name: str, route: Route[..., object]) -> list[inspect.Parameter]:
    """The parameters after ``self``."""
    every = list(inspect.signature(route.function).parameters.values())
    if route.prepare is not None:
        every = every[:-1]  # what prepare made
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


class _BatchShape(NamedTuple):
    """What a batched method takes and returns, and how that is said."""

    takes: type
    answers: AbstractSet[Any]
    what: str
    signature: str


def _of_batch(
    where: str,
    name: str,
    taken: Any,
    answer: Any,
    shape: _BatchShape,
) -> tuple[Any, Any]:
    """The types of one request and of one answer, or of a piece of it."""
    if get_origin(taken) is not shape.takes or get_origin(answer) not in shape.answers:
        msg = f"{where} {shape.what} Write def {name}{shape.signature}."
        raise DeclarationError(msg)
    if shape.takes is list:
        return get_args(taken)[0], _without_errors(get_args(answer)[0])
    request, piece = get_args(taken)
    return request, piece


def _without_errors(answer: Any) -> Any:
    """What a request is answered where it does not fail: a list may hold exceptions too."""
    if get_origin(answer) not in {Union, UnionType}:
        return answer
    kept = [
        one
        for one in get_args(answer)
        if not (isinstance(one, type) and issubclass(one, BaseException))
    ]
    return Union[tuple(kept)] if kept else answer  # noqa: UP007 - a tuple of them


_ITERATORS = {
    collections.abc.Iterator,
    collections.abc.Iterable,
    collections.abc.Generator,
    collections.abc.AsyncIterator,
    collections.abc.AsyncIterable,
    collections.abc.AsyncGenerator,
}

# By whether the method yields.
_SHAPES = {
    False: _BatchShape(
        list,
        frozenset({list}),
        "has batch=..., so it takes one list and returns one.",
        "(self, requests: list[Request]) -> list[Answer]",
    ),
    True: _BatchShape(
        LiveBatch,
        _ITERATORS,
        "yields and has batch=..., so it takes the batch and yields after each step.",
        "(self, batch: LiveBatch[Request, Piece]) -> Iterator[None]",
    ),
}


def _pieces(where: str, name: str, answer: Any) -> Any:
    if get_origin(answer) in _ITERATORS:
        return get_args(answer)[0]
    msg = (
        f"{where} yields, but says that it returns {inspect.formatannotation(answer)}. "
        f"Write def {name}(self, ...) -> Iterator[Piece], or AsyncIterator[Piece] where it is async."
    )
    raise DeclarationError(msg)


# ── what pydantic makes of it ───────────────────────────────────────────────────────────────────


_FOR_ANYTHING = (
    "Write a pydantic model, a dataclass, a typing_extensions.TypedDict or plain types of Python."
)
# By what pydantic calls the type that it cannot handle.
_INSTEAD = {
    "ndarray": "Write Annotated[NDArray[np.float32], modalkit.Array()] for an array inside of it.",
    "PIL": "Write Annotated[PIL.Image.Image, modalkit.Picture()] for an image inside of it.",
    "UploadFile": "Write modalkit.File for a file that is sent.",
    "Tensor": "Write NDArray[np.float32] and go by tensor.numpy() and torch.from_numpy().",
}


def _adapter(where: str, what: str, hint: Any, mode: _Mode = "validation") -> TypeAdapter[Any]:
    try:
        adapter = _configured(hint)
        adapter.json_schema(mode=mode)
    except Exception as error:  # pydantic has many kinds for a type that it cannot handle
        reason = getattr(error, "message", str(error)).strip().partition("\n")[0]
        remedy = next((one for kind, one in _INSTEAD.items() if kind in reason), _FOR_ANYTHING)
        msg = (
            f"{where}: the type of {what}, {inspect.formatannotation(hint)}, cannot come or go as "
            f"JSON. {reason} {remedy}"
        )
        raise DeclarationError(msg) from error
    return adapter


def _configured(hint: Any) -> TypeAdapter[Any]:
    hint = as_known(hint)
    try:
        return TypeAdapter(hint, config=OWN_TYPES)
    except PydanticUserError as error:
        if error.code != "type-adapter-config-unused":
            raise
        return TypeAdapter(
            hint
        )  # a model, a dataclass or a TypedDict has a configuration of its own


def _is_whole(hint: object) -> bool:
    """Whether a type has fields of its own, so that a body need not name the parameter."""
    if is_typeddict(hint) or isinstance(foreign(hint), Foreign):
        return True
    return isinstance(hint, type) and (issubclass(hint, BaseModel) or is_dataclass(hint))


def _body_model(
    name: str, parameters: Sequence[inspect.Parameter], hints: Mapping[str, Any]
) -> type[BaseModel]:
    """A model with a field per parameter, known by aliases: a parameter may be called ``json``."""
    fields: dict[str, Any] = {
        _field(place): (
            as_known(hints[parameter.name]),
            Field(... if _is_required(parameter) else parameter.default, alias=parameter.name),
        )
        for place, parameter in enumerate(parameters)
    }
    title = "".join(part.capitalize() for part in name.split("_")) + "Request"
    return create_model(title, __config__=OWN_TYPES, **fields)


def _field(place: int) -> str:
    return f"parameter_{place}"


def _single(request: object) -> tuple[tuple[object, ...], dict[str, object]]:
    return (request,), {}


def _by_name(names: Sequence[str]) -> _Arguments:
    def arguments(request: BaseModel) -> tuple[tuple[object, ...], dict[str, object]]:
        return (), {name: getattr(request, _field(place)) for place, name in enumerate(names)}

    return arguments
