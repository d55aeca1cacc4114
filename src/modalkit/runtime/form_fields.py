"""What a form (``multipart/form-data``) may have, by what a route's types say.

A form's fields are the method's parameters, or the fields of the one model that is the whole body.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from types import UnionType
from typing import (
    Annotated,
    Any,
    NamedTuple,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typing_extensions import ReadOnly, is_typeddict

from ..declare.files import File
from .typed_routes import TypedRoute
from .wire_types import foreign

__all__ = ["COMPONENT_REF", "FormField", "as_asked", "form_fields", "is_file"]

COMPONENT_REF = "#/components/schemas/{model}"
"""Where an OpenAPI document holds a named schema."""

_QUALIFIERS = (Required, NotRequired, ReadOnly)
_SEVERAL = {list, tuple, set, frozenset, Sequence, Iterable, Collection, deque}
_Schema = Mapping[str, Any]


class FormField(NamedTuple):
    """What one field of a form is made into.

    Attributes:
        name: What it is sent under.
        kind: Its type; of a list of files that of one.
        is_file: Whether it brings files.
        is_bytes: Whether those are no more than their bytes, which a text has too.
        whole: What one part may be that is all of it, as the kinds of JSON; None among them is any.
        each: The same of one element, where it takes several; else None.
        is_needed: Whether a form without it does not fit.
        schema: Its JSON schema.
    """

    name: str
    kind: Any
    is_file: bool
    is_bytes: bool
    whole: frozenset[str | None]
    each: frozenset[str | None] | None
    is_needed: bool
    schema: _Schema


def form_fields(route: TypedRoute, told: _Schema | None = None) -> Mapping[str, FormField]:
    """Return what a form for a route may have, by name; references are to components of OpenAPI.

    Args:
        route: The route.
        told: The JSON schema of its request with the ``$defs`` it refers to; None for one of its own.
    """
    if told is None:
        told = route.request.json_schema(ref_template=COMPONENT_REF)
    parts: _Schema = told.get("$defs", {})
    (whole, *_) = _choices(told, parts)
    schemas, needed = whole.get("properties", {}), whole.get("required", ())
    kinds = route.fields or _members(route.request_type)
    return {
        name: _field(name, kind, schemas.get(name, {}), parts, is_needed=name in needed)
        for name, kind in kinds.items()
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


def _members(kind: Any) -> Mapping[str, Any]:
    """The fields of a model, a dataclass, a TypedDict or a struct, by the names they are sent under."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {_sent_as(name, one): _annotation(one) for name, one in kind.model_fields.items()}
    if not (is_dataclass(kind) or is_typeddict(kind) or hasattr(kind, "__struct_fields__")):
        return {}
    try:
        hints = get_type_hints(kind, include_extras=True)
    except (NameError, AttributeError):  # a name that pydantic finds where the type was written
        return {}
    if not hasattr(kind, "__struct_fields__"):
        return hints
    renamed = zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True)
    return {sent: hints[name] for name, sent in renamed}


def _sent_as(name: str, field: FieldInfo) -> str:
    alias = field.validation_alias or field.alias
    return alias if isinstance(alias, str) else name


def _annotation(field: FieldInfo) -> Any:
    """The annotation as it was written: pydantic keeps what is said of a type beside it."""
    return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation


def _field(name: str, kind: Any, schema: _Schema, parts: _Schema, *, is_needed: bool) -> FormField:
    bare = _bare(kind)
    # An array's schema may be one of lists too, but its file is one.
    items = None if is_file(bare) else _items(schema, parts)
    element = None if items is None else _element(bare)
    one = bare if element is None or get_origin(bare) not in _SEVERAL else element
    return FormField(
        name=name,
        kind=one,
        is_file=is_file(one),
        is_bytes=_bare(one) is bytes,
        whole=_json_kinds(schema, parts),
        each=None if items is None else _json_kinds(items, parts),
        is_needed=is_needed,
        schema=schema,
    )


def _plain(kind: Any) -> Any:
    """A type without what is said of it besides."""
    origin = get_origin(kind)
    is_said = origin in _QUALIFIERS or (origin is Annotated and foreign(kind) is None)
    return _plain(get_args(kind)[0]) if is_said else kind


def _bare(kind: Any) -> Any:
    """A type without the None that it may be, and without what is said of it besides."""
    plain = _plain(kind)
    if get_origin(plain) in {Union, UnionType}:
        others = [one for one in get_args(plain) if one is not type(None)]
        return _bare(others[0]) if len(others) == 1 else plain
    return plain


def _element(bare: Any) -> Any:
    """The type of one of several, where a type, or one that it may be, is of several."""
    may_be = get_args(bare) if get_origin(bare) in {Union, UnionType} else (bare,)
    return next((get_args(one)[0] for one in may_be if get_origin(one) in _SEVERAL), None)


def _items(schema: _Schema, parts: _Schema) -> _Schema | None:
    """The schema of one, where a field takes several."""
    for one in _choices(schema, parts):
        if one.get("type") == "array":
            items: _Schema = one.get("items", {})
            return items
    return None


def _json_kinds(schema: _Schema, parts: _Schema) -> frozenset[str | None]:
    return frozenset(one.get("type") for one in _choices(schema, parts))


def _choices(schema: _Schema, parts: _Schema) -> Sequence[_Schema]:
    """What a schema allows: one schema, or several."""
    named = schema.get("$ref", "").rpartition("/")[2]
    if named:
        return _choices(parts.get(named, {}), parts)
    several = schema.get("anyOf", ())
    return [found for one in several for found in _choices(one, parts)] or [schema]
