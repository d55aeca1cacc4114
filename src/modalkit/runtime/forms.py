"""Forms (``multipart/form-data``): fields and files by name, made into what the types ask for.

A form's fields are the method's parameters, or the fields of the one model that is the whole body.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import is_dataclass
from types import UnionType
from typing import (
    Annotated,
    Any,
    NamedTuple,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from ..declare.files import File
from .typed_routes import TypedRoute
from .wire_types import foreign

__all__ = [
    "COMPONENT_REF",
    "FormError",
    "FormField",
    "Forms",
    "as_asked",
    "form_fields",
    "is_file",
]

COMPONENT_REF = "#/components/schemas/{model}"
"""Where an OpenAPI document holds a named schema."""


class FormError(ValueError):
    """A body that is no form, or one without what it needs."""


class FormField(NamedTuple):
    """What one field of a form is made into.

    Attributes:
        kind: Its type; of a list of files that of one.
        is_file: Whether it brings files.
        is_list: Whether there may be several of the name.
        is_text: Whether its text, or that of each, is taken as it is; else it is read as JSON.
        is_needed: Whether a form without it does not fit.
        schema: Its JSON schema.
    """

    kind: Any
    is_file: bool
    is_list: bool
    is_text: bool
    is_needed: bool
    schema: Mapping[str, Any]


class Forms:
    """Reads the forms of one route's requests."""

    def __init__(self, route: TypedRoute) -> None:
        self._whole = route.request_type
        self._fields = form_fields(route)

    async def read(self, content_type: bytes, body: bytes) -> object:
        """A form's fields by name; where the whole body is one file, that file.

        Raises:
            FormError: It is no form, or has not the one file.
        """
        parts = await _parts(content_type, body)
        if is_file(self._whole):
            return _only_file(parts, self._whole)
        return {name: _value(values, self._fields.get(name)) for name, values in parts.items()}


def form_fields(route: TypedRoute) -> Mapping[str, FormField]:
    """Return what a form for a route may have, by name; references are to components of OpenAPI."""
    told = route.request.json_schema(ref_template=COMPONENT_REF)
    parts: Mapping[str, Any] = told.get("$defs", {})
    (whole, *_) = _choices(told, parts)
    needed = whole.get("required", ())
    return {
        name: _field(
            kind, whole.get("properties", {}).get(name, {}), parts, is_needed=name in needed
        )
        for name, kind in (route.fields or _members(route.request_type)).items()
    }


def is_file(kind: object) -> bool:
    """Whether a type is made of a file's bytes."""
    bare = _bare(kind)
    if bare is bytes or bare is File:
        return True
    marked = foreign(bare)
    return marked is not None and marked.media_type != "application/json"


def as_asked(file: File, kind: object) -> object:
    """A `File` is what a `File` or a foreign type is made of; anything else takes its bytes."""
    return file.data if _bare(kind) is bytes else file


# ── what the types say ──────────────────────────────────────────────────────────────────────────


def _members(kind: Any) -> Mapping[str, Any]:
    """The fields of a model, a dataclass, a TypedDict or a struct, by the names they are sent under."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {_sent_as(name, one): _annotation(one) for name, one in kind.model_fields.items()}
    if is_dataclass(kind) or is_typeddict(kind) or hasattr(kind, "__struct_fields__"):
        return get_type_hints(kind, include_extras=True)
    return {}


def _sent_as(name: str, field: FieldInfo) -> str:
    alias = field.validation_alias or field.alias
    return alias if isinstance(alias, str) else name


def _annotation(field: FieldInfo) -> Any:
    """The annotation as it was written: pydantic keeps what is said of a type beside it."""
    return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation


def _field(
    kind: Any, schema: Mapping[str, Any], parts: Mapping[str, Any], *, is_needed: bool
) -> FormField:
    bare = _bare(kind)
    # An array's schema may be one of lists too, but its file is one.
    items = None if is_file(bare) else _items(schema, parts)
    of_each = get_args(bare)[:1] if get_origin(bare) in {list, tuple} else ()
    one = of_each[0] if of_each and items is not None else bare
    return FormField(
        kind=one,
        is_file=is_file(one),
        is_list=items is not None,
        is_text=_is_text(schema if items is None else items, parts),
        is_needed=is_needed,
        schema=schema,
    )


def _bare(kind: Any) -> Any:
    """A type without the None that it may be, and without what is said of it besides."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated and foreign(kind) is None:
        return _bare(arguments[0])
    if origin in {Union, UnionType}:
        others = [one for one in arguments if one is not type(None)]
        return _bare(others[0]) if len(others) == 1 else kind
    return kind


def _items(schema: Mapping[str, Any], parts: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The schema of one, where a field takes several."""
    for one in _choices(schema, parts):
        if one.get("type") == "array":
            items: Mapping[str, Any] = one.get("items", {})
            return items
    return None


def _is_text(schema: Mapping[str, Any], parts: Mapping[str, Any]) -> bool:
    """Whether everything that a field takes is a string in JSON, or nothing."""
    kinds = [one.get("type") for one in _choices(schema, parts)]
    return "string" in kinds and {"string", "null"}.issuperset(kinds)


def _choices(schema: Mapping[str, Any], parts: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """What a schema allows: one schema, or several."""
    named = schema.get("$ref", "").rpartition("/")[2]
    if named:
        return _choices(parts.get(named, {}), parts)
    several = schema.get("anyOf", ())
    return [found for one in several for found in _choices(one, parts)] or [schema]


# ── what came ───────────────────────────────────────────────────────────────────────────────────


async def _parts(content_type: bytes, body: bytes) -> dict[str, list[File | str]]:
    async def whole() -> AsyncGenerator[bytes, None]:
        yield body
        yield b""

    headers = Headers(raw=[(b"content-type", content_type)])
    try:
        form = await MultiPartParser(headers, whole(), max_part_size=len(body) + 1).parse()
    except (MultiPartException, KeyError) as error:
        msg = f"This is no form: {error}"
        raise FormError(msg) from error
    parts: dict[str, list[File | str]] = {}
    for name, value in form.multi_items():
        parts.setdefault(name, []).append(await _content(value))
    await form.close()
    return parts


async def _content(value: UploadFile | str) -> File | str:
    if isinstance(value, str):
        return value
    media_type = value.content_type or "application/octet-stream"
    return File(await value.read(), value.filename or "", media_type)


def _only_file(parts: Mapping[str, Sequence[File | str]], kind: object) -> object:
    files = [one for values in parts.values() for one in values if isinstance(one, File)]
    if len(files) != 1:
        msg = f"A form with one file is needed, got {len(files)}."
        raise FormError(msg)
    return as_asked(files[0], kind)


def _value(values: Sequence[File | str], field: FormField | None) -> object:
    if field is None:  # nothing knows the name, and the validator says so
        return values[-1]
    made = [_made(one, field) for one in values]
    if not field.is_list:
        return made[-1]
    return made[0] if len(made) == 1 and isinstance(made[0], list) else made


def _made(value: File | str, field: FormField) -> object:
    """One part of a form; a JSON file in the place of no file is JSON."""
    if isinstance(value, str):
        return value if field.is_text else _from_json(value, value)
    if field.is_file:
        return as_asked(value, field.kind)
    is_json = value.media_type.partition(";")[0].endswith(("/json", "+json"))
    return _from_json(value.data, value) if is_json else value


def _from_json(text: str | bytes, otherwise: object) -> object:
    """Numbers, lists and objects are written as JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return otherwise
